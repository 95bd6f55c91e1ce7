"""Positive controls: a second side made from the first, for which the right answer is known.

What a pipeline or a measure gives for them is its ceiling, and its slope against a known share or
angle. Entries are called as `controls[name](key, a, **options) -> b`. Give the true directions
and codes as `a` to see what the matcher does apart from the SAEs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from synthsae_jax.errors import require
from synthsae_jax.matching.nulls import random_dictionary
from synthsae_jax.matching.records import SideInputs
from synthsae_jax.modes import fixed
from synthsae_jax.numerics import row_norms, unit_rows
from synthsae_jax.registry import Explanation, Registry

Array = jax.Array

controls: Registry[Callable[..., SideInputs]] = Registry("positive control")


@fixed
def control_permutation(key: Array, side: SideInputs) -> Array:
    """Which latent of A stands at each place of `permuted_copy(key, A)`, int `[L]`: its truth."""
    # The first of the two keys that `permuted_copy` splits: the truth follows from its key alone.
    return jax.random.permutation(jax.random.split(key)[0], _width(side))


@controls.register(
    "permuted_copy",
    Explanation(
        what="The same latents in another order and on other scales: whatever matches latents one "
        "by one finds all of them.",
        formula="f_i -> c_i f_pi(i), w_i -> w_pi(i) / c_i, e_i -> c_i e_pi(i), ln c_i ~ N(0, 1/4)",
    ),
)
@fixed
def permuted_copy(key: Array, side: SideInputs) -> SideInputs:
    """The side permuted by `control_permutation(key, side)` and rescaled; the reconstruction
    `f @ decoder` is the same."""
    order = control_permutation(key, side)
    scale = jnp.exp(0.5 * jax.random.normal(jax.random.split(key)[1], order.shape))
    return _mapped(
        side,
        latents=lambda f: f[:, order] * scale[None, :],
        decoder=lambda w: w[order] / scale[:, None],
        encoder=lambda e: e[order] * scale[:, None],
    )


@controls.register(
    "rotated_copy",
    Explanation(
        what="The same latents in a rotated space: measures of relations find all that is common, "
        "cosines of directions only after alignment.",
        formula="w_i -> R w_i, e_i -> R e_i, R uniform among orthogonal matrices",
    ),
)
@fixed
def rotated_copy(key: Array, side: SideInputs) -> SideInputs:
    """The side with its directions rotated; codes are the same."""
    rows = side.decoder if side.decoder is not None else side.encoder
    if rows is None:
        return side
    rotation = jax.random.orthogonal(key, rows.shape[1], dtype=jnp.float32)
    rotate = lambda v: jnp.matmul(v, rotation.T, precision=jax.lax.Precision.HIGHEST)
    return _mapped(side, decoder=rotate, encoder=rotate)


@controls.register(
    "noisy_copy",
    Explanation(
        what="Every direction is turned by the same angle, each in a direction of its own; codes "
        "stay. The cosine with the original is known.",
        formula="w_i -> |w_i| (cos(angle) w_i / |w_i| + sin(angle) v_i), v_i a random unit row "
        "orthogonal to w_i; cos(w_i, w_i') = cos(angle)",
    ),
)
@fixed
def noisy_copy(key: Array, side: SideInputs, *, angle: float = 0.3) -> SideInputs:
    """The side with its rows turned by `angle` (radians); decoder and encoder independently."""
    key_decoder, key_encoder = jax.random.split(key)

    def turned(key: Array, rows: Array) -> Array:
        unit = unit_rows(rows)
        fresh = jax.random.normal(key, rows.shape)
        fresh = unit_rows(fresh - (fresh * unit).sum(1)[:, None] * unit)
        return row_norms(rows)[:, None] * (jnp.cos(angle) * unit + jnp.sin(angle) * fresh)

    return _mapped(
        side,
        decoder=lambda w: turned(key_decoder, w),
        encoder=lambda e: turned(key_encoder, e),
    )


@controls.register(
    "replaced_copy",
    Explanation(
        what="A share of the latents is replaced: their directions are drawn anew and their codes "
        "rolled along the tokens, so they keep their rates and are nobody's. The true share of "
        "common latents is known.",
        formula="round(share L) latents, drawn at random: w_i and e_i as random_dictionary has "
        "them, f_i(t) -> f_i((t - shift) mod n)",
    ),
)
@fixed
def replaced_copy(key: Array, side: SideInputs, *, share: float = 0.5) -> SideInputs:
    """The side with a share of its latents replaced; the others keep their places."""
    require(0 <= share <= 1, f"share must be in [0, 1]; given {share}.")
    key_which, key_shift, key_rows = jax.random.split(key, 3)
    width = _width(side)
    replaced = jax.random.permutation(key_which, width) < round(share * width)
    # with the norms, and the angles between encoder and decoder rows, of those they replace
    others = random_dictionary(key_rows, side)

    def rolled(f: Array) -> Array:
        require(f.shape[0] > 1, f"replaced_copy needs more than one token; given {f.shape[0]}.")
        # Never 0, which would leave the replaced codes as they were.
        shift = jax.random.randint(key_shift, (), 1, f.shape[0])
        return jnp.where(replaced[None, :], jnp.roll(f, shift, axis=0), f)

    return _mapped(
        side,
        latents=rolled,
        decoder=lambda w: jnp.where(replaced[:, None], others.decoder, w),
        encoder=lambda e: jnp.where(replaced[:, None], others.encoder, e),
    )


def _mapped(side: SideInputs, **changes: Callable[[Array], Array]) -> SideInputs:
    """The side with each of these fields changed that is not None."""
    new = {
        name: change(jnp.asarray(getattr(side, name)))
        for name, change in changes.items()
        if getattr(side, name) is not None
    }
    return dataclasses.replace(side, **new)


def _width(side: SideInputs) -> int:
    for rows in (side.decoder, side.encoder):
        if rows is not None:
            return rows.shape[0]
    return 0 if side.latents is None else side.latents.shape[1]
