"""The auxiliary loss that revives dead latents: they reconstruct what living ones left over."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from synthsae_jax.saes import parts
from synthsae_jax.saes.parts import TopKOptions
from synthsae_jax.saes.records import SAEParams
from synthsae_jax.saes.select import top_k_mask

Array = jax.Array

_FEW = 512  # dead latents that have products of their own size


def dead_latents_error(
    pre: Array,
    dead: Array | None,
    residual: Array,
    W_dec: Array,
    options: TopKOptions,
    size: Callable[[Array], Array] = jnp.asarray,
) -> Array:
    """How badly dead latents reconstruct what living ones left over: a scalar, 0 without any.

    In each sample the min(D / 2, n_dead) dead latents with the largest `size` of the pre-activation
    (by default itself, of either sign, no ReLU) decode, without bias, into the residual `[n, D]`,
    which takes no gradient. The squared error is scaled by min(n_dead / (D / 2), 1). `pre`
    `[n, L]`, `dead` `[L]` and `W_dec` `[L, D]` may be the same slice of each. Gao et al. 2024,
    appendix A.2.
    """
    if dead is None:
        return jnp.zeros((), jnp.float32)
    half = max(residual.shape[-1] // 2, 1)
    n_dead = jnp.sum(dead, dtype=jnp.int32)
    candidates = jnp.where(dead[None], size(pre), -jnp.inf)
    chosen = top_k_mask(candidates, jnp.minimum(half, n_dead))
    values = parts.from_decoder_units(jnp.where(chosen, pre, 0.0), W_dec, options)
    error = parts.squared_error(parts.matmul(values, W_dec, options), residual)
    return jnp.minimum(n_dead / half, 1.0) * error


def dead_error(
    params: SAEParams,
    x: Array,
    dead: Array | None,
    residual: Array,
    options: TopKOptions,
    size: Callable[[Array], Array] = jnp.asarray,
) -> Array:
    """`dead_latents_error` from the weights, by products no wider than the dead latents are many.

    `params` may hold a slice of the latents. Nothing is computed while none is dead.
    """
    if dead is None:
        return jnp.zeros((), jnp.float32)
    width = dead.shape[0]
    few = min(_FEW, width)
    count = jnp.sum(dead, dtype=jnp.int32)

    def of(params, dead, residual):
        pre = parts.pre_activations(params, x, options)
        pre = parts.in_decoder_units(pre, params.W_dec, options)
        return dead_latents_error(pre, dead, residual, params.W_dec, options, size)

    def nobody(params, residual):
        return jnp.zeros((), jnp.float32)

    def some(params, residual):
        (chosen,) = jnp.nonzero(dead, size=few, fill_value=0)
        exists = jnp.arange(few) < count
        chosen_params = params.replace(
            W_enc=params.W_enc[:, chosen], b_enc=params.b_enc[chosen], W_dec=params.W_dec[chosen]
        )
        return of(chosen_params, exists, residual)

    def many(params, residual):
        return of(params, dead, residual)

    ways = (nobody, some) if few == width else (nobody, some, many)
    which = (count > 0).astype(jnp.int32) + (count > few)
    # the way taken is gone again when gradients come, or each way would keep room for its own
    return jax.checkpoint(lambda *arguments: lax.switch(which, ways, *arguments))(params, residual)
