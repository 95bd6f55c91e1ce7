"""Work on the host over all its cores, for numpy and scipy functions that let go of the lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def host_threads() -> int:
    """How many cores this process may use."""
    # What a scheduler or a container leaves of the machine; macOS and Windows do not say.
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


def map_threads(work: Callable[[T], R], items: Iterable[T], most: int | None = None) -> list[R]:
    """`[work(item) for item in items]` in the same order, in threads: one per core, at most `most`.

    numpy's and scipy's inner loops run side by side (bincount, sparse products, assignment); plain
    Python does not. The first error is raised once the items in progress are done.
    """
    items = list(items)
    threads = min(host_threads(), len(items), most or len(items))
    if threads < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))
