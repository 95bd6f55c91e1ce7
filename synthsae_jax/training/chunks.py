"""More runs than fit into memory: trained some at a time, with the same results to the bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

Tree = TypeVar("Tree")


def stretches(n_runs: int, most: int) -> list[slice]:
    """The runs in as few stretches of at most `most` as possible, of nearly equal length."""
    count = -(-n_runs // most)
    size = -(-n_runs // count)
    return [slice(a, min(a + size, n_runs)) for a in range(0, n_runs, size)]


def part_of(by_run: Tree, some: slice) -> Tree:
    """Records of `[I, R, ...]` for some of the runs."""
    return jax.tree.map(lambda leaf: leaf[:, some], by_run)


def joined(parts: list[Any]) -> Any:
    """Records of some runs each as one record `[I, R, ...]`, on the host."""

    def join(*leaves):
        # what has no axis of runs (the steps of a history, a scale per instance) is the caller's
        return leaves[0] if np.ndim(leaves[0]) < 2 else np.concatenate(leaves, axis=1)

    return jax.tree.map(join, *parts)


def offset(progress: Callable[..., None] | None, done: int, total: int):
    """A progress callback that counts the steps of all stretches."""
    if progress is None:
        return None
    return lambda now, _, report: progress(done + now, total, report)
