"""The k latents of largest magnitude of each sample, with their sign."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.registry import Explanation
from synthsae_jax.saes import parts
from synthsae_jax.saes.base import architecture
from synthsae_jax.saes.places import places_of_samples
from synthsae_jax.saes.records import Rules, no_state
from synthsae_jax.saes.select import top_k_mask
from synthsae_jax.saes.sparse_loss import active_terms
from synthsae_jax.saes.topk import (
    TopKHyper,
    TopKOptions,
    check_topk,
    finalizer,
    reconstruction_terms,
    scaled_pre_activations,
    scaled_reconstruct,
)

Array = jax.Array


@architecture(
    "abs_topk",
    Explanation(
        what="Each sample keeps the k pre-activations of largest magnitude, negative ones too: a "
        "latent stands for a direction and its opposite.",
        formula="z = h * [|h| among the k largest], h = ((x - b_dec) W_enc + b_enc) * |W_dec|; "
        "loss as in topk, dead latents chosen by magnitude",
        source="Zhu et al. 2025, arXiv:2510.00404",
    ),
    options=TopKOptions,
    hyper=TopKHyper,
    sparsity="k per sample",
    example={"k": 3},
    check=check_topk,
    probe_mcc=0.97,  # spare latents fire too, with either sign
)
def abs_topk(options: TopKOptions) -> Rules:
    """The rules of an AbsTopK SAE (SAELens: "abstopk"): those of topk without its ReLU.

    A latent is active where it is not 0, and a sample has exactly k of them.
    """

    def init(key, hyper):
        return parts.init_params(key, options)

    def encode(params, x, hyper):
        return keep_largest_magnitudes(scaled_pre_activations(params, x, options), hyper.k)

    def train_encode(params, x, hyper, state):
        return encode(params, x, hyper)

    def decode(params, latents):
        return scaled_reconstruct(params, latents, options)

    def loss(params, x, dead, hyper, state, key):
        pre = scaled_pre_activations(params, x, options)
        latents = keep_largest_magnitudes(pre, hyper.k)
        terms = reconstruction_terms(params, x, pre, latents, dead, hyper, options, size=jnp.abs)
        return sum(terms.values()), {"latents": latents, "state": state, "terms": terms}

    def sparse_loss(params, x, dead, hyper, state, key, capacity):
        def choose(pre):
            return places_of_samples(jnp.abs(pre), hyper.k, capacity), hyper.k > capacity

        terms, info = active_terms(params, x, dead, hyper, options, choose, size=jnp.abs)
        del info["smallest"]
        return sum(terms.values()), {**info, "state": state, "terms": terms}

    rules = Rules(init, encode, decode, train_encode, loss, no_state, finalizer(options))
    return rules._replace(sparse_loss=sparse_loss)


def keep_largest_magnitudes(pre: Array, k: Array) -> Array:
    """The k values of each row that are farthest from 0, 0 elsewhere, `[n, L]`."""
    return jnp.where(top_k_mask(jnp.abs(pre), k), pre, 0.0)
