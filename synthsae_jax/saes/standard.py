"""ReLU latents that pay for their length: the L1 SAE."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.errors import require
from synthsae_jax.numerics import row_norms
from synthsae_jax.registry import Explanation
from synthsae_jax.saes import parts
from synthsae_jax.saes.base import architecture
from synthsae_jax.saes.records import Options, Rules, SAEParams

Array = jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class StandardOptions(Options):
    lp_norm: float = 1.0  # exponent of the penalty's norm over latents


@struct.dataclass
class StandardHyper:
    l1_coefficient: float = 1.0  # float32 []
    l1_warm_up_steps: int = 0  # int32 []: the coefficient rises linearly from 0 over these steps


def _check(options: StandardOptions, hyper: StandardHyper) -> None:
    require(options.lp_norm > 0, f"lp_norm must be positive, got lp_norm={options.lp_norm}.")
    for name, value in vars(hyper).items():
        require(value >= 0, f"{name} must not be negative, got {name}={value}.")


@architecture(
    "standard",
    Explanation(
        what="ReLU latents; the loss charges each latent's activation times its decoder norm.",
        formula="|x_hat - x|^2 + l1_coefficient * |z * |W_dec||_p, z = relu((x - b_dec) W_enc + "
        "b_enc), averaged over samples, p = lp_norm",
        source="Bricken et al. 2023, Towards Monosemanticity; decoder norms in the penalty: "
        "Anthropic's circuits update of April 2024",
    ),
    options=StandardOptions,
    hyper=StandardHyper,
    sparsity="penalty",
    example={"l1_coefficient": 0.02},
    check=_check,
    penalty="l1_coefficient",
)
def standard(options: StandardOptions) -> Rules:
    """The rules of an L1 SAE; training and inference encode alike.

    At step t the coefficient is `l1_coefficient * min(t / l1_warm_up_steps, 1)`.
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
        lengths = latents * row_norms(params.W_dec)[None]
        coefficient = parts.warmed_up(hyper.l1_coefficient, state.step, hyper.l1_warm_up_steps)
        terms = {
            "mse_loss": parts.squared_error(decode(params, latents), x),
            "l1_loss": coefficient * jnp.mean(_norm_of_positive(lengths, options.lp_norm)),
        }
        info = {"latents": latents, "state": parts.StepState(state.step + 1), "terms": terms}
        return sum(terms.values()), info

    def finalize(params, state):
        return params

    return Rules(init, encode, decode, train_encode, loss, parts.first_step, finalize)


def _norm_of_positive(x: Array, p: float) -> Array:
    """The p-norm of each row of non-negative numbers, with gradient 0 where a number is 0."""
    if p == 1.0:
        return jnp.sum(x, axis=-1)
    # a power has no finite slope at 0 (below 1 it is infinite): keep 0 off the gradient's path
    positive = x > 0
    total = jnp.sum(jnp.where(positive, jnp.where(positive, x, 1.0) ** p, 0.0), axis=-1)
    some = total > 0
    return jnp.where(some, jnp.where(some, total, 1.0) ** (1.0 / p), 0.0)
