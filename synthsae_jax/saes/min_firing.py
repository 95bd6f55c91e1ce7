"""BatchTopK with a gate that lets every latent fire on its best samples of each batch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.errors import require
from synthsae_jax.registry import Explanation
from synthsae_jax.saes.base import architecture
from synthsae_jax.saes.batchtopk import (
    BatchTopKHyper,
    batch_rules,
    check_batch_topk,
    keep_largest,
    updated_threshold,
)
from synthsae_jax.saes.records import Rules
from synthsae_jax.saes.select import top_k_mask
from synthsae_jax.saes.topk import TopKOptions, reconstruction_terms, scaled_pre_activations

Array = jax.Array


@struct.dataclass
class MinFiringHyper(BatchTopKHyper):
    min_firing: float = 1.0  # float32 []: samples of a batch every latent may have; rounded down


def _check(options: TopKOptions, hyper: MinFiringHyper) -> None:
    check_batch_topk(options, hyper)
    value = hyper.min_firing
    require(value >= 0, f"min_firing must not be negative, got min_firing={value}.")


@architecture(
    "min_firing_batchtopk",
    Explanation(
        what="BatchTopK in which every latent first gets its largest positive pre-activations of "
        "the batch, so that none dies; inference has no gate.",
        formula="places for each latent's min_firing largest positive, the rest of the k n places "
        "for the largest of the others; threshold and inference as in batchtopk",
        source="the full-width SynthSAEBench sweep (Chanin 2026)",
    ),
    options=TopKOptions,
    hyper=MinFiringHyper,
    sparsity="k per batch",
    example={"k": 1.5, "min_firing": 1.0},
    check=_check,
)
def min_firing_batchtopk(options: TopKOptions) -> Rules:
    """The rules of a BatchTopK SAE with a minimum of firing per batch.

    `min_firing` is a number of samples per batch and may fall to 0 while training, which is
    BatchTopK. Gated latents take places of the k n; only where they alone are more does a batch
    have more active latents. The running threshold follows what BatchTopK without the gate would
    keep, since that is what inference does.
    """

    def train_encode(params, x, hyper, state):
        pre = scaled_pre_activations(params, x, options)
        return keep_gated(pre, hyper.k, hyper.min_firing)

    def loss(params, x, dead, hyper, state, key):
        pre = scaled_pre_activations(params, x, options)
        latents = keep_gated(pre, hyper.k, hyper.min_firing)
        terms = reconstruction_terms(params, x, pre, latents, dead, hyper, options)
        ungated = keep_largest(pre, hyper.k)
        state = updated_threshold(state, ungated, hyper.topk_threshold_lr)
        return sum(terms.values()), {"latents": latents, "state": state, "terms": terms}

    rules = batch_rules(options, reconstruction_terms)
    return rules.with_loss(loss, train_encode=train_encode)


def keep_gated(pre: Array, k: Array, min_firing: Array) -> Array:
    """Each latent's largest positive pre-activations, and the largest of the rest, `[n, L]`.

    Among equal values the gate takes the first samples. The rest have gradient 0.
    """
    # one value for all that follows: computed twice, it may differ in its last bit, by which no
    # latent would reach its own maximum
    fixed = jax.lax.optimization_barrier(jax.lax.stop_gradient(pre))
    each = jnp.floor(min_firing).astype(jnp.int32)
    gated = top_k_mask(fixed.T, each).T & (fixed > 0)
    total = jnp.floor(k * pre.shape[0]).astype(jnp.int32)
    total = jnp.maximum(total, jnp.sum(gated, dtype=jnp.int32))
    ranked = jnp.where(gated, jnp.inf, fixed)
    chosen = top_k_mask(ranked.reshape(-1), total).reshape(pre.shape) & (fixed > 0)
    return jnp.where(chosen, pre, 0.0)
