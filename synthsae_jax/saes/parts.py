"""The linear pieces that architectures share: initial weights, encoder, decoder, squared error."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.numerics import HIGHEST, row_norms, safe_ratio
from synthsae_jax.saes.records import Options, SAEParams

Array = jax.Array


class Rescaling(Protocol):
    """Options that say whether latents are measured in units of their decoder row's norm."""

    rescale_acts_by_decoder_norm: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class TopKOptions(Options):
    rescale_acts_by_decoder_norm: bool = True  # rank latents by the length they add
    use_sparse_activations: bool = False  # how SAELens stores latents; changes no number


@struct.dataclass
class StepState:
    """The state of an architecture that only counts its training steps."""

    step: Array  # int32 []: batches seen


def first_step() -> StepState:
    """The state before any batch."""
    return StepState(step=jnp.zeros((), jnp.int32))


def init_params(key: Array, options: Options) -> SAEParams:
    """Random directions, the encoder the decoder's transpose, biases 0.

    Rows of `W_dec` are Kaiming-uniform, `U(-b, b)` with `b = sqrt(6 / D)`, then set to the norm
    `decoder_init_norm`; None leaves them as drawn.
    """
    bound = (6.0 / options.d_in) ** 0.5
    W_dec = jax.random.uniform(
        key, (options.d_sae, options.d_in), jnp.float32, minval=-bound, maxval=bound
    )
    if options.decoder_init_norm is not None:
        W_dec = W_dec / row_norms(W_dec)[:, None] * options.decoder_init_norm
    return SAEParams(
        W_enc=W_dec.T,
        b_enc=jnp.zeros(options.d_sae, jnp.float32),
        W_dec=W_dec,
        b_dec=jnp.zeros(options.d_in, jnp.float32),
    )


_PRECISION = {"float32": HIGHEST, "tf32": jax.lax.Precision.HIGH}


def matmul(a: Array, b: Array, options: Options) -> Array:
    """`a @ b` as the option `dtype` has it: "float32" on every device, or what is faster.

    "tf32" lets a GPU round operands to 10 bits (and a TPU take three passes in bfloat16; a CPU does
    as for float32); "bfloat16" rounds operands and result to 8 bits. Only the large products lose
    precision: parameters, biases, selection and losses keep float32.
    """
    if options.dtype == "bfloat16":
        return (a.astype(options.dtype) @ b.astype(options.dtype)).astype(jnp.float32)
    return jnp.matmul(a, b, precision=_PRECISION[options.dtype])


def centred(params: SAEParams, x: Array, options: Options) -> Array:
    """`x - b_dec`, `[n, D]`; as it is without `apply_b_dec_to_input`."""
    return x - params.b_dec[None] if options.apply_b_dec_to_input else x


def pre_activations(params: SAEParams, x: Array, options: Options) -> Array:
    """`(x - b_dec) W_enc + b_enc`, `[n, L]`; b_dec stays out without `apply_b_dec_to_input`."""
    return matmul(centred(params, x, options), params.W_enc, options) + params.b_enc[None]


def reconstruct(params: SAEParams, latents: Array, options: Options) -> Array:
    """`latents W_dec + b_dec`, `[n, D]`."""
    return matmul(latents, params.W_dec, options) + params.b_dec[None]


def in_decoder_units(values: Array, W_dec: Array, options: Rescaling) -> Array:
    """Values of latents `[n, L]` times their decoder row's norm: what a latent adds in length."""
    return values * row_norms(W_dec)[None] if options.rescale_acts_by_decoder_norm else values


def from_decoder_units(values: Array, W_dec: Array, options: Rescaling) -> Array:
    """The inverse of `in_decoder_units`; 0 for a latent whose decoder row is zero."""
    if not options.rescale_acts_by_decoder_norm:
        return values
    return values * safe_ratio(jnp.ones(()), row_norms(W_dec))[None]


def squared_error(x_hat: Array, x: Array) -> Array:
    """`|x_hat - x|^2` summed over dimensions, averaged over samples: a scalar."""
    return jnp.mean(jnp.sum(jnp.square(x_hat - x), axis=-1))


def jump_relu(pre: Array, threshold: Array) -> Array:
    """`relu(pre)` where `pre` exceeds its latent's threshold, else 0. `[n, L], [L] -> [n, L]`."""
    return jnp.where(pre > threshold[None], jax.nn.relu(pre), 0.0)


def fold_decoder_norms(params: SAEParams) -> SAEParams:
    """The same SAE with unit decoder rows: their norms moved into the encoder and its bias.

    Latents come out multiplied by the old norm. Norms below 1e-8 count as 1e-8.
    """
    norms = jnp.maximum(row_norms(params.W_dec), 1e-8)
    return params.replace(
        W_enc=params.W_enc * norms[None],
        b_enc=params.b_enc * norms,
        W_dec=params.W_dec / norms[:, None],
    )


def warmed_up(value: Array, step: Array, warm_up_steps: Array) -> Array:
    """A coefficient rising linearly from 0 at step 0 to `value` at step `warm_up_steps`."""
    # with no warm-up the ratio is at least 1 from step 0 on
    progress = (step + (warm_up_steps <= 0)) / jnp.maximum(warm_up_steps, 1)
    return value * jnp.minimum(progress, 1.0)
