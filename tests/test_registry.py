"""Names: found, refused twice, missed with the nearest one, and explained."""

from __future__ import annotations

import sys

import pytest

from synthsae_jax import registry
from synthsae_jax.errors import ConfigError
from synthsae_jax.registry import Explanation, Registry


@pytest.fixture
def fruits(monkeypatch):
    """A registry that is forgotten after the test."""
    monkeypatch.setattr(registry, "_registries", [])
    fruits = Registry("fruit")
    fruits.register("pear", Explanation("Green."))("a pear")
    fruits.register("apple")("an apple")
    return fruits


def test_entries_come_in_the_order_of_registration(fruits):
    assert fruits.names() == tuple(fruits) == ("pear", "apple")
    assert len(fruits) == 2
    assert fruits["pear"] == "a pear"
    assert "apple" in fruits
    assert "plum" not in fruits


def test_the_decorator_returns_what_it_decorates(fruits):
    @fruits.register("plum")
    def plum():
        return 3

    assert plum() == 3
    assert fruits["plum"] is plum


def test_a_name_is_given_once(fruits):
    with pytest.raises(ValueError, match="fruit 'pear' is already registered"):
        fruits.register("pear")("another pear")
    assert fruits["pear"] == "a pear"
    fruits.unregister("pear")
    fruits.register("pear")("another pear")
    assert fruits["pear"] == "another pear"


def test_a_duplicate_is_our_mistake_and_not_the_users(fruits):
    with pytest.raises(ValueError) as raised:
        fruits.register("pear")("x")
    assert not isinstance(raised.value, ConfigError)


@pytest.mark.parametrize(("given", "near"), [("paer", "pear"), ("aple", "apple"), ("Pear", "pear")])
def test_a_near_miss_names_the_nearest(fruits, given, near):
    with pytest.raises(ConfigError, match=f"Unknown fruit '{given}'. Did you mean '{near}'"):
        fruits[given]


def test_a_far_miss_lists_all(fruits):
    with pytest.raises(ConfigError) as raised:
        fruits["zzz"]
    assert str(raised.value) == "Unknown fruit 'zzz'. Known: apple, pear."


def test_a_name_that_cannot_be_hashed_is_an_unknown_name(fruits):
    with pytest.raises(ConfigError, match="Unknown fruit"):
        fruits[["pear"]]


def test_an_empty_registry_says_so(monkeypatch):
    monkeypatch.setattr(registry, "_registries", [])
    with pytest.raises(ConfigError, match="Known: none"):
        Registry("stone")["granite"]


def test_explanations(fruits):
    assert fruits.explanation("pear") == Explanation("Green.")
    assert fruits.explanation("apple") is None
    with pytest.raises(ConfigError):
        fruits.explanation("plum")


def test_explain_gathers_a_name_over_all_registries(fruits):
    colours = Registry("colour")
    colours.register("pear", Explanation("A light green."))("#d1e231")
    assert registry.explain("pear") == [
        ("fruit", Explanation("Green.")),
        ("colour", Explanation("A light green.")),
    ]
    # an entry without an explanation has nothing to say
    assert registry.explainable() == ["pear"]
    with pytest.raises(ConfigError, match="Unknown name 'apple'"):
        registry.explain("apple")
    fruits.unregister("pear")
    assert registry.explain("pear") == [("colour", Explanation("A light green."))]


@pytest.fixture
def orchard(monkeypatch, tmp_path):
    """A registry whose entries lie in a package that nobody has imported, and that package."""
    package = tmp_path / "planted_orchard"
    package.mkdir()
    (package / "__init__.py").write_text("import planted_orchard.trees\n")
    (package / "trees.py").write_text(
        "from synthsae_jax import registry\n"
        "trees = registry._registries[-1]\n"
        'trees.register("oak", registry.Explanation("Old."))("an oak")\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_registries", [])
    for name in ("planted_orchard", "planted_orchard.trees"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield Registry("tree", package="planted_orchard"), package
    for name in ("planted_orchard", "planted_orchard.trees"):
        sys.modules.pop(name, None)


USES = {
    "names": lambda trees: trees.names() == ("oak",),
    "in": lambda trees: "oak" in trees,
    "index": lambda trees: trees["oak"] == "an oak",
    "iteration": lambda trees: list(trees) == ["oak"],
    "length": lambda trees: len(trees) == 1,
    "explanation": lambda trees: trees.explanation("oak").what == "Old.",
    "explain": lambda trees: registry.explain("oak")[0][0] == "tree",
    "explainable": lambda trees: registry.explainable() == ["oak"],
}


@pytest.mark.parametrize("use", USES)
def test_the_package_of_the_entries_is_imported_on_first_use(orchard, use):
    assert "planted_orchard" not in sys.modules
    assert USES[use](orchard[0])


def test_an_entry_from_outside_comes_after_those_of_the_package(orchard):
    trees, _ = orchard
    trees.register("fir")("a fir")
    assert trees.names() == ("oak", "fir")
    with pytest.raises(ValueError, match="tree 'oak' is already registered"):
        trees.register("oak")("another oak")


def test_a_package_that_fails_fails_again_and_not_quietly(orchard):
    trees, package = orchard
    (package / "__init__.py").write_text("raise OSError('no such tree')\n")
    for _ in range(2):
        with pytest.raises(OSError, match="no such tree"):
            trees.names()


def test_a_metric_is_explained_by_its_column_name():
    name = "test_registry_column"
    registry.explain_metric(name, Explanation("A column of a table."))
    try:
        assert registry.explain(name) == [("metric", Explanation("A column of a table."))]
    finally:
        registry.metric_names.unregister(name)


def test_what_is_registered_for_a_while_is_taken_out_of_every_registry(fruits):
    other = Registry("other")
    with registry.temporary():
        fruits.register("quince", Explanation("Yellow."))(2)
        late = Registry("late")
        for each in (other, late):
            each.register("x")(3)
        assert registry.explain("quince")
    assert fruits.names() == ("pear", "apple")
    assert other.names() == late.names() == ()
    assert "quince" not in registry.explainable()


def test_it_is_taken_out_after_an_error_too(fruits):
    def fails():
        with registry.temporary():
            fruits.register("quince")(2)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert "quince" not in fruits
