"""More runs than fit into memory: trained some at a time, with the same results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def stretches(n_runs: int, most: int) -> list[slice]:
    """The runs in as few stretches of at most `most` as possible, of nearly equal length."""
    count = -(-n_runs // most)
    size = -(-n_runs // count)
    return [slice(a, min(a + size, n_runs)) for a in range(0, n_runs, size)]


def part_of(by_run: Any, some: slice, axis: int) -> Any:
    """Records of `[R, ...]` (axis 0) or `[I, R, ...]` (axis 1) for some of the runs."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[(slice(None),) * axis + (some,)], by_run)


def joined(parts: list[Any], axis: int) -> Any:
    """Records of some runs each as one record, on the host."""
    return jax.tree.map(lambda *leaves: np.concatenate(leaves, axis), *parts)


def offset(progress: Callable[..., None] | None, done: int, total: int):
    """A progress callback that counts the steps of all stretches."""
    if progress is None:
        return None
    return lambda now, _, report: progress(done + now, total, report)
