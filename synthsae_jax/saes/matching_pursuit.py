"""Latents found one after the other, each in what the ones before left unexplained."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.errors import require
from synthsae_jax.registry import Explanation
from synthsae_jax.saes import parts
from synthsae_jax.saes.base import architecture
from synthsae_jax.saes.records import Options, Rules, SAEParams, in_input_units, no_state

Array = jax.Array

_LARGEST_GRAM = 2**28  # entries: 1 GiB
_MOST_ROUNDS = 65_536
_TOGETHER = 512  # samples whose rounds are run together; others wait


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatchingPursuitOptions(Options):
    max_iterations: int | None = None  # of the pursuit; None: d_in
    stop_on_duplicate_support: bool = True  # a sample ends once a round brings no new latent
    decoder_init_norm: float | None = 1.0  # only 1: the pursuit measures along rows as they are

    def __post_init__(self):
        super().__post_init__()
        require(
            self.decoder_init_norm == 1.0,
            "decoder_init_norm must be 1 for matching_pursuit, got "
            f"decoder_init_norm={self.decoder_init_norm}.",
        )
        rounds = self.max_iterations
        require(
            rounds is None or rounds >= 1,
            f"max_iterations must be at least 1 or None, got max_iterations={rounds}.",
        )
        require(
            self.rounds <= _MOST_ROUNDS,
            f"max_iterations must be at most {_MOST_ROUNDS:,}, since every round of a sample is "
            f"kept, got max_iterations={rounds}.",
        )

    @property
    def rounds(self) -> int:
        """The most rounds that a sample can have."""
        rounds = self.d_in if self.max_iterations is None else self.max_iterations
        # each round but the last brings a new latent where one without ends the pursuit
        return min(rounds, self.d_sae + 1) if self.stop_on_duplicate_support else rounds


@struct.dataclass
class MatchingPursuitHyper:
    # float32 []: a sample ends with a residual shorter than this
    residual_threshold: float = in_input_units(default=0.01)


def _check(options: MatchingPursuitOptions, hyper: MatchingPursuitHyper) -> None:
    threshold = hyper.residual_threshold
    require(
        threshold >= 0,
        f"residual_threshold must not be negative, got residual_threshold={threshold}.",
    )


@architecture(
    "matching_pursuit",
    Explanation(
        what="Again and again the decoder row most aligned with the residual becomes active and is "
        "subtracted; there is no encoder of its own.",
        formula="r <- x - b_dec; repeat max_iterations times: j = argmax r . W_dec[j], "
        "v = relu(r . W_dec[j]), z_j <- z_j + v, r <- r - v W_dec[j]; loss |r|^2",
        source="Costa et al. 2025, arXiv:2506.03093",
    ),
    options=MatchingPursuitOptions,
    hyper=MatchingPursuitHyper,
    sparsity="iterations",
    example={"max_iterations": 2},
    check=_check,
)
def matching_pursuit(options: MatchingPursuitOptions) -> Rules:
    """The rules of a matching pursuit SAE; training and inference encode alike.

    A row may be chosen again, and its values add up. Rows are not divided by their norm, nor kept
    at norm 1. Gradients pass through the whole chain of residuals, not through the choices.
    Without `apply_b_dec_to_input` the decoder leaves `b_dec` out too.
    """

    def init(key, hyper):
        return parts.init_params(key, options).replace(W_enc=None, b_enc=None)

    def run(params, x, hyper):
        x = parts.centred(params, x, options)
        return pursue(params.W_dec, x, hyper.residual_threshold, options)

    def encode(params, x, hyper):
        return run(params, x, hyper)[0]

    def train_encode(params, x, hyper, state):
        return encode(params, x, hyper)

    def decode(params, latents):
        x_hat = parts.matmul(latents, params.W_dec, options)
        return x_hat + params.b_dec[None] if options.apply_b_dec_to_input else x_hat

    def loss(params: SAEParams, x, dead, hyper, state, key):
        latents, residual = run(params, x, hyper)
        # what is left of x is x - decode(latents), so there is nothing to decode
        terms = {"mse_loss": jnp.mean(jnp.sum(jnp.square(residual), axis=-1))}
        return terms["mse_loss"], {"latents": latents, "state": state, "terms": terms}

    def finalize(params, state):
        return params

    return Rules(init, encode, decode, train_encode, loss, no_state, finalize)


def pursue(
    W_dec: Array, x: Array, residual_threshold: Array, options: MatchingPursuitOptions
) -> tuple[Array, Array]:
    """Latents `[n, L]` and residuals `[n, D]` of samples `[n, D]`; without any bias.

    A sample ends after a round that left a residual shorter than `residual_threshold` or, with
    `stop_on_duplicate_support`, activated no new latent; what that round added stays.
    """
    W_dec, x = jnp.asarray(W_dec), jnp.asarray(x)
    chosen, values, residual = _chain(options, W_dec, x, residual_threshold)
    samples = jnp.arange(x.shape[0])[None]
    latents = jnp.zeros((x.shape[0], W_dec.shape[0]), x.dtype).at[samples, chosen].add(values)
    return latents, residual


def _run(
    options: MatchingPursuitOptions, W_dec: Array, x: Array, residual_threshold: Array
) -> tuple[Array, Array, Array]:
    """The row chosen in each round and its value, `[rounds, n]` each, and the residual `[n, D]`.

    Rounds that a sample has not had hold row 0 with value 0.
    """
    samples, rounds = x.shape[0], options.rounds
    rows = jax.lax.stop_gradient(W_dec)
    # One product of the decoder with itself saves that of every round but the first
    small = rows.shape[0] * 2 <= samples * rounds and rows.shape[0] ** 2 <= _LARGEST_GRAM
    gram = _gram(rows, options) if small else None
    some = functools.partial(_rounds, options, rows, gram, residual_threshold)
    if gram is None or samples <= _TOGETHER or samples % _TOGETHER:
        return some(x)
    # a part of the samples at a time: their products with all rows then stay in a cache
    chosen, values, residual = jax.lax.map(some, x.reshape(-1, _TOGETHER, x.shape[1]))
    in_rounds = lambda parts: jnp.moveaxis(parts, 1, 0).reshape(rounds, samples)
    return in_rounds(chosen), in_rounds(values), residual.reshape(x.shape)


def _rounds(
    options: MatchingPursuitOptions,
    rows: Array,
    gram: Array | None,
    residual_threshold: Array,
    x: Array,
) -> tuple[Array, Array, Array]:
    """What `_run` gives, for some samples `[n, D]`; `gram` is that of the rows, or None."""
    samples, rounds = x.shape[0], options.rounds

    def more(carry):
        t, _, _, done, *_ = carry
        return (t < rounds) & ~jnp.all(done)

    def one_round(carry):
        t, residual, along, done, chosen, values = carry
        best = _first_largest(along)
        row = rows[best]
        # from the residual itself, so that rounding in `along` can only decide near ties
        value = jnp.where(done, 0.0, jax.nn.relu(jnp.sum(residual * row, axis=-1)))
        residual = residual - value[:, None] * row
        if gram is None:
            along = parts.matmul(residual, rows.T, options)
        else:
            along = along - value[:, None] * gram[best]
        if options.stop_on_duplicate_support:
            again = jnp.any((chosen == best[None]) & (values > 0), axis=0)
            done = done | again | (value == 0)
        done = done | (jnp.linalg.norm(residual, axis=-1) < residual_threshold)
        chosen = chosen.at[t].set(jnp.where(value > 0, best, 0).astype(jnp.int32))
        return t + 1, residual, along, done, chosen, values.at[t].set(value)

    carry = (
        jnp.zeros((), jnp.int32),
        x,
        parts.matmul(x, rows.T, options),
        jnp.zeros(samples, bool),
        jnp.zeros((rounds, samples), jnp.int32),
        jnp.zeros((rounds, samples), x.dtype),
    )
    _, residual, _, _, chosen, values = jax.lax.while_loop(more, one_round, carry)
    return chosen, values, residual


def _gram(rows: Array, options: MatchingPursuitOptions) -> Array:
    """`rows rows^T` `[L, L]`: of large ones the upper part is computed, the rest mirrored."""
    width = rows.shape[0]
    # of 4,096 rows eight panels take a CPU 8 % less than four, and sixteen more than either
    panels = next((n for n in (8, 4) if width % n == 0 and width >= 256 * n), 1)
    size = width // panels
    gram = jnp.zeros((width, width), rows.dtype)
    for start in range(0, width, size):
        panel = parts.matmul(rows[start : start + size], rows[start:].T, options)
        gram = jax.lax.dynamic_update_slice(gram, panel, (start, start))
        if start + size < width:
            below = panel[:, size:].T
            gram = jax.lax.dynamic_update_slice(gram, below, (start + size, start))
    return gram


def _first_largest(along: Array) -> Array:
    """`argmax` of each row `[n, L]`: of block maxima first, which a CPU takes ten times faster."""
    n, width = along.shape
    block = width & -width  # the largest power of 2 that divides it
    if block == 1:
        return jnp.argmax(along, axis=-1)
    block = min(block, 64)
    blocks = along.reshape(n, -1, block)
    first = jnp.argmax(jnp.max(blocks, axis=-1), axis=-1)
    inside = jnp.take_along_axis(blocks, first[:, None, None], axis=1)[:, 0]
    return first * block + jnp.argmax(inside, axis=-1)


def _forward(options, W_dec, x, residual_threshold):
    outputs = _run(options, W_dec, x, residual_threshold)
    return outputs, (W_dec, *outputs)


def _backward(options, residuals, cotangents):
    """From the last round to the first, each residual rebuilt from the one after it.

    With g the gradient of the residual after a round, and u that of the round's value v, both by
    r' = r - v d and v = relu(r . d): s = (u - g . d) [v > 0], the row's is s r - v g, and that of
    the residual before it g + s d.
    """
    W_dec, chosen, values, residual = residuals
    _, from_values, from_residual = cotangents
    # rounds that no sample has had come last, and change nothing
    used = jnp.sum(jnp.any(values > 0, axis=1), dtype=jnp.int32)

    def one_round(i, carry):
        from_W_dec, residual, gradient = carry
        best, value, from_value = (rows[used - 1 - i] for rows in (chosen, values, from_values))
        row = W_dec[best]
        residual = residual + value[:, None] * row
        slope = jnp.where(value > 0, from_value - jnp.sum(gradient * row, axis=-1), 0.0)
        from_row = slope[:, None] * residual - value[:, None] * gradient
        # added at once: kept for later, those of all rounds would be many times the decoder
        return from_W_dec.at[best].add(from_row), residual, gradient + slope[:, None] * row

    carry = (jnp.zeros_like(W_dec), residual, from_residual)
    from_W_dec, _, gradient = jax.lax.fori_loop(0, used, one_round, carry)
    return from_W_dec, gradient, jnp.zeros(())


_chain = jax.custom_vjp(_run, nondiff_argnums=(0,))
_chain.defvjp(_forward, _backward)
