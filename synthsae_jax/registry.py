"""Name -> object, by decorator, with an explanation of each entry for `synthsae explain`."""

from __future__ import annotations

import dataclasses
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
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._explanations: dict[str, Explanation] = {}
        _registries.append(self)

    def register(self, name: str, explanation: Explanation | None = None) -> Callable[[E], E]:
        """Decorator: `@saes.register("topk", Explanation(...))` above a class or function."""

        def add(entry: E) -> E:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is already registered.")
            self._entries[name] = cast(T, entry)
            if explanation is not None:
                self._explanations[name] = explanation
            return entry

        return add

    def unregister(self, name: str) -> None:
        """Take an entry out again (tests that register something of their own)."""
        self._entries.pop(name, None)
        self._explanations.pop(name, None)

    def __getitem__(self, name: str) -> T:
        try:
            return self._entries[name]
        except (KeyError, TypeError):
            raise unknown_name(self.kind, name, self._entries) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def names(self) -> tuple[str, ...]:
        """All names, in the order they were registered."""
        return tuple(self._entries)

    def explanation(self, name: str) -> Explanation | None:
        """The entry's explanation, or None where its author wrote none."""
        self[name]
        return self._explanations.get(name)


def explain(name: str) -> list[tuple[str, Explanation]]:
    """All (kind, explanation) pairs registered under this name, over every registry."""
    found = []
    for registry in _registries:
        explanation = registry.explanation(name) if name in registry else None
        if explanation is not None:
            found.append((registry.kind, explanation))
    if not found:
        raise unknown_name("name", name, explainable())
    return found


def explainable() -> list[str]:
    """Every name that `explain` knows."""
    names = {n for r in _registries for n in r if r.explanation(n) is not None}
    return sorted(names)


# Numbers that are no registered function (a metric is a column of a table): explained here.
metric_names: Registry[str] = Registry("metric")


def explain_metric(name: str, explanation: Explanation) -> None:
    """Register a metric's column name with its explanation."""
    metric_names.register(name, explanation)(name)
