"""From codes to activations: what an instance has of the codes, and where it puts them."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.errors import ConfigError
from synthsae_jax.modes import fixed
from synthsae_jax.worlds import bits
from synthsae_jax.worlds.departures import departed
from synthsae_jax.worlds.filled import unless_zero
from synthsae_jax.worlds.records import Codes, Instance

Array = jax.Array
_PIECE = 16  # slots


@fixed
def observe(instance: Instance, codes: Codes, key: Array | None = None) -> Codes:
    """The codes as this instance has them, which are its truth: `[n, K]`, some slots emptied.

    Absent features are gone, dropped ones are missing on that token, magnitudes carry the
    instance's gain. A key is needed where the instance drops features at random (`drop` or
    `rate_jitter` in its config); a drop hits one feature and leaves its children.
    """
    n_features = instance.present.shape[-1]
    ids = jnp.minimum(codes.indices, n_features - 1)
    has = (codes.indices < n_features) & instance.present[ids]
    if key is not None:
        token = jnp.arange(codes.indices.shape[0], dtype=jnp.uint32)[:, None]
        has &= bits.below(bits.words(key, token, ids)[0], instance.keep[ids])
    elif _needs_key(instance, "drop", "rate_jitter"):
        raise ConfigError("observe needs a key: this instance drops features at random.")
    return Codes(
        indices=jnp.where(has, codes.indices, n_features),
        values=jnp.where(has, codes.values * instance.gain[ids], 0.0),
        overflow=codes.overflow,
    )


@fixed
def embed(
    instance: Instance, codes: Codes, key: Array | None = None, token_key: Array | None = None
) -> Array:
    """Activations `x = sum_i value_i direction_i + bias (+ noise)`, float32 [n, D].

    A key is needed only where the instance has noise, or a departure that varies from token to
    token; `token_key` makes that part alone the same in several instances (None: from `key`). Cost
    follows the slots, not the features.
    """
    n_features = instance.dictionary.shape[-2]
    ids = jnp.minimum(codes.indices, n_features - 1)
    if instance.departure is not None:
        if token_key is None and key is not None:
            token_key = jax.random.fold_in(key, 1)
        x = departed(instance, ids, codes.values, token_key, _sum_of_rows)
    else:
        x = _sum_of_rows(instance.dictionary, instance.bias, ids, codes.values)
    if key is not None:
        return x + instance.noise * jax.random.normal(key, x.shape)
    if _needs_key(instance, "noise"):
        raise ConfigError("embed needs a key: this instance has additive noise.")
    return x


@fixed
def densify(codes: Codes, n_features: int) -> Array:
    """The codes as a dense matrix, float32 [n, F]."""
    n, _ = codes.indices.shape
    rows = jnp.arange(n)[:, None]
    dense = jnp.zeros((n, n_features + 1), codes.values.dtype)
    # add, not set: empty slots all write 0 to the same extra column
    return dense.at[rows, codes.indices].add(codes.values)[:, :n_features]


# compiled here because an eager loop would be compiled anew at every call
@jax.jit
def _sum_of_rows(rows: Array, start: Array, ids: Array, weights: Array) -> Array:
    """`start + sum_k weight_k row_k` for each token, [n, D], slot by slot.

    Some slots at a time, so that those which no token fills are passed over; all at once would hold
    [n, K, D] (60 ms where this takes 5, 1,024 tokens of synthsaebench-16k on a CPU).
    """
    n, n_slots = ids.shape
    padding = ((0, 0), (0, -n_slots % _PIECE))
    pieces = [jnp.pad(x, padding).T.reshape(-1, _PIECE, n) for x in (ids, weights)]

    def add_piece(x: Array, piece: list[Array]) -> tuple[Array, None]:
        def add(x: Array) -> Array:
            for index, weight in zip(*piece):
                x = x + weight[:, None] * rows[index]
            return x

        return unless_zero(piece[1], add, x), None

    x = jnp.broadcast_to(start, (n, start.shape[-1]))
    return jax.lax.scan(add_piece, x, pieces)[0]


def _needs_key(instance: Instance, *options: str) -> bool:
    return any(getattr(instance.config, option, 0) for option in options)
