"""Whether a latent fires and how strongly are told apart: the gated SAE."""

from __future__ import annotations

from typing import NamedTuple

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


@struct.dataclass
class GatedHyper:
    l1_coefficient: float = 1.0  # float32 []
    l1_warm_up_steps: int = 0  # int32 []: the coefficient rises linearly from 0 over these steps


class Paths(NamedTuple):
    gate: Array  # [n, L]: a latent fires where this is positive
    magnitude: Array  # [n, L]: how strongly, if it fires


def _check(options: Options, hyper: GatedHyper) -> None:
    for name, value in vars(hyper).items():
        require(value >= 0, f"{name} must not be negative, got {name}={value}.")


@architecture(
    "gated",
    Explanation(
        what="A gate decides which latents fire, a rescaled copy of the same encoder how strongly; "
        "only the gate pays for sparsity, so magnitudes do not shrink.",
        formula="c = (x - b_dec) W_enc, g = relu(c + b_gate), z = [g > 0] relu(c exp(r_mag) + "
        "b_mag); |x_hat - x|^2 + l1_coefficient * g * |W_dec| + |g W_dec + b_dec - x|^2",
        source="Rajamanoharan et al. 2024, arXiv:2404.16014",
    ),
    options=Options,
    hyper=GatedHyper,
    sparsity="penalty",
    example={"l1_coefficient": 0.02},
    check=_check,
    penalty="l1_coefficient",
)
def gated(options: Options) -> Rules:
    """The rules of a gated SAE; training and inference encode alike.

    `auxiliary_reconstruction_loss` lets the gate alone reconstruct; its gradient reaches the
    decoder too (as in SAELens; the paper stops it there). The coefficient warms up as in standard.
    """

    def init(key, hyper):
        params = parts.init_params(key, options)
        zeros = jnp.zeros(options.d_sae, jnp.float32)
        return params.replace(b_enc=None, b_gate=zeros, b_mag=zeros, r_mag=zeros)

    def encode(params, x, hyper):
        return combined(two_paths(params, x, options))

    def train_encode(params, x, hyper, state):
        return encode(params, x, hyper)

    def decode(params, latents):
        return parts.reconstruct(params, latents, options)

    def loss(params: SAEParams, x, dead, hyper, state, key):
        paths = two_paths(params, x, options)
        latents = combined(paths)
        gate = jax.nn.relu(paths.gate)
        lengths = jnp.sum(gate * row_norms(params.W_dec)[None], axis=-1)
        coefficient = parts.warmed_up(hyper.l1_coefficient, state.step, hyper.l1_warm_up_steps)
        terms = {
            "mse_loss": parts.squared_error(decode(params, latents), x),
            "l1_loss": coefficient * jnp.mean(lengths),
            "auxiliary_reconstruction_loss": parts.squared_error(decode(params, gate), x),
        }
        info = {"latents": latents, "state": parts.StepState(state.step + 1), "terms": terms}
        return sum(terms.values()), info

    def finalize(params, state):
        return params

    return Rules(init, encode, decode, train_encode, loss, parts.first_step, finalize)


def two_paths(params: SAEParams, x: Array, options: Options) -> Paths:
    """Gate and magnitude of each latent, from one product with the encoder they share."""
    shared = parts.matmul(parts.centred(params, x, options), params.W_enc, options)
    return Paths(
        gate=shared + params.b_gate[None],
        magnitude=jax.nn.relu(shared * jnp.exp(params.r_mag)[None] + params.b_mag[None]),
    )


def combined(paths: Paths) -> Array:
    """Magnitudes where the gate is open, else 0; no gradient passes through the gate."""
    return jnp.where(paths.gate > 0, paths.magnitude, 0.0)
