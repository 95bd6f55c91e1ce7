"""Soft matchings: how much of each latent goes to each other latent, by optimal transport."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from scipy.optimize import linprog
from scipy.sparse import coo_array

from synthsae_jax.errors import require

Array = jax.Array


class Plan(NamedTuple):
    """A transport plan between the latents of A and of B."""

    mass: Array  # float32 [L_a, L_b], >= 0
    value: Array  # float32 []: sum mass_ij s_ij
    matched: Array  # float32 []: sum mass_ij: 1, or the shared part where the plan is partial
    error: Array  # float32 []: how far the masses' sums are off their marginals, in all


def sinkhorn(
    s: Array,
    weight_a: Array | None = None,
    weight_b: Array | None = None,
    *,
    epsilon: float = 0.05,
    iterations: int = 200,
) -> Plan:
    """The plan that maximises `sum P s + epsilon sd(s) entropy(P)` with given marginals.

    `s [L_a, L_b]`: NaN and infinite scores carry no mass. `weight_a [L_a]`, `weight_b [L_b]`:
    marginals up to scale (None: equal for all latents with an allowed pair; the firing rates are
    another choice). `epsilon` is in standard deviations of the allowed scores, since what is
    smooth depends on their spread; it is approached from 32 times as much in steps of 2, over
    `iterations` rounds in log space. Cuturi, arXiv 1306.0895. The rounds end with the columns,
    so rows are off by `error`.
    """
    _check(epsilon, iterations)
    allowed = jnp.isfinite(s)
    log_a, log_b = _marginals(allowed, weight_a, weight_b)
    scale = _spread(s, allowed)
    log_plan, error = _balance(
        jnp.where(allowed, s / scale, -jnp.inf), log_a, log_b, epsilon, iterations
    )
    return _plan(jnp.exp(log_plan), s, allowed, error)


def partial_transport(
    s: Array,
    weight_a: Array | None = None,
    weight_b: Array | None = None,
    *,
    unmatched: float = 0.0,
    mass: float | None = None,
    epsilon: float = 0.05,
    iterations: int = 200,
) -> Plan:
    """A plan that moves only what gains by it: `matched` of the plan is the shared part.

    `s [L_a, L_b]`. Maximises `sum P (s - unmatched)` with marginals as upper bounds, smoothed as in
    `sinkhorn`. Or moves exactly the share `mass` in (0, 1) of everything, and `unmatched` plays no
    part. Both by one extra row and column that take what stays (Chapel et al., arXiv 2002.08276;
    the dustbin of Sarlin et al., arXiv 1911.11763).
    """
    _check(epsilon, iterations)
    require(mass is None or 0 < mass < 1, f"mass must be a share in (0, 1); given {mass}.")
    allowed = jnp.isfinite(s)
    log_a, log_b = _marginals(allowed, weight_a, weight_b)
    # the bin-to-bin mass is what is matched: free if the amount is open, impossible if it is set
    bins = 1.0 if mass is None else 1.0 - mass
    corner = 0.0 if mass is None else -jnp.inf
    # Two singles are worth `unmatched` together: one half comes from the row's bin, one from the
    # column's.
    single = unmatched / 2 if mass is None else 0.0
    scale = _spread(s, allowed)
    inner = jnp.where(allowed, s / scale, -jnp.inf)
    extended = jnp.pad(inner, ((0, 1), (0, 1)), constant_values=single / scale)
    extended = extended.at[-1, -1].set(corner)
    log_bin = jnp.log(jnp.full(1, bins))
    log_plan, error = _balance(
        extended,
        jnp.concatenate([log_a, log_bin]),
        jnp.concatenate([log_b, log_bin]),
        epsilon,
        iterations,
    )
    return _plan(jnp.exp(log_plan[:-1, :-1]), s, allowed, error)


def soft_matching(s: np.ndarray) -> Plan:
    """The exact plan with marginals 1/L_a, 1/L_b, on the host by linear programming.

    `s [L_a, L_b]`. `value` is the soft-matching score of two populations of unlike size: for equal
    sizes the mean score of the optimal assignment. Latents without an allowed pair are left out, as
    if they were not there; pairs that are not allowed carry no mass (all rows and columns must be
    connected, else there is no such plan and the value is NaN). Khosla and Williams, arXiv
    2311.09466. Up to a few hundred latents a side; beyond, `sinkhorn`.
    """
    scores = np.asarray(s, np.float64)
    allowed = np.isfinite(scores)
    rows, cols = np.flatnonzero(allowed.any(1)), np.flatnonzero(allowed.any(0))
    nothing = np.zeros(scores.shape, np.float32)
    nan = np.float32(np.nan)
    if rows.size == 0:
        return Plan(nothing, nan, np.float32(0), nan)
    i, j = np.nonzero(allowed[np.ix_(rows, cols)])
    entries = np.arange(i.size)
    constraints = coo_array(
        (np.ones(2 * i.size), (np.concatenate([i, rows.size + j]), np.tile(entries, 2))),
        shape=(rows.size + cols.size, i.size),
    )
    marginals = np.repeat([1 / rows.size, 1 / cols.size], [rows.size, cols.size])
    values = scores[rows[i], cols[j]]
    done = linprog(-values, A_eq=constraints.tocsr(), b_eq=marginals, method="highs")
    if done.status != 0:
        return Plan(nothing, nan, np.float32(0), nan)
    nothing[rows[i], cols[j]] = done.x
    error = np.abs(constraints @ done.x - marginals).sum()
    return Plan(nothing, np.float32(values @ done.x), np.float32(done.x.sum()), np.float32(error))


def _check(epsilon: float, iterations: int) -> None:
    require(
        epsilon > 0 and iterations >= 1,
        f"transport needs epsilon > 0 and iterations >= 1; given {epsilon} and {iterations}.",
    )


def _marginals(allowed: Array, a: Array | None, b: Array | None) -> tuple[Array, Array]:
    """Logarithms of both sides' weights, scaled to sum 1 over latents with an allowed pair."""

    def of(name: str, weight: Array | None, some: Array) -> Array:
        weight = jnp.ones(some.shape) if weight is None else jnp.asarray(weight, jnp.float32)
        require(
            weight.shape == some.shape,
            f"{name} must be float [{some.size}]; given shape {weight.shape}.",
        )
        weight = jnp.where(some, weight, 0.0)
        return jnp.log(weight) - jnp.log(jnp.sum(weight))

    return of("weight_a", a, allowed.any(1)), of("weight_b", b, allowed.any(0))


def _spread(s: Array, allowed: Array) -> Array:
    n = jnp.maximum(allowed.sum(), 1)
    mean = jnp.where(allowed, s, 0.0).sum() / n
    sd = jnp.sqrt(jnp.where(allowed, (s - mean) ** 2, 0.0).sum() / n)
    return jnp.where(sd > 0, sd, 1.0)


class _Scaling(NamedTuple):
    """Sinkhorn's state, with all that its rounds read (see `greedy` on why)."""

    round: Array
    row: Array  # [L_a] potentials
    col: Array  # [L_b]
    s: Array
    log_a: Array
    log_b: Array
    epsilon: Array  # the last one
    rounds: Array  # in all


# Each halves epsilon, from 32 times the last: at a small epsilon alone potentials creep, and the
# rounds would end far from the marginals. How many stages are best was not measured.
STAGES = 6


def _balance(
    s: Array, log_a: Array, log_b: Array, epsilon: float, iterations: int
) -> tuple[Array, Array]:
    """Log of the plan, and how far its row sums are off."""
    start = _Scaling(
        jnp.zeros((), jnp.int32),
        jnp.zeros(s.shape[0]),
        jnp.zeros(s.shape[1]),
        s,
        log_a,
        log_b,
        jnp.asarray(epsilon, jnp.float32),
        jnp.asarray(iterations, jnp.int32),
    )
    done = jax.lax.while_loop(_goes_on, _one_round, start)
    log_plan = (s + done.row[:, None] + done.col[None, :]) / epsilon
    weighty = jnp.isfinite(log_a)[:, None] & jnp.isfinite(log_b)[None, :]
    log_plan = jnp.where(weighty, log_plan, -jnp.inf)
    error = jnp.abs(jnp.exp(logsumexp(log_plan, axis=1)) - jnp.exp(log_a)).sum()
    return log_plan, error


def _goes_on(state: _Scaling) -> Array:
    return state.round < state.rounds


def _one_round(state: _Scaling) -> _Scaling:
    stage = state.round * STAGES // state.rounds
    eps = state.epsilon * 2.0 ** (STAGES - 1 - stage)
    lse = lambda x, axis: logsumexp(x / eps, axis=axis)
    # a latent without weight keeps potential 0 and is masked at the end
    finite = lambda v: jnp.where(jnp.isfinite(v), v, 0.0)
    row = eps * finite(state.log_a - lse(state.s + state.col[None, :], 1))
    col = eps * finite(state.log_b - lse(state.s + row[:, None], 0))
    return state._replace(round=state.round + 1, row=row, col=col)


def _plan(mass: Array, s: Array, allowed: Array, error: Array) -> Plan:
    value = jnp.sum(jnp.where(allowed, mass * jnp.where(allowed, s, 0.0), 0.0))
    some = allowed.any()
    # no allowed pair: there is no plan, and no number to report of it
    return Plan(
        mass=jnp.where(some, mass, 0.0),
        value=jnp.where(some, value, jnp.nan),
        matched=jnp.where(some, mass.sum(), 0.0),
        error=jnp.where(some, error, jnp.nan),
    )
