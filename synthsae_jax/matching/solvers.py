"""Solvers: which latents are paired, given the scores? One function per entry.

A solver takes the scores `[L_a, L_b]` with -inf at every pair that must not be matched (dead
latents, undefined scores) and returns candidates: row, col, whether the solver accepts them and,
if it is not exact but knows how far off it may be, its gap. Thresholds, order and the record are
dealt with once, in `solve`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.errors import check_choice, require
from synthsae_jax.matching.records import Matching
from synthsae_jax.options import check_options
from synthsae_jax.registry import Explanation, Registry

Array = jax.Array | np.ndarray

Candidates = tuple[Array, Array, Array]

solvers: Registry[Callable[..., tuple[Array, ...]]] = Registry("solver")
_on_host: set[Callable] = set()
Solver = TypeVar("Solver", bound=Callable)


def on_host(solver: Solver) -> Solver:
    """Mark a solver that takes and returns numpy: numpy scores reach it without a copy in JAX."""
    _on_host.add(solver)
    return solver


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
    solver's own, by keyword. Solvers whose explanation says "on the host" run outside of any
    trace and return numpy arrays; the others are plain JAX.
    """
    solver = solvers[name]
    check_options(f"solver {name!r}", solver, options)
    xp = np if solver in _on_host and isinstance(s, np.ndarray) else jnp
    s = xp.asarray(s, xp.float32)
    require(
        s.ndim == 2 and s.size > 0, f"solve needs scores [L_a, L_b], both > 0; given {s.shape}."
    )
    allowed = xp.isfinite(s)
    allowed &= _alive(xp, "alive_a", alive_a, s.shape[0])[:, None]
    allowed &= _alive(xp, "alive_b", alive_b, s.shape[1])[None, :]
    if xp is jnp or not allowed.all():
        s = xp.where(allowed, s, xp.float32(-xp.inf))
    # at 16,384 latents a side 268 MB, before the solver takes its own
    del allowed
    row, col, accepted, *gap = solver(s, **options)

    # What a host solver finds differs in number from call to call, and JAX would compile for each.
    xp_out = np if isinstance(row, np.ndarray) else jnp
    order = xp_out.lexsort((col, row))
    row, col, accepted = (v[order] for v in (row, col, accepted))
    pair_scores = xp_out.asarray(s)[row, col]
    pair_scores = xp_out.where(xp_out.isfinite(pair_scores), pair_scores, xp_out.nan)
    reached = ~xp_out.isnan(pair_scores) if threshold is None else pair_scores >= threshold
    return Matching(
        row=row.astype(xp_out.int32),
        col=col.astype(xp_out.int32),
        score=pair_scores,
        valid=accepted & reached,
        gap=xp_out.asarray(gap[0], xp_out.float32) if gap else None,
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
def argmax(s: Array, *, direction: str = "b_to_a") -> Candidates:
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
def mutual_nearest(s: Array, *, margin: float = 0.0) -> Candidates:
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


def _best(s: Array) -> tuple[Array, Array]:
    """Best column of each row, and its lead over the second best (inf where there is none)."""
    best = jnp.argmax(s, axis=1)
    first = jnp.max(s, axis=1)
    others = jnp.where(jnp.arange(s.shape[1])[None, :] == best[:, None], -jnp.inf, s)
    second = jnp.max(others, axis=1)
    # -inf - -inf is no number: an all-forbidden row has no lead
    return best, jnp.where(jnp.isfinite(first), first - second, -jnp.inf)


def _alive(xp: ModuleType, name: str, alive: Array | None, n: int) -> Array:
    if alive is None:
        return xp.ones(n, bool)
    mask = xp.asarray(alive, bool)
    require(mask.shape == (n,), f"{name} must be bool [{n}]; given shape {mask.shape}.")
    return mask
