"""Universal SAEs: any one model is encoded, and the code has to reconstruct them all."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from synthsae_jax.errors import require
from synthsae_jax.registry import Explanation
from synthsae_jax.saes import parts
from synthsae_jax.saes.base import architecture
from synthsae_jax.saes.batchtopk import (
    BatchTopKHyper,
    batchtopk,
    check_batch_topk,
    keep_largest,
    updated_threshold,
)
from synthsae_jax.saes.coupled import ModelsOptions, check_parts, fold_block_norms, topk_options
from synthsae_jax.saes.records import Rules, SAEParams
from synthsae_jax.saes.topk import reconstruction_terms

Array = jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class UniversalOptions(ModelsOptions):
    encode_from: int | None = None  # the model whose activations are encoded; None: mean over all


def _check(options: UniversalOptions, hyper: BatchTopKHyper) -> None:
    check_parts("d_in", options.d_in, "n_models", options.n_models)
    source = options.encode_from
    require(
        source is None or 0 <= source < options.n_models,
        f"encode_from must be None (mean over models) or a model's number from 0 to "
        f"{options.n_models - 1}, got encode_from={source}.",
    )
    check_batch_topk(options, hyper)


@architecture(
    "universal",
    Explanation(
        what="One code for several models: in each training step one of them, drawn at random, is "
        "encoded, and the code is decoded into all of them.",
        formula="z = top_kn(relu((x^i - b_dec^i) W_enc^i + b_enc) * sum_m |W_dec^m|) for a random "
        "i, x_hat^m = z W_dec^m / sum_m' |W_dec^m'| + b_dec^m; loss sum_m |x_hat^m - x^m|^2 + "
        "aux_loss_coefficient * (dead latents' error)",
        source="Thasarathan et al. 2025, arXiv:2502.03714, with BatchTopK in place of TopK",
    ),
    options=UniversalOptions,
    hyper=BatchTopKHyper,
    sparsity="k per batch",
    example={"k": 1.5, "n_models": 2},
    check=_check,
    probe_mcc=0.85,  # a code comes from one block of the input, where features overlap
)
def universal(options: UniversalOptions) -> Rules:
    """The rules of a universal SAE: `d_in = n_models D`, inputs as `worlds.join` makes them.

    The loss draws its model from the key; without one it is the mean of the losses over the models
    (and its latents the mean of their codes). Everything else encodes model `encode_from`, or
    takes the mean of the models' pre-activations (which falls below the threshold sooner where
    some models lack a feature). Latents are measured as in "crosscoder", and one
    running threshold serves all encoders. `saes.member` takes one model's encoder and decoder out.
    Where models lack features of each other, codes of the one can't reconstruct the other: the
    loss then presses for sharing that is not there.
    """
    count = options.n_models
    measured = lambda params: fold_block_norms(params, count)
    plain = topk_options(options, rescale_acts_by_decoder_norm=False)
    rules = batchtopk(plain)

    def as_used(params: SAEParams) -> SAEParams:
        return measured(params) if params.threshold is None else params

    def pre_activations(params: SAEParams, x: Array, source: Array | int | None) -> Array:
        if source is None:
            mean = params.replace(W_enc=params.W_enc / count)
            return parts.pre_activations(mean, x, options)
        block = lambda weights: weights.reshape(count, -1, *weights.shape[1:])[source]
        block_params = params.replace(W_enc=block(params.W_enc), b_dec=block(params.b_dec))
        return parts.pre_activations(
            block_params, x.reshape(x.shape[0], count, -1)[:, source], options
        )

    def encode(params, x, hyper):
        pre = pre_activations(as_used(params), x, options.encode_from)
        if params.threshold is None:
            return jax.nn.relu(pre)
        return parts.jump_relu(pre, params.threshold)

    def decode(params, latents):
        return rules.decode(as_used(params), latents)

    def train_encode(params, x, hyper, state):
        return keep_largest(pre_activations(measured(params), x, options.encode_from), hyper.k)

    def loss(params, x, dead, hyper, state, key):
        params = measured(params)

        def encoding(source):
            pre = pre_activations(params, x, source)
            latents = keep_largest(pre, hyper.k)
            terms = reconstruction_terms(params, x, pre, latents, dead, hyper, plain)
            moved = updated_threshold(state, latents, hyper.topk_threshold_lr)
            return {"latents": latents, "state": moved, "terms": terms}

        if key is None:
            each = jax.vmap(encoding)(jnp.arange(count))
            info = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), each)
        else:
            info = encoding(jax.random.randint(key, (), 0, count))
        return sum(info["terms"].values()), info

    def finalize(params, state):
        return rules.finalize(measured(params), state)

    return Rules(rules.init, encode, decode, train_encode, loss, rules.init_state, finalize)
