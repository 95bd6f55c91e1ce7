"""Nulls: transformations of one side's inputs under which the right answer is known to be chance.

A null acts before scoring, matching and filtering, so the whole pipeline runs on its output
unchanged. Entries are functions (key, SideInputs) -> SideInputs; fields that are None stay None.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from synthsae_jax.errors import require
from synthsae_jax.matching.records import SideInputs
from synthsae_jax.numerics import unit_rows
from synthsae_jax.registry import Explanation, Registry

Array = jax.Array

nulls: Registry[Callable[[Array, SideInputs], SideInputs]] = Registry("null")


@nulls.register(
    "random_dictionary",
    Explanation(
        what="Every direction is replaced by a fresh random unit row (N0): what dimension and "
        "width alone give. Codes are left as they are.",
        formula="w_i = g_i / |g_i|, g_i ~ N(0, I_D)",
    ),
)
def random_dictionary(key: Array, side: SideInputs) -> SideInputs:
    """The side with decoder and encoder rows redrawn, independently of each other."""
    redrawn = {}
    for i, name in enumerate(("decoder", "encoder")):
        rows = getattr(side, name)
        if rows is not None:
            draw = jax.random.normal(jax.random.fold_in(key, i), rows.shape, jnp.float32)
            redrawn[name] = unit_rows(draw)
    return dataclasses.replace(side, **redrawn)


@nulls.register(
    "token_shift",
    Explanation(
        what="The codes are rolled along the tokens (N4): each latent keeps its rate and its "
        "magnitudes and loses its pairing. Directions are left as they are.",
        formula="f_i(t) -> f_i((t - shift) mod n), shift uniform in 1..n-1, one for all latents",
        source="circular-shift surrogates",
    ),
)
def token_shift(key: Array, side: SideInputs) -> SideInputs:
    """The side with its codes `[n, L]` rolled by a random number of tokens, never by 0."""
    if side.latents is None:
        return side
    n = side.latents.shape[0]
    require(n > 1, f"token_shift needs more than one token; given {n}.")
    shift = jax.random.randint(key, (), 1, n)
    return dataclasses.replace(side, latents=jnp.roll(side.latents, shift, axis=0))
