"""The k largest latents of each sample, and the auxiliary loss that revives dead latents."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.errors import require
from synthsae_jax.registry import Explanation
from synthsae_jax.saes import parts
from synthsae_jax.saes.base import architecture
from synthsae_jax.saes.parts import TopKOptions
from synthsae_jax.saes.places import places_of_samples
from synthsae_jax.saes.records import Rules, SAEParams, no_state
from synthsae_jax.saes.revival import dead_latents_error
from synthsae_jax.saes.select import keep_top_k
from synthsae_jax.saes.sparse_loss import active_terms

Array = jax.Array


@struct.dataclass
class TopKHyper:
    k: int = 100  # int32 []
    aux_loss_coefficient: float = 1.0  # float32 []


def check_topk(options: TopKOptions, hyper: TopKHyper) -> None:
    """Raise unless k and the auxiliary loss's coefficient are in range."""
    require(
        1 <= hyper.k <= options.d_sae,
        f"k must satisfy 1 <= k <= d_sae, got k={hyper.k}, d_sae={options.d_sae}.",
    )
    check_auxiliary(hyper)


def check_auxiliary(hyper) -> None:
    """Raise unless the auxiliary loss's coefficient is usable."""
    value = hyper.aux_loss_coefficient
    require(value >= 0, f"aux_loss_coefficient must not be negative, got {value}.")


@architecture(
    "topk",
    Explanation(
        what="Each sample keeps its k largest positive latents.",
        formula="z = top_k(relu(((x - b_dec) W_enc + b_enc) * |W_dec|), k), x_hat = z W_dec / "
        "|W_dec| + b_dec; loss |x_hat - x|^2 + aux_loss_coefficient * (dead latents' error)",
        source="Gao et al. 2024, arXiv:2406.04093",
    ),
    options=TopKOptions,
    hyper=TopKHyper,
    sparsity="k per sample",
    example={"k": 2},
    check=check_topk,
)
def topk(options: TopKOptions) -> Rules:
    """The rules of a TopK SAE; training and inference encode alike.

    With `rescale_acts_by_decoder_norm` latents are measured as if decoder rows had norm 1, and
    `finalize` makes it so. Without, nothing is folded, since that would change the ranking.
    """

    def init(key, hyper):
        return parts.init_params(key, options)

    def encode(params, x, hyper):
        return keep_top_k(scaled_pre_activations(params, x, options), hyper.k)

    def train_encode(params, x, hyper, state):
        return encode(params, x, hyper)

    def decode(params, latents):
        return scaled_reconstruct(params, latents, options)

    def loss(params, x, dead, hyper, state, key):
        pre = scaled_pre_activations(params, x, options)
        latents = keep_top_k(pre, hyper.k)
        terms = reconstruction_terms(params, x, pre, latents, dead, hyper, options)
        return sum(terms.values()), {"latents": latents, "state": state, "terms": terms}

    def sparse_loss(params, x, dead, hyper, state, key, capacity):
        def choose(pre):
            return places_of_samples(pre, hyper.k, capacity), hyper.k > capacity

        terms, info = active_terms(params, x, dead, hyper, options, choose)
        del info["smallest"]
        return sum(terms.values()), {**info, "state": state, "terms": terms}

    rules = Rules(init, encode, decode, train_encode, loss, no_state, finalizer(options))
    return rules._replace(sparse_loss=sparse_loss)


def finalizer(options: TopKOptions):
    """The function `finalize` of an SAE that ranks latents in decoder units, or does not."""

    def finalize(params: SAEParams, state) -> SAEParams:
        return parts.fold_decoder_norms(params) if options.rescale_acts_by_decoder_norm else params

    return finalize


def scaled_pre_activations(params: SAEParams, x: Array, options: TopKOptions) -> Array:
    """Pre-activations, times decoder norms where the options say so, `[n, L]`."""
    return parts.in_decoder_units(parts.pre_activations(params, x, options), params.W_dec, options)


def scaled_reconstruct(params: SAEParams, latents: Array, options: TopKOptions) -> Array:
    """Reconstruction from latents on the scale of `scaled_pre_activations`, `[n, D]`."""
    unscaled = parts.from_decoder_units(latents, params.W_dec, options)
    return parts.reconstruct(params, unscaled, options)


def reconstruction_terms(
    params: SAEParams,
    x: Array,
    pre: Array,
    latents: Array,
    dead: Array | None,
    hyper: TopKHyper,
    options: TopKOptions,
    size: Callable[[Array], Array] = jnp.asarray,
) -> dict[str, Array]:
    """`mse_loss` and `auxiliary_reconstruction_loss` of k-sparse latents.

    `size` as in `dead_latents_error`.
    """
    x_hat = scaled_reconstruct(params, latents, options)
    residual = jax.lax.stop_gradient(x - x_hat)
    revival = dead_latents_error(pre, dead, residual, params.W_dec, options, size)
    return {
        "mse_loss": parts.squared_error(x_hat, x),
        "auxiliary_reconstruction_loss": hyper.aux_loss_coefficient * revival,
    }
