"""One-to-one solvers that never take a choice back: first come, and best first."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.errors import check_choice
from synthsae_jax.matching.solvers import Candidates, solvers
from synthsae_jax.registry import Explanation

Array = jax.Array


@solvers.register(
    "first_dedupe",
    Explanation(
        what="argmax made one-to-one: of the latents of B that chose the same latent of A, the one "
        "with the lowest index keeps it, however well the others score (direction='b_to_a', the "
        "default, or the reverse).",
        formula="i(j) = argmax_i s_ij, kept for j = min {j' : i(j') = i(j)}",
        chance="About 63 % of the latents of two unrelated, equally wide sides are chosen by "
        "somebody: set a threshold.",
        undefined="a latent with no allowed partner is not matched",
        source="the 1-1 option of Lan et al., arXiv 2410.06981",
    ),
)
def first_dedupe(s: Array, *, direction: str = "b_to_a") -> Candidates:
    """M = L_b candidates for `b_to_a`, L_a for `a_to_b`."""
    check_choice("direction", direction, ("b_to_a", "a_to_b"))
    if direction == "a_to_b":
        col, row, first = first_dedupe(s.T)
        return row, col, first
    row, col = jnp.argmax(s, axis=0), jnp.arange(s.shape[1])
    # one without any allowed partner also points at row 0, and must not take it from anybody
    claims = jnp.where(jnp.isfinite(jnp.max(s, axis=0)), col, s.shape[1])
    first = jnp.full(s.shape[0], s.shape[1]).at[row].min(claims)
    return row, col, first[row] == col


@solvers.register(
    "greedy",
    Explanation(
        what="Pairs are taken from the best score down, each if both its latents are still free.",
        formula="repeat: (i, j) = argmax over free i, j of s_ij",
        chance="Every alive latent of the shorter side gets a partner; the mean score is within a "
        "few thousandths of the optimal assignment's.",
        undefined="a latent with no allowed partner is not matched",
    ),
)
def greedy(s: Array) -> Candidates:
    """M = min(L_a, L_b) candidates: the shorter side, each with its partner if it has one.

    All pairs that are each other's best among the free are taken at once, until none is left. That
    gives the same pairs as one by one (row by row, column by column the lower index wins ties), in
    about ten rounds instead of L.
    """
    if s.shape[0] > s.shape[1]:
        col, row, taken = _rounds(s.T)
        return row, col, taken
    return _rounds(s)


def _rounds(s: Array) -> Candidates:
    n_rows, n_cols = s.shape
    # A partner n_cols is nobody, and falls off where columns are marked as taken.
    start = s, s, jnp.full(n_rows, n_cols)
    _, _, partner = jax.lax.while_loop(_some_left, _take, start)
    return jnp.arange(n_rows), jnp.minimum(partner, n_cols - 1), partner < n_cols


# The loop's functions stand by themselves, with all they need in the state: called outside of a
# trace, a loop over new functions would be compiled again each time.
def _some_left(state: tuple[Array, Array, Array]) -> Array:
    return jnp.isfinite(state[1]).any()


def _take(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    s, free, partner = state
    n_rows, n_cols = s.shape
    rows = jnp.arange(n_rows)
    best_col, best_row = jnp.argmax(free, axis=1), jnp.argmax(free, axis=0)
    mutual = (best_row[best_col] == rows) & jnp.isfinite(free[rows, best_col])
    partner = jnp.where(mutual, best_col, partner)
    col_taken = jnp.zeros(n_cols, bool).at[partner].set(True, mode="drop")
    both_free = (partner == n_cols)[:, None] & ~col_taken[None, :]
    return s, jnp.where(both_free, s, -jnp.inf), partner
