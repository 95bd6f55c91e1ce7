"""Quantities against numbers worked out by hand: selection, worlds, same observations, print."""

import dataclasses
import math

import numpy as np
import pytest

from synthsae_jax.io.rows import make_row
from synthsae_jax.report.block_tables import Listing
from synthsae_jax.report.blocks import Reader
from synthsae_jax.suite.quantity import Observed, combined, number, on_same, reads


def row(metric, value, world=0, run="a", variant="r", reason="no pair is matched", **more):
    undefined = {"status": "undefined", "reason": reason} if value is None else {}
    return make_row(
        benchmark="b@1",
        run_id=run,
        step=1,
        world_seed=world,
        metric=metric,
        variant=variant,
        value=value,
        **undefined,
        **more,
    )


GOOD = number("good", "r", title="good", unit="share of latents")


def test_needs_may_stand_for_each_other():
    few, many = (number("good", variant).needs[0] for variant in ("n=10", "n=99"))
    either = (few, many)
    both = dataclasses.replace(GOOD, needs=either, of_world=lambda *v: v[1].mean() or v[0].mean())
    assert both.over([row("good", None, variant="n=99")]).absent
    one = dataclasses.replace(
        both, needs=tuple(dataclasses.replace(need, one_of="good") for need in either)
    )
    estimate = one.over([row("good", None, variant="n=99")])
    assert (estimate.absent, estimate.reason) == (False, "no pair is matched")
    assert one.over([row("good", 0.5, variant="n=99")]).value == 0.5


def test_a_units_number_may_take_the_others():
    def less_the_others(by_unit):
        means = {unit: values[0].mean() for unit, values in by_unit.items()}
        rest = lambda unit: sum(m for other, m in means.items() if other != unit)
        return {unit: mean - rest(unit) for unit, mean in means.items()}

    apart = dataclasses.replace(GOOD, of_units=less_the_others)
    estimate = apart.over([row("good", float(w), world=w) for w in (1, 2, 3)])
    assert estimate.by_unit == {1: -4.0, 2: -2.0, 3: 0.0}
    assert (estimate.value, estimate.defined) == (-2.0, 3)


def test_worlds_count_once_however_many_observations():
    rows = [row("good", v, world=0, run=str(v)) for v in (0.0, 1.0, 0.5)]
    rows += [row("good", 1.0, world=1), row("good", None, world=2)]
    estimate = GOOD.over(rows)
    assert estimate.by_unit[0] == 0.5
    assert estimate.by_unit[1] == 1.0
    assert math.isnan(estimate.by_unit[2])
    assert estimate.value == 0.75
    assert (estimate.defined, estimate.total, estimate.interval.n) == (4, 5, 2)
    assert estimate.reasons == {"no pair is matched": 1}


def test_where_selects_and_what_is_fixed_stays():
    rows = [
        row("good", float(s), condition=c, factor_strength=s, run=f"{c}{s}")
        for s in (0, 1, 2)
        for c in ("x", "y")
    ]
    rows[-1]["value"] = 9.0
    at_two = GOOD.at(strength=2)
    assert at_two.over(rows).value == 5.5
    assert at_two.at(condition="y").over(rows).value == 9.0
    # a later `at` neither widens nor moves what was fixed before
    assert at_two.at(strength=0).over(rows).value == 5.5
    assert GOOD.at(strength=(0, 1)).over(rows).value == 0.5
    assert (at_two - GOOD.at(strength=0)).over(rows).value == 5.5
    both = combined(max, at_two, GOOD.at(strength=1), name="most", title="most")
    assert both.over(rows).value == 5.5


def test_numbers_are_compared_on_the_same_observations():
    """The rare number is defined on one pair of two, and must not win by that."""
    rows = [row("good", 0.2, run="easy"), row("good", 0.9, run="hard")]
    rows += [row("rare", 0.5, run="hard"), row("rare", None, run="easy")]
    rare = number("rare", "r", title="rare")
    assert GOOD.over(rows).value == pytest.approx(0.55)
    of_both = [q.over(rows) for q in on_same(GOOD, rare)]
    assert [e.value for e in of_both] == [0.9, 0.5]
    # how many are left stands beside it
    assert [(e.defined, e.total) for e in of_both] == [(1, 2), (1, 2)]


def test_several_numbers_of_one_observation_are_one_observation():
    rows = [row("good", 0.5, run=r) for r in "ab"]
    rows += [row("rare", 0.1, run="a"), row("rare", None, run="b")]
    rare = number("rare", "r", title="rare")
    # what of b counts is its other number
    difference = (GOOD - rare).over(rows)
    assert (difference.value, difference.defined, difference.total) == (0.4, 2, 2)
    on_both = (GOOD.on_same(rare) - rare.on_same(GOOD)).over(rows)
    assert (on_both.defined, on_both.total) == (1, 2)


def test_a_test_of_defined_values_may_be_undefined_by_itself():
    slope = lambda values: float(np.ptp(values.values)) or math.nan
    flat = dataclasses.replace(GOOD, of_world=slope, undefined="all values are equal")
    assert flat.over([row("good", 1.0), row("good", 1.0, run="b")]).reason == "all values are equal"
    # where nothing is defined the rows say why, and where nothing is left of it the comparison
    assert flat.over([row("good", None)]).reason == "no pair is matched"
    never = GOOD.on_same(number("rare", "r")).over([row("good", 1.0)])
    assert (never.defined, never.total) == (0, 1)
    assert never.reason == "no observation has all that are compared"


def test_a_listing_says_on_how_many_its_numbers_rest_and_why_there_are_none():
    rows = [row("good", 0.5), row("good", None, run="b"), row("rare", None, reason="dead")]
    listing = Listing(
        "rule",
        ("here", "there"),
        {
            "first": (GOOD, number("rare", "r")),
            "second": (None, number("rare", "r")),
            "third": (number("none"), None),
        },
    )
    (table,) = listing.draw(Reader(Observed(rows), (), {}, "page")).tables
    assert table.header == ("rule", "here", "there")
    # nothing of the third was observed
    assert [r[0] for r in table.rows] == ["first", "second"]
    assert table.rows[0][1:] == ("50 % (1 of 2)", "undefined (a)")
    assert table.rows[1][2] == "undefined (a)"
    assert "(a) dead." in table.note


def test_observations_are_told_apart_by_factors_and_by_partner():
    rows = [
        row("good", v, run="a", run_id_b=b, factor_x=x)
        for v, b, x in ((1.0, "b", 0), (3.0, "c", 0), (5.0, "b", 1))
    ]
    rows += [row("rare", 0.0, run="a", run_id_b="b", factor_x=1)]
    rare = number("rare", "r")
    assert GOOD.on_same(rare).over(rows).value == 5.0


def test_values_by_column():
    rows = [
        row("good", v, run=str(v), condition=c) for v, c in ((1.0, "x"), (2.0, "x"), (4.0, "y"))
    ]
    spread = lambda values: values.by("condition")["y"] - values.by("condition")["x"]
    assert combined(spread, GOOD, name="s", title="s").over([]).by_unit == {}
    quantity = number("good", "r")
    quantity = type(quantity)("spread", "spread", "", quantity.needs, spread)
    assert quantity.over(rows).value == 2.5


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([], "nothing was observed"),
        ([row("good", None)], "no pair is matched"),
        (
            [
                row("good", None),
                row("good", None, run="b", reason="dead"),
                row("good", None, run="c", reason="dead"),
            ],
            "dead",
        ),
    ],
)
def test_what_is_undefined_says_why(rows, why):
    estimate = GOOD.over(rows)
    assert not estimate.known
    assert estimate.reason == why
    assert f"{estimate}" == "undefined"


def test_print():
    rng = np.random.default_rng(0)
    rows = [row("good", 0.5 + 0.1 * rng.normal(), world=w) for w in range(6)]
    estimate = GOOD.over(rows)
    lo, hi = estimate.interval.lo, estimate.interval.hi
    assert f"{estimate}" == f"{100 * estimate.value:.0f} % [{100 * lo:.0f}, {100 * hi:.0f}]"
    assert f"{estimate:alone}" == f"{100 * estimate.value:.0f} %"
    assert f"{estimate:.3}" == f"{estimate.value:.3f} [{lo:.3f}, {hi:.3f}]"
    assert f"{GOOD.over(rows[:1]):.1 alone}" == f"{rows[0]['value']:.1f}"


def test_reads_lists_names_with_their_readers():
    rare = number("rare", "r", condition="x")
    listed = reads([GOOD.on_same(rare), GOOD.at(condition="y")])
    assert set(listed) == {("good", "r"), ("rare", "r")}
    assert listed["good", "r"] == ((), (("condition", ("y",)),))


def test_rows_are_found_by_name_and_column():
    observed = Observed([row("good", 1.0, factor_x=2), row("good", 1.0, run="b", factor_x=1)])
    assert observed.values_of("x") == [2, 1]
    assert observed.values_of("condition") == []
