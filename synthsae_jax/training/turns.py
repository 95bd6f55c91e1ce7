"""Loops over runs, instances or streams that give a row the same bits whatever rows it is among.

A loop of one round is unrolled by the compiler, and an axis of length 1 is dropped: what is left is
fused otherwise and rounds otherwise, and training amplifies that without bound (topk, 64
dimensions, width 160: weights differ by 6e-8 after 20 steps and by .1 after 1,000). So the number
of rounds is an argument of the program (`count`), which no compiler sees, and there are two rows
at least, of which the second may never be reached. The loop's body is then the same code for any
number of rows, and as a computation of its own it is not fused with what is around it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array
Tree = TypeVar("Tree")

_LEAST_ROWS = 2


def in_turn(one: Callable[[Array], Any], count: Array, n_rows: int) -> Any:
    """`one(i)` for i from 0 to `count` - 1, stacked; `count` is `n_rows` as a traced number.

    There are at least two rows: `first_rows` cuts them. `one` must read all that differs between
    rows through `row`, from stacks that went through `at_least_two`.
    """
    shapes = jax.eval_shape(one, jnp.int32(0))
    size = max(n_rows, _LEAST_ROWS)
    empty = jax.tree.map(lambda a: jnp.zeros((size, *a.shape), a.dtype), shapes)
    return lax.fori_loop(0, count, lambda i, rows: with_row(rows, i, one(i)), empty)


def row(stack: Tree, i: Array) -> Tree:
    """Row `i` of a stacked record."""
    return jax.tree.map(lambda a: lax.dynamic_index_in_dim(a, i, keepdims=False), stack)


def with_row(stack: Tree, i: Array, new: Tree) -> Tree:
    """A stacked record with another row `i`; inside a loop this writes in place."""
    return jax.tree.map(lambda a, v: lax.dynamic_update_index_in_dim(a, v, i, 0), stack, new)


def at_least_two(stack: Tree) -> Tree:
    """A stacked record, with a row of zeros after a single one."""
    # zeros, since a compiler may take two equal rows for a broadcast, and read past the index
    padded = lambda a: jnp.concatenate([a, jnp.zeros_like(a)]) if a.shape[0] == 1 else a
    return jax.tree.map(padded, stack)


def first_rows(stack: Tree, shape: tuple[int, ...]) -> Tree:
    """The rows that exist, with axes `shape` in place of the one of the stack."""
    n_rows = 1
    for size in shape:
        n_rows *= size
    return jax.tree.map(lambda a: a[:n_rows].reshape(*shape, *a.shape[1:]), stack)


def rows_of_runs(by_run: Tree) -> Tree:
    """A record with axes [I, R, ...] as rows [I R, ...], two at least."""
    return at_least_two(jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), by_run))
