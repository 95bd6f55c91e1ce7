"""Departures inside a plane: a feature's contribution has a part along its row and one across."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri

from synthsae_jax.numerics import row_norms, safe_ratio, unit_rows
from synthsae_jax.registry import Explanation
from synthsae_jax.worlds import bits
from synthsae_jax.worlds.departures.base import Kind, departures
from synthsae_jax.worlds.records import Departure

Array = jax.Array
# `locate(strength, rank, lot) -> (along, across)`: where the point of a firing lies, in units of
# its value. `rank` in (0, 1) is the quantile of its magnitude, `lot` in (0, 1) a draw of its own
Locate = Callable[[Array, Array, Array], tuple[Array, Array]]
_NODES = 512
_NO_DIRECTION = 1e-3  # of the mean size: a mean contribution below this has no direction


def planar(name: str, explanation: Explanation, random: bool = False):
    """Decorator: register `locate(strength, rank, lot)` as a departure in a plane per feature."""

    def add(locate: Locate) -> Locate:
        def embed(departure, bias, ids, values, size, token_key, sum_of_rows):
            rank = _rank(size, departure.mean[ids], departure.std[ids])
            lot = jnp.full_like(rank, 0.5)
            if random:
                token = jnp.arange(ids.shape[0], dtype=jnp.uint32)[:, None]
                lot = bits.uniform(bits.words(token_key, token, ids)[0])
            along, across = locate(departure.strength, rank, lot)
            x = sum_of_rows(departure.rows, bias, ids, values * along)
            zero = jnp.zeros_like(bias)
            return x + sum_of_rows(departure.across, zero, ids, values * across)

        departures.register(name, explanation)(
            Kind(embed, lambda d: _effective(d, locate), across=True, random=random)
        )
        return locate

    return add


def _rank(size: Array, mean: Array, std: Array) -> Array:
    """Quantile of a magnitude in its law N(mean, std^2), the middle where it has no spread."""
    spread = std > 0
    return jnp.where(spread, ndtr((size - mean) / jnp.where(spread, std, 1.0)), 0.5)


def _effective(departure: Departure, locate: Locate) -> tuple[Array, Array]:
    """Mean direction and linear share, by midpoints over rank and lot.

    A feature's magnitude is taken from its own law `relu(N(mean, std^2))`, without what a parent
    makes of it.
    """
    node = (jnp.arange(_NODES) + 0.5) / _NODES
    size = jnp.maximum(departure.mean[:, None] + departure.std[:, None] * ndtri(node)[None], 0.0)

    def averages(rank: Array) -> Array:
        """Means over the lot of along, across, their squares and product, [nodes, 5]."""
        along, across = locate(departure.strength, rank[:, None], node[None])
        moments = along, across, along**2, across**2, along * across
        return jnp.stack([jnp.broadcast_to(m, (_NODES,) * 2).mean(axis=1) for m in moments], axis=1)

    def over_rank(size: Array) -> Array:
        """Means of size times each moment [F, 5]; without spread all firings are in the middle."""
        spread = jnp.matmul(size, averages(node), precision=jax.lax.Precision.HIGHEST) / _NODES
        middle = jnp.mean(size, axis=1)[:, None] * averages(jnp.full(_NODES, 0.5))[:1]
        return jnp.where(departure.std[:, None] > 0, spread, middle)

    mean = over_rank(size)[:, :2]
    aa, cc, ac = over_rank(size**2)[:, 2:].T
    length = row_norms(mean)
    lost = length <= _NO_DIRECTION * jnp.mean(size, axis=-1)
    mean = jnp.where(lost[:, None], jnp.array([[1.0, 0.0]]), mean)
    c, s = jnp.moveaxis(unit_rows(mean), -1, 0)
    rows = unit_rows(c[:, None] * departure.rows + s[:, None] * departure.across)
    share = safe_ratio(c**2 * aa + s**2 * cc + 2 * c * s * ac, aa + cc)
    return rows, share
