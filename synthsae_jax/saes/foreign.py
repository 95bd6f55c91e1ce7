"""Anybody's encoder and decoder as an `SAE`, to be evaluated and matched."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.errors import ConfigError, require
from synthsae_jax.saes.base import SAE
from synthsae_jax.saes.records import NoNumbers, Options, Rules, SAEParams, no_state

Array = jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class WrappedOptions(Options):
    encode: Callable[[Array], Array]  # x [n, D] -> latents [n, L]
    decode: Callable[[Array], Array]  # latents [n, L] -> x_hat [n, D]
    host: bool = False


def wrap(
    encode: Callable[[Array], Array],
    decode: Callable[[Array], Array],
    W_dec: Array,
    *,
    host: bool = False,
) -> SAE:
    """An SAE from two functions `x [n, D] -> latents [n, L]` and `latents -> x_hat [n, D]`.

    `W_dec` `[L, D]` holds a direction per latent, for metrics that compare directions; the result
    brings it as `sae.params`, which its functions accept and ignore. Functions written in JAX work
    inside `jit`; with `host=True` they take and give numpy arrays (numpy, torch) and are called
    back from compiled code. A wrapped SAE cannot be trained. Two are equal where they wrap the
    same two function objects.
    """
    W_dec = jnp.asarray(W_dec, jnp.float32)
    require(W_dec.ndim == 2, f"W_dec must have shape (d_sae, d_in), got {W_dec.shape}.")
    d_sae, d_in = W_dec.shape
    options = WrappedOptions(d_in=d_in, d_sae=d_sae, encode=encode, decode=decode, host=host)
    return SAE(
        name="wrapped",
        options=options,
        factory=_wrapped,
        hyper=NoNumbers(),
        params=SAEParams(W_dec=W_dec),
    )


def _wrapped(options: WrappedOptions) -> Rules:
    def encode(params, x, hyper):
        return _call("encode", options.encode, x, options.d_sae, options.host)

    def decode(params, latents):
        return _call("decode", options.decode, latents, options.d_in, options.host)

    def train_encode(params, x, hyper, state):
        return encode(params, x, hyper)

    def finalize(params, state):
        return params

    return Rules(_untrainable, encode, decode, train_encode, _untrainable, no_state, finalize)


def _untrainable(*args):
    raise ConfigError("A wrapped SAE can be evaluated and matched, not initialised or trained.")


def _call(what: str, function: Callable, batch: Array, width: int, host: bool) -> Array:
    shape = (batch.shape[0], width)

    def on_host(values):
        out = np.asarray(function(np.asarray(values)), np.float32)
        _check_shape(what, out.shape, shape)
        return out

    if host:
        result = jax.ShapeDtypeStruct(shape, jnp.float32)
        # under vmap one call after the other: the functions know of no further axes
        return jax.pure_callback(on_host, result, batch, vmap_method="sequential")
    out = jnp.asarray(function(batch), jnp.float32)
    _check_shape(what, out.shape, shape)
    return out


def _check_shape(what: str, actual: tuple[int, ...], expected: tuple[int, ...]) -> None:
    require(
        tuple(actual) == expected,
        f"The wrapped {what} must return shape {expected} by W_dec, got {tuple(actual)}.",
    )
