"""Terms of the loss of k-sparse SAEs by way of the active latents: the dense ones' numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from synthsae_jax.saes import parts
from synthsae_jax.saes.parts import TopKOptions
from synthsae_jax.saes.places import Places
from synthsae_jax.saes.records import SAEParams
from synthsae_jax.saes.revival import dead_error
from synthsae_jax.saes.sparse import decode_levels, encode_at

Array = jax.Array
Choose = Callable[[Array], tuple[Places, Array]]


def active_terms(
    params: SAEParams,
    x: Array,
    dead: Array | None,
    hyper: Any,
    options: TopKOptions,
    choose: Choose,
    size: Callable[[Array], Array] = jnp.asarray,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """`mse_loss` and `auxiliary_reconstruction_loss`, and what is known of the latents.

    `choose` takes the pre-activations `[n, L]`, in decoder units where the options say so, and
    returns the places of the active ones and whether they had no room, which makes the loss NaN.
    `size` as in `dead_latents_error`. Known are "latents" `[n, L]` without gradient, "fired" `[L]`,
    "l0" and "smallest", the smallest positive latent or infinity.
    """
    x_hats, info = reconstructions(params, x, options, choose, ())
    residual = jax.lax.stop_gradient(x - x_hats[0])
    terms = {
        "mse_loss": parts.squared_error(x_hats[0], x),
        "auxiliary_reconstruction_loss": hyper.aux_loss_coefficient
        * dead_error(params, x, dead, residual, options, size),
    }
    return terms, info


def reconstructions(
    params: SAEParams, x: Array, options: TopKOptions, choose: Choose, inner: tuple[int, ...]
) -> tuple[list[Array], dict[str, Array]]:
    """What the latents before each border of `inner`, and all of them, reconstruct, `[n, D]` each.

    And what is known of the latents, as in `active_terms`.
    """
    fixed = jax.lax.stop_gradient(params)
    product = parts.matmul(parts.centred(fixed, x, options), fixed.W_enc, options)
    pre = product + fixed.b_enc[None]
    pre = parts.in_decoder_units(pre, fixed.W_dec, options)
    places, crowded = choose(pre)
    b_dec = params.b_dec if options.apply_b_dec_to_input else jnp.zeros_like(params.b_dec)
    values = encode_at(places, product, x, params.W_enc, params.b_enc, b_dec)
    x_hats = [params.b_dec[None]]
    for level in decode_levels(places, values, params.W_dec, inner):
        x_hats.append(x_hats[-1] + level)
    x_hats[1:] = [jnp.where(crowded, jnp.nan, x_hat) for x_hat in x_hats[1:]]

    ranked = jnp.where(places.active, pre[places.sample, places.latent], 0.0)
    active = ranked != 0
    info = {
        "latents": jnp.zeros_like(pre).at[places.sample, places.latent].add(ranked),
        "fired": jnp.zeros(pre.shape[1], bool).at[places.latent].max(active),
        "l0": jnp.sum(active) / x.shape[0],
        "smallest": jnp.min(jnp.where(ranked > 0, ranked, jnp.inf)),
    }
    return x_hats[1:], info
