"""The k largest latents of each sample, and the auxiliary loss that revives dead latents."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.errors import require
from synthsae_jax.registry import Explanation
from synthsae_jax.saes import parts
from synthsae_jax.saes.base import architecture
from synthsae_jax.saes.records import Options, Rules, SAEParams, no_state
from synthsae_jax.saes.select import keep_top_k, top_k_mask

Array = jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class TopKOptions(Options):
    rescale_acts_by_decoder_norm: bool = True  # rank latents by the length they add
    use_sparse_activations: bool = False  # how SAELens stores latents; changes no number


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

    return Rules(init, encode, decode, train_encode, loss, no_state, finalizer(options))


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
