"""Crosscoders: one set of latents that reads several models and writes into each of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.errors import require
from synthsae_jax.registry import Explanation
from synthsae_jax.saes import parts
from synthsae_jax.saes.base import architecture
from synthsae_jax.saes.batchtopk import BatchTopKHyper, batchtopk, check_batch_topk
from synthsae_jax.saes.coupled import (
    ModelsOptions,
    block_norms,
    check_parts,
    fold_block_norms,
    topk_options,
)
from synthsae_jax.saes.records import Rules, SAEParams
from synthsae_jax.saes.standard import StandardHyper

Array = jax.Array


def _check(options: ModelsOptions, hyper: BatchTopKHyper) -> None:
    check_parts("d_in", options.d_in, "n_models", options.n_models)
    check_batch_topk(options, hyper)


@architecture(
    "crosscoder",
    Explanation(
        what="Latents read the activations of several models side by side; a batch of n samples "
        "keeps the k n that add the largest total length to the models.",
        formula="z = top_kn(relu((x - b_dec) W_enc + b_enc) * sum_m |W_dec^m|), x_hat^m = z "
        "W_dec^m / sum_m' |W_dec^m'| + b_dec^m; loss sum_m |x_hat^m - x^m|^2 + "
        "aux_loss_coefficient * (dead latents' error)",
        source="Minder et al. 2025, arXiv:2504.02922; Lindsey et al. 2024, Sparse Crosscoders",
    ),
    options=ModelsOptions,
    hyper=BatchTopKHyper,
    sparsity="k per batch",
    example={"k": 1.5, "n_models": 2},
    check=_check,
)
def crosscoder(options: ModelsOptions) -> Rules:
    """The rules of a BatchTopK crosscoder: `d_in = n_models D`, inputs as `worlds.join` makes them.

    It is the BatchTopK SAE of all models' activations, with latents measured by the sum of their
    decoder norms in the models instead of the norm over all. `finalize` makes that sum 1 and
    writes the running threshold.
    """
    measured = lambda params: fold_block_norms(params, options.n_models)
    rules = batchtopk(topk_options(options, rescale_acts_by_decoder_norm=False))

    def as_used(params: SAEParams) -> SAEParams:
        # finalized weights are measured already, and their threshold belongs to them as they are
        return measured(params) if params.threshold is None else params

    def encode(params, x, hyper):
        return rules.encode(as_used(params), x, hyper)

    def decode(params, latents):
        return rules.decode(as_used(params), latents)

    def train_encode(params, x, hyper, state):
        return rules.train_encode(measured(params), x, hyper, state)

    def loss(params, x, dead, hyper, state, key):
        return rules.loss(measured(params), x, dead, hyper, state, key)

    def finalize(params, state):
        return rules.finalize(measured(params), state)

    return Rules(rules.init, encode, decode, train_encode, loss, rules.init_state, finalize)


def _check_l1(options: ModelsOptions, hyper: StandardHyper) -> None:
    check_parts("d_in", options.d_in, "n_models", options.n_models)
    for name, value in vars(hyper).items():
        require(value >= 0, f"{name} must not be negative, got {name}={value}.")


@architecture(
    "crosscoder_l1",
    Explanation(
        what="Latents read the activations of several models side by side; the loss charges each "
        "latent's activation times the sum of its decoder norms in the models.",
        formula="sum_m |x_hat^m - x^m|^2 + l1_coefficient * sum_j z_j sum_m |W_dec_j^m|, z = "
        "relu((x - b_dec) W_enc + b_enc), averaged over samples",
        source="Lindsey et al. 2024, Sparse Crosscoders for Cross-Layer Features and Model Diffing",
    ),
    options=ModelsOptions,
    hyper=StandardHyper,
    sparsity="penalty",
    example={"l1_coefficient": 0.02, "n_models": 2},
    check=_check_l1,
    probe_mcc=0.97,  # a direction in both models costs more than one in either
    penalty="l1_coefficient",
)
def crosscoder_l1(options: ModelsOptions) -> Rules:
    """The rules of an L1 crosscoder; training and inference encode alike.

    The penalty can shrink a shared latent's decoder to zero in one of the models, which then looks
    exclusive to the others (arXiv:2504.02922); "crosscoder" does not pay for norms.
    """

    def init(key, hyper):
        return parts.init_params(key, options)

    def encode(params, x, hyper):
        return jax.nn.relu(parts.pre_activations(params, x, options))

    def train_encode(params, x, hyper, state):
        return encode(params, x, hyper)

    def decode(params, latents):
        return parts.reconstruct(params, latents, options)

    def loss(params: SAEParams, x, dead, hyper, state, key):
        latents = encode(params, x, hyper)
        lengths = jnp.sum(block_norms(params.W_dec, options.n_models), axis=-1)
        coefficient = parts.warmed_up(hyper.l1_coefficient, state.step, hyper.l1_warm_up_steps)
        terms = {
            "mse_loss": parts.squared_error(decode(params, latents), x),
            "l1_loss": coefficient * jnp.mean(jnp.sum(latents * lengths[None], axis=-1)),
        }
        info = {"latents": latents, "state": parts.StepState(state.step + 1), "terms": terms}
        return sum(terms.values()), info

    def finalize(params, state):
        return params

    return Rules(init, encode, decode, train_encode, loss, parts.first_step, finalize)
