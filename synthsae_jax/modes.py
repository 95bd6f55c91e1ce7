"""JAX's modes that a user may have set, and that no number of this package may depend on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp

P = ParamSpec("P")
T = TypeVar("T")

IMPL = "threefry2x32"  # of every key; with rbg, `vmap` over keys is not a loop over them
MARK = "in_default_modes"  # set on what is `fixed`
_NARROW = {"float64": jnp.float32, "int64": jnp.int32, "uint64": jnp.uint32}


def fixed(fn: Callable[P, T]) -> Callable[P, T]:
    """`fn` computed in JAX's default modes, whatever the user has set around the call.

    With 64 bits (`jax_enable_x64`) draws would be other numbers and the carry of a loop would
    change its type; with `jax_debug_nans` a program would stop where NaN is the defined answer (a
    run that diverged, a metric without a value); with another `jax_default_prng_impl` a seed would
    mean another stream. Arguments are brought along: a JAX array of 64 bits comes in as 32, a key
    of rbg as the threefry key of the same seed. Results are of 32 bits.
    """

    @functools.wraps(fn)
    def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        if any(map(_differs, jax.tree.leaves((args, kwargs)))):
            args, kwargs = jax.tree.map(_default, (args, kwargs))
        with jax.enable_x64(False), jax.debug_nans(False), jax.default_prng_impl(IMPL):
            return fn(*args, **kwargs)

    setattr(inside, MARK, True)
    return inside


def threefry(key: jax.Array) -> jax.Array:
    """A key, of threefry.

    A key of rbg is two threefry keys side by side, split and folded alike, so that its first half
    is what the same seed, split and folded, gives in threefry.
    """
    if jax.random.key_impl(key) == IMPL:
        return key
    return jax.random.wrap_key_data(jax.random.key_data(key)[..., :2], impl=IMPL)


def _differs(leaf: Any) -> bool:
    if not isinstance(leaf, jax.Array):
        return False
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.key_impl(leaf) != IMPL
    return str(leaf.dtype) in _NARROW


def _default(leaf: Any) -> Any:
    if not _differs(leaf):
        return leaf
    narrow = _NARROW.get(str(leaf.dtype))
    return threefry(leaf) if narrow is None else leaf.astype(narrow)
