"""The k * n largest latents of a batch of n samples; a running threshold for inference."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.errors import require
from synthsae_jax.registry import Explanation
from synthsae_jax.saes import parts
from synthsae_jax.saes.base import architecture
from synthsae_jax.saes.places import places_of_batch
from synthsae_jax.saes.records import Rules, SAEParams, in_input_units
from synthsae_jax.saes.select import keep_top_k_of_batch
from synthsae_jax.saes.sparse_loss import active_terms
from synthsae_jax.saes.topk import (
    TopKOptions,
    check_auxiliary,
    reconstruction_terms,
    scaled_pre_activations,
    scaled_reconstruct,
)

Array = jax.Array


@struct.dataclass
class BatchTopKHyper:
    k: float = 100.0  # float32 []: active latents per sample, on average over the batch
    aux_loss_coefficient: float = 1.0  # float32 []
    topk_threshold_lr: float = 0.01  # float32 []: share of the newest batch in the threshold


@struct.dataclass
class BatchTopKState:
    # float32 []: running mean of the smallest latent that a batch kept
    threshold: Array = in_input_units()


def check_batch_topk(options: TopKOptions, hyper: BatchTopKHyper) -> None:
    """Raise unless k and the threshold's rate are in range."""
    require(
        0 < hyper.k <= options.d_sae,
        f"k must satisfy 0 < k <= d_sae, got k={hyper.k}, d_sae={options.d_sae}.",
    )
    rate = hyper.topk_threshold_lr
    require(0 <= rate <= 1, f"topk_threshold_lr must lie in 0..1, got topk_threshold_lr={rate}.")
    check_auxiliary(hyper)


@architecture(
    "batchtopk",
    Explanation(
        what="A batch of n samples keeps its k n largest positive latents; inference keeps those "
        "above a threshold learned as a running mean.",
        formula="z = top_kn(relu(((x - b_dec) W_enc + b_enc) * |W_dec|)); threshold t <- t + "
        "topk_threshold_lr (min positive z - t); inference z * [z > t]",
        source="Bussmann et al. 2024, arXiv:2412.06410",
    ),
    options=TopKOptions,
    hyper=BatchTopKHyper,
    sparsity="k per batch",
    example={"k": 1.5},
    check=check_batch_topk,
)
def batchtopk(options: TopKOptions) -> Rules:
    """The rules of a BatchTopK SAE.

    `finalize` folds decoder norms and writes the running threshold into every latent, after which
    the SAE is a JumpReLU one. Weights without a threshold are read as if it were 0.
    """

    rules = batch_rules(options, reconstruction_terms)
    return rules._replace(sparse_loss=sparse_batch_loss(options, active_terms))


def batch_rules(options: TopKOptions, terms_of: Callable[..., dict[str, Array]]) -> Rules:
    """The rules of an SAE that selects over the batch and pays the terms it is given.

    `terms_of(params, x, pre, latents, dead, hyper, options)` returns the terms of the loss.
    """

    def init(key, hyper):
        return parts.init_params(key, options)

    def train_encode(params, x, hyper, state):
        return keep_largest(scaled_pre_activations(params, x, options), hyper.k)

    def loss(params, x, dead, hyper, state, key):
        pre = scaled_pre_activations(params, x, options)
        latents = keep_largest(pre, hyper.k)
        terms = terms_of(params, x, pre, latents, dead, hyper, options)
        state = updated_threshold(state, latents, hyper.topk_threshold_lr)
        return sum(terms.values()), {"latents": latents, "state": state, "terms": terms}

    return Rules(init, *inference(options), train_encode, loss, init_state, finalizer(options))


def sparse_batch_loss(options: TopKOptions, terms_of: Callable[..., tuple[dict, dict]]):
    """The function `sparse_loss` of an SAE that selects over the batch.

    `terms_of` as `active_terms`.
    """

    def sparse_loss(params, x, dead, hyper, state, key, capacity):
        total = total_of(hyper.k, x.shape[0])

        def choose(pre):
            return places_of_batch(pre, total, capacity), total > capacity * x.shape[0]

        terms, info = terms_of(params, x, dead, hyper, options, choose)
        state = moved_threshold(state, info.pop("smallest"), hyper.topk_threshold_lr)
        return sum(terms.values()), {**info, "state": state, "terms": terms}

    return sparse_loss


def inference(options: TopKOptions):
    """The functions `encode` and `decode` of an SAE that becomes a JumpReLU one when finalized."""

    def encode(params, x, hyper):
        if params.threshold is None:
            return jax.nn.relu(scaled_pre_activations(params, x, options))
        return parts.jump_relu(parts.pre_activations(params, x, options), params.threshold)

    def decode(params, latents):
        if params.threshold is None:
            return scaled_reconstruct(params, latents, options)
        return parts.reconstruct(params, latents, options)

    return encode, decode


def finalizer(options: TopKOptions):
    """The function `finalize` of an SAE with a running threshold."""

    def finalize(params: SAEParams, state: BatchTopKState) -> SAEParams:
        if options.rescale_acts_by_decoder_norm:
            params = parts.fold_decoder_norms(params)
        return params.replace(threshold=jnp.full(options.d_sae, state.threshold, jnp.float32))

    return finalize


def init_state() -> BatchTopKState:
    """The threshold before any batch: 0."""
    return BatchTopKState(threshold=jnp.zeros((), jnp.float32))


def keep_largest(pre: Array, k: Array) -> Array:
    """The floor(k n) largest positive pre-activations of the batch, 0 elsewhere, `[n, L]`."""
    return keep_top_k_of_batch(pre, total_of(k, pre.shape[0]))


def total_of(k: Array, n: int) -> Array:
    """How many latents a batch of n samples keeps, int32 []."""
    return jnp.floor(k * n).astype(jnp.int32)


def updated_threshold(state: BatchTopKState, latents: Array, rate: Array) -> BatchTopKState:
    """The state after a batch; a batch without an active latent leaves it as it is."""
    latents = jax.lax.stop_gradient(latents)
    return moved_threshold(state, jnp.min(jnp.where(latents > 0, latents, jnp.inf)), rate)


def moved_threshold(state: BatchTopKState, smallest: Array, rate: Array) -> BatchTopKState:
    """The state after a batch whose smallest active latent this is; infinity: it had none."""
    moved = state.threshold + rate * (smallest - state.threshold)
    return BatchTopKState(threshold=jnp.where(jnp.isfinite(smallest), moved, state.threshold))
