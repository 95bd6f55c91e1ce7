"""One latent explained by up to a few of the other SAE's: splits, merges and mixtures."""

from __future__ import annotations

import itertools

import numpy as np
from flax import struct

from synthsae_jax.errors import require
from synthsae_jax.numerics import host_unit_rows


@struct.dataclass
class SetMatching:
    """For each of `L_a` latents the set of B's latents that together explain it best."""

    members: np.ndarray  # int32 [L_a, size]: latents of B, strongest first; -1: not needed
    weights: np.ndarray  # float32 [L_a, size] >= 0; 0 where not needed
    residual: np.ndarray  # float32 [L_a]: unexplained share of the squared norm; NaN for a zero row
    single: np.ndarray  # float32 [L_a]: the same with the one best latent of B alone

    @property
    def sizes(self) -> np.ndarray:
        """int [L_a]: how many latents of B each one takes; 0: none explains any of it."""
        return (self.members >= 0).sum(1)


def match_sets(
    rows_a: np.ndarray,
    rows_b: np.ndarray,
    size: int = 3,
    *,
    min_gain: float = 0.05,
    alive_a: np.ndarray | None = None,
    alive_b: np.ndarray | None = None,
    block: int = 1024,
) -> SetMatching:
    """The sets found by non-negative orthogonal matching pursuit, on the host.

    `rows_a [L_a, n]`, `rows_b [L_b, n]`: decoder rows in one space, or `latents.T` over the same n
    tokens. Each row of A is approximated by `sum_k w_k row_b[k]`, w >= 0, adding the row of B that
    points most along what is left and refitting all weights exactly, until the unexplained share
    falls by less than `min_gain` or `size` (at most 5) are taken. A parent that B has split comes
    out as a set of children, and each child as a set of one with a large residual. Greedy: the best
    set of a given size can be better where B's rows are far from orthogonal. NaN rows and rows that
    are not alive are neither explained nor used.
    """
    a, b = np.asarray(rows_a, np.float64), np.asarray(rows_b, np.float64)
    require(
        a.ndim == 2 and b.ndim == 2 and a.shape[1] == b.shape[1] and a.size > 0 and b.size > 0,
        f"match_sets needs rows [L_a, n] and [L_b, n] of one space; given {a.shape}, {b.shape}.",
    )
    require(1 <= size <= 5, f"size must be 1 to 5; given {size}.")
    use_a, use_b = _usable("alive_a", a, alive_a), _usable("alive_b", b, alive_b)
    b_unit = np.zeros_like(b)
    b_unit[use_b] = host_unit_rows(b[use_b])
    members = np.full((len(a), size), -1, np.int32)
    weights = np.zeros((len(a), size), np.float32)
    residual, single = (np.full(len(a), np.nan, np.float32) for _ in range(2))
    for chunk in np.array_split(np.flatnonzero(use_a), range(block, use_a.sum(), block)):
        if chunk.size:
            chunk_sets = _pursue(a[chunk], b, b_unit, size, min_gain)
            members[chunk], weights[chunk], residual[chunk], single[chunk] = chunk_sets
    return SetMatching(members=members, weights=weights, residual=residual, single=single)


def _usable(name: str, rows: np.ndarray, alive: np.ndarray | None) -> np.ndarray:
    usable = np.isfinite(rows).all(1) & (np.abs(rows).max(1) > 0)
    if alive is not None:
        alive = np.asarray(alive, bool)
        require(
            alive.shape == usable.shape,
            f"{name} must be bool [{usable.size}]; given shape {alive.shape}.",
        )
        usable &= alive
    return usable


def _pursue(
    target: np.ndarray, b: np.ndarray, b_unit: np.ndarray, size: int, min_gain: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    n = len(target)
    norm2 = (target**2).sum(1)
    members, weights = np.full((n, size), -1), np.zeros((n, size))
    left, unexplained, going = target.copy(), np.ones(n), np.ones(n, bool)
    single = np.ones(n)
    for k in range(size):
        along = left @ b_unit.T
        # those taken are orthogonal to what is left, except where a weight was cut at 0
        for taken in members[:, :k].T:
            along[taken >= 0, taken[taken >= 0]] = -np.inf
        best = along.argmax(1)
        going &= along[np.arange(n), best] > 0
        trial = np.concatenate([members[:, :k], best[:, None]], axis=1)
        fit, share = _refit(target, norm2, b[trial])
        if k == 0:
            single = np.where(going, share, 1.0)
        # the first is taken however little it explains; its residual says so
        if k:
            going &= unexplained - share >= min_gain
        members[going, : k + 1] = trial[going]
        weights[going, : k + 1] = fit[going]
        unexplained = np.where(going, share, unexplained)
        left = target - np.einsum("nk,nkd->nd", weights, b[np.maximum(members, 0)])
    members[weights <= 0] = -1
    # strongest first, by what each contributes: weight times the row's length
    strength = weights * np.linalg.norm(b[np.maximum(members, 0)], axis=2)
    order = np.argsort(-strength, axis=1, kind="stable")
    return (
        np.take_along_axis(members, order, 1),
        np.take_along_axis(weights, order, 1),
        unexplained,
        single,
    )


def _refit(
    target: np.ndarray, norm2: np.ndarray, atoms: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Exact non-negative least squares on few atoms `[n, k, d]`: every subset is tried.

    Returns weights `[n, k]` and the unexplained share `[n]`.
    """
    n, k, _ = atoms.shape
    inner = np.einsum("nkd,nld->nkl", atoms, atoms)
    dot = np.einsum("nkd,nd->nk", atoms, target)
    weights, share = np.zeros((n, k)), np.ones(n)
    for number in range(1, k + 1):
        # At most 31 subsets (`size` is at most 5), which is exact; active-set methods decide row by
        # row and would not run over a whole chunk at once.
        for subset in itertools.combinations(range(k), number):
            index = list(subset)
            # a hair on the diagonal: two copies of one row have no unique weights
            gram = inner[:, index][:, :, index]
            ridge = 1e-10 * np.trace(gram, axis1=1, axis2=2)[:, None, None] * np.eye(number)
            w = np.linalg.solve(gram + ridge, dot[:, index][:, :, None])[:, :, 0]
            explained = 2 * (w * dot[:, index]).sum(1) - np.einsum("nk,nkl,nl->n", w, gram, w)
            unexplained = np.maximum(1 - explained / norm2, 0.0)
            better = (w >= 0).all(1) & (unexplained < share)
            share = np.where(better, unexplained, share)
            fitted = np.zeros((n, k))
            fitted[:, index] = w
            weights = np.where(better[:, None], fitted, weights)
    return weights, share
