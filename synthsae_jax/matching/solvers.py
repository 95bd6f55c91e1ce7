"""Solvers: which latents are paired, given the scores? One function per entry.

A solver takes the scores `[L_a, L_b]` with -inf at every pair that must not be matched (dead
latents, undefined scores) and returns candidates: row, col and whether the solver accepts them.
Thresholds, order and the record are dealt with once, in `solve`.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment

from synthsae_jax.errors import check_choice, require
from synthsae_jax.matching.records import Matching
from synthsae_jax.options import check_options
from synthsae_jax.registry import Explanation, Registry

Array = jax.Array | np.ndarray

solvers: Registry[Callable[..., tuple[Array, Array, Array]]] = Registry("solver")


def solve(
    name: str,
    s: Array,
    threshold: float | None = None,
    alive_a: Array | None = None,
    alive_b: Array | None = None,
    **options,
) -> Matching:
    """The pairs a solver finds in scores `s [L_a, L_b]`, higher being more alike.

    A pair counts (`valid`) if its score reaches the threshold (`>=`). A latent that is not alive
    and a score that is not finite are never matched. Ties go to the lower index. Options are the
    solver's own, by keyword. `assignment` works on the host, outside of any trace, and returns
    numpy arrays; the others are plain JAX.
    """
    solver = solvers[name]
    check_options(f"solver {name!r}", solver, options)
    s = jnp.asarray(s, jnp.float32)
    require(
        s.ndim == 2 and s.size > 0, f"solve needs scores [L_a, L_b], both > 0; given {s.shape}."
    )
    allowed = jnp.isfinite(s)
    allowed &= _alive("alive_a", alive_a, s.shape[0])[:, None]
    allowed &= _alive("alive_b", alive_b, s.shape[1])[None, :]
    s = jnp.where(allowed, s, -jnp.inf)
    row, col, accepted = solver(s, **options)

    # What a host solver finds differs in number from call to call, and JAX would compile for each.
    xp = np if isinstance(row, np.ndarray) else jnp
    order = xp.lexsort((col, row))
    row, col, accepted = (v[order] for v in (row, col, accepted))
    found = xp.asarray(s)[row, col]
    found = xp.where(xp.isfinite(found), found, xp.nan)
    reached = ~xp.isnan(found) if threshold is None else found >= threshold
    return Matching(
        row=row.astype(xp.int32), col=col.astype(xp.int32), score=found, valid=accepted & reached
    )


@solvers.register(
    "argmax",
    Explanation(
        what="For each latent of B the best of A (direction='b_to_a', the default), or the "
        "reverse. Many-to-one.",
        formula="i(j) = argmax_i s_ij",
        chance="Every alive latent gets a partner, so the share matched means nothing without a "
        "threshold.",
        undefined="a latent with no allowed partner is not matched",
        source="Lan et al., arXiv 2410.06981 (b_to_a)",
    ),
)
def argmax(s: Array, *, direction: str = "b_to_a") -> tuple[Array, Array, Array]:
    """M = L_b pairs for `b_to_a`, L_a for `a_to_b`."""
    check_choice("direction", direction, ("b_to_a", "a_to_b"))
    if direction == "b_to_a":
        col = jnp.arange(s.shape[1])
        row = jnp.argmax(s, axis=0)
    else:
        row = jnp.arange(s.shape[0])
        col = jnp.argmax(s, axis=1)
    return row, col, jnp.ones(row.shape, bool)


@solvers.register(
    "mutual_nearest",
    Explanation(
        what="Pairs in which each is the other's best. margin: how far the best must be ahead of "
        "the runner-up, in its row and in its column.",
        formula="i = argmax_i' s_i'j and j = argmax_j' s_ij'",
        chance="About half of the latents of two unrelated dictionaries are such pairs: set a "
        "threshold or a margin.",
        undefined="a latent with no allowed partner is not matched",
    ),
)
def mutual_nearest(s: Array, *, margin: float = 0.0) -> tuple[Array, Array, Array]:
    """M = min(L_a, L_b) candidates: the shorter side, each with its best."""
    best_col, lead_row = _best(s)
    best_row, lead_col = _best(s.T)
    if s.shape[0] <= s.shape[1]:
        row = jnp.arange(s.shape[0])
        col = best_col
        mutual = best_row[col] == row
    else:
        col = jnp.arange(s.shape[1])
        row = best_row
        mutual = best_col[row] == col
    return row, col, mutual & (lead_row[row] >= margin) & (lead_col[col] >= margin)


@solvers.register(
    "assignment",
    Explanation(
        what="The one-to-one pairing with the largest total score (Hungarian), on the host. It "
        "pairs as many as it can: without a threshold junk pairs are forced.",
        formula="max over partial permutations of sum s_ij",
        chance="Every alive latent of the shorter side gets a partner; the mean score is about "
        "0.96 of the expected best of M.",
        undefined="a latent with no allowed partner is not matched",
        source="Kuhn 1955; scipy.optimize.linear_sum_assignment",
    ),
)
def assignment(s: Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """M = min of the numbers of rows and columns that have an allowed pair."""
    scores = np.asarray(s, np.float64)
    allowed = np.isfinite(scores)
    rows, cols = np.flatnonzero(allowed.any(1)), np.flatnonzero(allowed.any(0))
    if rows.size == 0:
        empty = np.zeros(0, np.int64)
        return empty, empty, empty.astype(bool)
    part = scores[np.ix_(rows, cols)]
    finite = np.isfinite(part)
    # A forbidden pair costs more than all allowed ones can gain, so it is taken only when nothing
    # else is left, and then dropped; scipy itself refuses such matrices.
    span = part[finite].max() - part[finite].min() + 1.0
    part = np.where(finite, part, part[finite].min() - span * min(part.shape))
    i, j = linear_sum_assignment(part, maximize=True)
    return rows[i], cols[j], finite[i, j]


def _best(s: Array) -> tuple[Array, Array]:
    """Best column of each row, and its lead over the second best (inf where there is none)."""
    best = jnp.argmax(s, axis=1)
    first = jnp.max(s, axis=1)
    others = jnp.where(jnp.arange(s.shape[1])[None, :] == best[:, None], -jnp.inf, s)
    second = jnp.max(others, axis=1)
    # -inf - -inf is no number: an all-forbidden row has no lead
    return best, jnp.where(jnp.isfinite(first), first - second, -jnp.inf)


def _alive(name: str, alive: Array | None, n: int) -> Array:
    if alive is None:
        return jnp.ones(n, bool)
    alive = jnp.asarray(alive, bool)
    require(alive.shape == (n,), f"{name} must be bool [{n}]; given shape {alive.shape}.")
    return alive
