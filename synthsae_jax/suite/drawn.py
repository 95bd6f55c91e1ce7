"""Codes drawn lately: several SAEs are read on the same tokens, one after the other."""

from __future__ import annotations

import collections
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

import jax

T = TypeVar("T")


class Recent(Generic[T]):
    """The latest of what was made, as long as it takes no more than `limit` bytes in all.

    What a thing was made of is told apart by identity, and kept along with it, so that no other
    can come by the same identity meanwhile.
    """

    def __init__(self, limit: int):
        self._limit = limit
        self._cached: collections.OrderedDict[Hashable, tuple[Any, T, int]] = (
            collections.OrderedDict()
        )

    def get(self, source: Any, rest: Hashable, make: Callable[[], T]) -> T:
        """`make()`, or what it gave for these leaves of `source` and an equal `rest` before."""
        leaves, structure = jax.tree.flatten(source)
        name = (tuple(map(id, leaves)), structure, rest)
        if name in self._cached:
            self._cached.move_to_end(name)
            return self._cached[name][1]
        value = make()
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(value))
        if size <= self._limit:
            self._cached[name] = (leaves, value, size)
            while sum(bytes_of for *_, bytes_of in self._cached.values()) > self._limit:
                self._cached.popitem(last=False)
        return value
