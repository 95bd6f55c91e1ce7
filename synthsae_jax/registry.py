"""Name -> object, by decorator, with an explanation of each entry for `synthsae explain`."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar, cast

from synthsae_jax.errors import unknown_name

T = TypeVar("T")
E = TypeVar("E")  # a decorated class keeps its own type
_registries: list[Registry] = []


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What a number or an option means; every field is one plain sentence or formula."""

    what: str
    formula: str = ""
    range: str = ""
    chance: str = ""
    undefined: str = ""
    source: str = ""


class Registry(Generic[T]):
    """An ordered dict of named entries of one kind ("sae", "solver", ...).

    Looking up an unknown name raises `ConfigError` with the nearest name; registering a name
    twice raises `ValueError`, since that is a mistake of ours and not of the user.

    The modules of `package`, by its full name, register entries when they are imported; that
    happens on first use, so a registry may have its entries above it in the order of imports.
    """

    def __init__(self, kind: str, package: str = ""):
        self.kind = kind
        self._package = package  # empty: nothing is left to import
        self._entries: dict[str, T] = {}
        self._explanations: dict[str, Explanation] = {}
        _registries.append(self)

    def load(self) -> None:
        """Import the package of the entries, once."""
        package, self._package = self._package, ""  # its modules come here while they register
        if package:
            try:
                importlib.import_module(package)
            except BaseException:
                self._package = package  # the next use says again what is wrong
                raise

    def register(self, name: str, explanation: Explanation | None = None) -> Callable[[E], E]:
        """Decorator: `@saes.register("topk", Explanation(...))` above a class or function."""

        def add(entry: E) -> E:
            self.load()
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is already registered.")
            self._entries[name] = cast(T, entry)
            if explanation is not None:
                self._explanations[name] = explanation
            return entry

        return add

    def unregister(self, name: str) -> None:
        """Take an entry out again (tests that register something of their own)."""
        self.load()
        self._entries.pop(name, None)
        self._explanations.pop(name, None)

    def __getitem__(self, name: str) -> T:
        self.load()
        try:
            return self._entries[name]
        except (KeyError, TypeError):
            raise unknown_name(self.kind, name, self._entries) from None

    def __contains__(self, name: object) -> bool:
        self.load()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self.load()
        return iter(self._entries)

    def __len__(self) -> int:
        self.load()
        return len(self._entries)

    def names(self) -> tuple[str, ...]:
        """All names, in the order they were registered."""
        return tuple(self)

    def explanation(self, name: str) -> Explanation | None:
        """The entry's explanation, or None where its author wrote none."""
        self[name]
        return self._explanations.get(name)


def explain(name: str) -> list[tuple[str, Explanation]]:
    """All (kind, explanation) pairs registered under this name, over every registry."""
    explanations = []
    _load_all()
    for registry in _registries:
        explanation = registry.explanation(name) if name in registry else None
        if explanation is not None:
            explanations.append((registry.kind, explanation))
    if not explanations:
        raise unknown_name("name", name, explainable())
    return explanations


def explainable() -> list[str]:
    """Every name that `explain` knows."""
    _load_all()
    names = {n for r in _registries for n in r if r.explanation(n) is not None}
    return sorted(names)


def _load_all() -> None:
    # a package may bring entries of other registries, and registries
    for registry in tuple(_registries):
        registry.load()


@contextlib.contextmanager
def temporary() -> Iterator[None]:
    """What is registered inside, in any registry, is taken out again at the end."""
    _load_all()  # what comes with the package is not what is registered inside
    before = {id(registry): set(registry) for registry in _registries}
    try:
        yield
    finally:
        for registry in _registries:
            for name in set(registry) - before.get(id(registry), set()):
                registry.unregister(name)


# Numbers that are no registered function (a metric is a column of a table): explained here.
metric_names: Registry[str] = Registry("metric")


def explain_metric(name: str, explanation: Explanation) -> None:
    """Register a metric's column name with its explanation."""
    metric_names.register(name, explanation)(name)
