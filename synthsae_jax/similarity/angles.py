"""Distances 1 - cosine of all pairs of rows, with digits where they lie close together.

A product of unit rows has an error of 1e-7 whatever the angle. Where one dimension outweighs the
others, all rows point nearly along it, one way or the other, and their distances from 0 or from 2
are of that size: half of the digits or all would be rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from synthsae_jax.numerics import row_norms, unit_rows
from synthsae_jax.similarity.points import row_energies, squared_distances, times

Array = jax.Array
# Distances that should be equal differ by some 1e-7 of the rows' spread, and would tear ties apart:
# those nearer than this share of it are taken for equal.
STEP = 2.0**-20
LEAST = 2.0**-24  # spreads below are taken for this
CELLS = 2  # slots to a step
# Slots: one for each cell up to here, then 2^14 to each octave, of which there are at most 24.
_SINGLE = CELLS * 2**20
SLOTS = 2 * (_SINGLE + 24 * 2**14) + 1


class Angles(NamedTuple):
    """Distances of pairs of rows, `[n, n]`; the diagonal says nothing."""

    near: Array  # the distance, or 2 less it, whichever is smaller
    far: Array  # bool: is the distance above 1?
    step: Array  # [], a power of two: distances nearer than this are taken for equal

    @property
    def distance(self) -> Array:
        """1 - cosine, in [0, 2]."""
        return jnp.where(self.far, 2.0 - self.near, self.near)

    @property
    def slot(self) -> Array:
        """int32 in `[0, SLOTS)`: numbers in the order of the distances, `CELLS` to a step."""
        one = jnp.ones((), jnp.float32)
        slot, middle = (_slot(CELLS * v / self.step) for v in (self.near, one))
        return jnp.where(self.far, 2 * middle - slot, slot)


def angles(X: Array) -> tuple[Angles, Array]:
    """Distances of the rows `[n, p]` float32, and whether any row is 0 and has none."""
    zero = jnp.any(jnp.all(X == 0, axis=1))
    rows = unit_rows(X)
    # rows that point the opposite way lie close too, once they are turned round
    # Only the side on which a row lies is asked, so that a rough direction will do.
    forth = jnp.sum(rows * _leading(rows)[None, :], axis=1) >= 0
    rows = jnp.where(forth[:, None], rows, -rows)
    rows = rows - _centre(rows)[None, :]
    half = jnp.clip(squared_distances(rows) / 2, 0.0, 2.0)
    same = forth[:, None] == forth[None, :]
    # of most rows: a few that lie across must not blur the others
    spread = jnp.sort(row_energies(rows))[int(0.9 * (X.shape[0] - 1))]
    exponent = jnp.ceil(jnp.log2(jnp.clip(spread, LEAST, 1.0))).astype(jnp.int32)
    step = jnp.ldexp(jnp.full((), STEP, jnp.float32), exponent)
    return Angles(jnp.minimum(half, 2.0 - half), (half > 1) == same, step), zero


def _slot(cells: Array) -> Array:
    """Whole numbers in the order of the numbers of cells, of which there may be 2^45."""
    cells = jnp.round(cells)
    # numbers above 0 are ordered like their bits, of which 14 behind the leading one are enough
    bits = lambda v: jax.lax.bitcast_convert_type(v, jnp.int32) >> 9
    beyond = _SINGLE + bits(cells) - bits(jnp.full((), _SINGLE, jnp.float32))
    return jnp.where(cells < _SINGLE, cells.astype(jnp.int32), beyond)


def _leading(rows: Array) -> Array:
    """About the direction `[p]` along which the rows are longest, whatever their signs."""
    v = rows[0]
    for _ in range(4):
        v = times(rows.T, times(rows, v))
        v = v / jnp.maximum(row_norms(v[None, :])[0], 1e-30)
    return v


def _centre(rows: Array) -> Array:
    """A point `[p]` amidst most of the rows: a mean in which those far off hardly count."""
    centre = jnp.mean(rows, axis=0)
    for _ in range(3):
        # 1e-12: a row at the centre itself would have all the weight there is.
        weight = 1 / (row_energies(rows - centre[None, :]) + 1e-12)
        centre = jnp.sum(weight[:, None] * rows, axis=0) / jnp.sum(weight)
    return centre
