"""Measures of the rows of thousands of matched pairs, on the host: the same numbers from sums.

A measure on n points takes matrices of n x n distances, or singular vectors of n x D anew for each
draw of a null. Of thousands of pairs those of the leading directions, and CKA, are read from
products [D, D] in float64, and what each side has to itself is kept: a null that deals partners
out anew changes only how the sides meet. What compares pairs of points with each other sees
`MOST_POINTS` of them, drawn once.
"""

from __future__ import annotations

import functools
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from synthsae_jax import similarity
from synthsae_jax.similarity.cca import SMALLEST

FROM_SUMS = 1024  # points from which sums are read
MOST_POINTS = 4096  # that are compared with each other
_SEED = 0
_KEPT = 4  # sides
_VARIANCE = 0.99
Value = tuple[float, str]
Rows = jax.Array | np.ndarray


class _Side(NamedTuple):
    """What a set of rows is, whatever their order."""

    rows: Rows  # the decoder they are of
    mean: np.ndarray  # float64 [D]
    directions: np.ndarray  # float64 [D, k], of falling variance
    variance: np.ndarray  # float64 [k]: of the centred rows along them, summed over the points
    why_not: str


class _Met(NamedTuple):
    """What two sets of centred rows are as pairs."""

    n: int
    cross: np.ndarray  # float64 [D_a, D_b]: X'Y
    energy_a: np.ndarray  # float64 [n]: squared norms of the rows
    energy_b: np.ndarray


_sides: OrderedDict[tuple[int, bytes], _Side] = OrderedDict()


def measured(
    names: tuple[str, ...], a: Rows, row: np.ndarray, b: Rows, col: np.ndarray
) -> dict[str, Value]:
    """Measures of the rows `a[row]`, `b[col]`, NaN with a reason where undefined.

    The registered ones up to `FROM_SUMS` points; those with no other form see `MOST_POINTS` of
    them where there are more (`cut`).
    """
    n = row.size
    summed = [name for name in names if n > FROM_SUMS and name in _OF_SUMS]
    values = _from_sums(summed, a, row, b, col) if summed else {}
    if n > MOST_POINTS:
        some = np.sort(np.random.default_rng(_SEED).choice(n, MOST_POINTS, replace=False))
        row, col = row[some], col[some]
    return {n: values[n] if n in values else _of_points(n, a, row, b, col) for n in names}


def _of_points(name: str, a: Rows, row: np.ndarray, b: Rows, col: np.ndarray) -> Value:
    points = similarity.narrow_points(name, np.asarray(a)[row], np.asarray(b)[col])
    value, reasons = _compiled(name)(*points)
    if not np.isnan(value):
        return float(value), ""
    applying = (reason for reason, applies in reasons.items() if bool(applies))
    return float(value), next(applying, "undefined")


def cut(names: tuple[str, ...], n: int) -> str:
    """What these measures leave out of n points, in a line; empty where nothing."""
    some = [name for name in names if name not in _OF_SUMS]
    if n <= MOST_POINTS or not some:
        return ""
    return (
        f"{', '.join(some)}: on {MOST_POINTS:,} of {n:,} pairs, the same in all draws (seed "
        f"{_SEED}), since all would take {n:,} x {n:,} distances"
    )


@functools.cache
def _compiled(name: str) -> Callable:
    # nulls call it over and over for as many pairs
    return jax.jit(functools.partial(similarity.evaluate, name))


def _from_sums(
    names: list[str], a: Rows, row: np.ndarray, b: Rows, col: np.ndarray
) -> dict[str, Value]:
    x, y = _side(a, row), _side(b, col)
    why = x.why_not or y.why_not
    if why:
        return {name: (np.nan, why) for name in names}
    X, Y = (np.asarray(s.rows)[i].astype(np.float64) - s.mean for s, i in ((x, row), (y, col)))
    met = _Met(row.size, X.T @ Y, *(np.einsum("nd,nd->n", v, v) for v in (X, Y)))
    return {name: _OF_SUMS[name](x, y, met) for name in names}


def _side(rows: Rows, index: np.ndarray) -> _Side:
    ordered = np.sort(index)
    key = id(rows), hashlib.blake2b(np.ascontiguousarray(ordered)).digest()
    # an id is a place in memory: it may have been somebody else's
    if key not in _sides or _sides[key].rows is not rows:
        _sides[key] = _read(rows, ordered)
        while len(_sides) > _KEPT:
            _sides.popitem(last=False)
    _sides.move_to_end(key)
    return _sides[key]


def _read(rows: Rows, index: np.ndarray) -> _Side:
    X = np.asarray(rows)[index].astype(np.float64)
    empty = np.zeros(0)
    if not np.isfinite(X).all():
        return _Side(rows, empty, empty, empty, "an entry is not finite")
    constant = X.max(0) == X.min(0)
    if constant.all():
        return _Side(rows, empty, empty, empty, "all points of one side are equal")
    # rounding of a constant column's mean would otherwise pass for variance
    mean = np.where(constant, X[0], X.mean(0))
    X -= mean
    variance, directions = np.linalg.eigh(X.T @ X)
    variance, directions = np.maximum(variance[::-1], 0.0), directions[:, ::-1]
    # squared, since `SMALLEST` is of singular values
    real = variance > SMALLEST**2 * variance[0]
    return _Side(rows, mean, directions[:, real], variance[real], "")


def _correlations(x: _Side, y: _Side, k: tuple[int, int], met: _Met) -> Value:
    """The mean canonical correlation of the leading directions of both sides."""
    if met.n <= sum(k):
        return np.nan, "not more points than directions of both sides together"
    # Whitened directions: U' X'Y V is then U_x' U_y of the points' own SVDs, without their n rows.
    U, V = (s.directions[:, :m] / np.sqrt(s.variance[:m]) for s, m in zip((x, y), k))
    rho = np.linalg.svd(U.T @ met.cross @ V, compute_uv=False)
    return float(np.clip(rho, 0.0, 1.0).sum() / min(k)), ""


def _svcca(x: _Side, y: _Side, met: _Met) -> Value:
    def leading(side: _Side) -> int:
        below = np.cumsum(side.variance) / side.variance.sum() < _VARIANCE
        return min(1 + int(below.sum()), side.variance.size)

    return _correlations(x, y, (leading(x), leading(y)), met)


def _svcca_rank1(x: _Side, y: _Side, met: _Met) -> Value:
    def published(side: _Side) -> int:
        share, total = np.cumsum(side.variance), side.variance.sum()
        # a share is held against an amount: the rule as published
        return int(np.argmax(share / total >= _VARIANCE * total)) + 1

    return _correlations(x, y, (published(x), published(y)), met)


def _cka_debiased(x: _Side, y: _Side, met: _Met) -> Value:
    n, d, e = met.n, met.energy_a, met.energy_b

    def hsic(energy: float, d: np.ndarray, e: np.ndarray) -> float:
        # n (n - 3) HSIC1 of the kernels without their diagonals, columns centred
        return energy - n / (n - 2) * (d @ e) + d.sum() * e.sum() / ((n - 1) * (n - 2))

    self_hsic = [hsic(float(s.variance @ s.variance), v, v) for s, v in ((x, d), (y, e))]
    if min(self_hsic) <= 0:
        return np.nan, "undefined"
    both = hsic(float(np.sum(met.cross**2)), d, e)
    return float(np.clip(both / np.sqrt(self_hsic[0] * self_hsic[1]), -1.0, 1.0)), ""


_OF_SUMS = {"svcca": _svcca, "svcca_rank1": _svcca_rank1, "cka_debiased": _cka_debiased}
