"""The optimal assignment by auction: dense rounds on the accelerator, with a proof of its gap."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from synthsae_jax.errors import require
from synthsae_jax.matching.solvers import solvers
from synthsae_jax.registry import Explanation

Array = jax.Array


class _Market(NamedTuple):
    """Bidders and objects; a bidder is out once no object is worth its price to it."""

    price: Array  # float32 [objects]
    holder: Array  # int32 [objects]: the bidder that has it, or -1
    held: Array  # int32 [bidders]: the object it has, or -1
    out: Array  # bool [bidders]
    rounds: Array  # int32 []


@solvers.register(
    "auction",
    Explanation(
        what="The assignment by auction (all unassigned bid at once, in rounds of shrinking bid "
        "increments), in plain JAX: for matrices that live on an accelerator. `gap` of the "
        "matching bounds what it misses.",
        formula="max over partial permutations of sum (s_ij - unmatched); by default unmatched "
        "lies one span of the scores below the least of them, so that all who can are paired where "
        "only latents, not single pairs, are forbidden",
        chance="as assignment, or assignment_dustbin where unmatched is given",
        undefined="a latent with no allowed partner is not matched",
        source="Bertsekas 1988; forward and reverse, Bertsekas and Castanon 1992",
    ),
)
def auction(
    s: Array,
    *,
    unmatched: float | None = None,
    epsilon: float = 1e-4,
    max_rounds: int = 100_000,
) -> tuple[Array, Array, Array, Array]:
    """M = min(L_a, L_b) candidates: the shorter side, each with its partner if it has one.

    `epsilon`: the last bid increment in spans of the scores; the total is within about
    `2 M epsilon` spans of the optimum, usually much closer, and the returned gap is what the
    prices prove: the dual value less the primal. Hundreds to thousands of rounds, each some dense
    passes over the scores: on a CPU `assignment` is faster. `max_rounds` ends a market that does
    not clear (increments below what float32 can add to a price); the gap says what that cost.
    """
    require(0 < epsilon < 1, f"epsilon must be in (0, 1), in spans of the scores; given {epsilon}.")
    if s.shape[0] > s.shape[1]:
        col, row, taken, gap = auction(
            s.T, unmatched=unmatched, epsilon=epsilon, max_rounds=max_rounds
        )
        return row, col, taken, gap
    allowed = jnp.isfinite(s)
    least = jnp.min(jnp.where(allowed, s, jnp.inf))
    most = jnp.max(jnp.where(allowed, s, -jnp.inf))
    span = jnp.where(most > least, most - least, 1.0)
    floor = least - span if unmatched is None else unmatched
    # in spans, so that increments mean the same at every scale; at most about 2
    gain = jnp.where(allowed, (s - floor) / span, -jnp.inf)

    m, n = gain.shape
    start = _Market(
        jnp.zeros(n), jnp.full(n, -1), jnp.full(m, -1), jnp.zeros(m, bool), jnp.zeros((), jnp.int32)
    )
    last = jnp.asarray(epsilon, jnp.float32)
    # Epsilon scaling: the prices of coarse increments start the fine ones, or the rounds would grow
    # with 1 / epsilon. From a fifth of the span down by fifths, within the factors of 4 to 10 that
    # Bertsekas advises; not tuned here.
    first = jnp.maximum(0.2, last)
    limit = jnp.asarray(max_rounds, jnp.int32)
    *_, market = jax.lax.while_loop(
        _more_phases, _phase, (gain, last, limit, first, jnp.zeros((), bool), start)
    )
    taken = market.held >= 0
    primal = jnp.sum(jnp.where(taken, _gain_of(gain, market.held), 0.0))
    # Any prices bound the optimum from above, whatever rounding did on the way here.
    price = jnp.maximum(market.price, 0.0)
    profit = jnp.maximum(jnp.max(gain - price[None, :], axis=1), 0.0)
    gap = jnp.maximum(profit.sum() + price.sum() - primal, 0.0) * span
    return jnp.arange(m), jnp.maximum(market.held, 0), taken, gap


# As in `greedy`, the loops' functions stand by themselves, with all they need in the state.
def _more_phases(state: tuple) -> Array:
    return ~state[4]


def _phase(state: tuple) -> tuple:
    """One market at one bid increment, from the prices of the one before."""
    gain, last, limit, step, _, market = state
    m, n = gain.shape
    # Everybody bids anew, since pairs of coarser increments need not be those of finer ones; only
    # the prices are worth keeping.
    everybody = _Market(
        market.price, jnp.full(n, -1), jnp.full(m, -1), jnp.zeros(m, bool), market.rounds
    )
    market = _bid(gain, everybody, step, limit)
    # Objects nobody holds must be free of charge, or the pairing is not optimal: those that still
    # cost something look for buyers themselves.
    worth = jnp.where(market.held >= 0, _of(gain, market), 0.0)
    market = _sell(gain, worth, market, step, limit)
    return gain, last, limit, jnp.maximum(step / 5, last), step <= last, market


def _sell(gain: Array, worth: Array, market: _Market, step: Array, limit: Array) -> _Market:
    """The same market seen from the other side: unsold objects that cost something bid for buyers.

    A buyer's "price" is the profit it has now; an object is out once nobody would give more for it
    than nothing.
    """
    unsold = (market.holder < 0) & (market.price > 0)
    mirrored = _Market(
        price=worth,
        holder=market.held,
        held=market.holder,
        out=(market.holder < 0) & ~unsold,
        rounds=market.rounds,
    )
    done = _bid(gain.T, mirrored, step, limit)
    held, profit = done.holder, done.price
    sold = done.held >= 0
    paid = _gain_of(gain.T, done.held) - profit[jnp.maximum(done.held, 0)]
    price = jnp.where(sold, paid, jnp.where(done.out, 0.0, market.price))
    return _Market(price, done.held, held, held < 0, done.rounds)


def _bid(gain: Array, market: _Market, step: Array, limit: Array) -> _Market:
    """Rounds of simultaneous bids until nobody is left who has no object and is not out."""
    return jax.lax.while_loop(_unsettled, _one_round, (gain, step, limit, market))[3]


def _unsettled(state: tuple) -> Array:
    _, _, limit, market = state
    return jnp.any((market.held < 0) & ~market.out) & (market.rounds < limit)


def _one_round(state: tuple) -> tuple:
    gain, step, limit, market = state
    m, n = gain.shape
    value = gain - market.price[None, :]
    target = jnp.argmax(value, axis=1)
    first = jnp.max(value, axis=1)
    others = jnp.where(jnp.arange(n)[None, :] == target[:, None], -jnp.inf, value)
    # to stay single is always worth 0
    second = jnp.maximum(jnp.max(others, axis=1), 0.0)
    # Who leaves never comes back: prices only rise within a phase.
    waiting = (market.held < 0) & ~market.out
    leaves = waiting & (first <= 0)
    bids = waiting & ~leaves
    # A bid raises the price by all that the runner-up leaves, plus the increment: without the
    # increment, equals would outbid each other by 0 forever.
    offer = jnp.where(bids, market.price[target] + first - second + step, -jnp.inf)
    best = jnp.full(n, -jnp.inf).at[target].max(offer)
    # among equal offers the lower index gets it
    wins = bids & (offer == best[target])
    # Scatters, since every bidder bids at once: the best offer of an object, then the lowest index
    # that made it.
    winner = jnp.full(n, m).at[target].min(jnp.where(wins, jnp.arange(m), m))
    changed = winner < m
    loser = jnp.where(changed, market.holder, -1)
    held = market.held.at[jnp.where(loser >= 0, loser, m)].set(-1, mode="drop")
    held = held.at[winner].set(jnp.arange(n), mode="drop")
    bidden = _Market(
        price=jnp.where(changed, best, market.price),
        holder=jnp.where(changed, winner, market.holder),
        held=held,
        out=market.out | leaves,
        rounds=market.rounds + 1,
    )
    return gain, step, limit, bidden


def _of(gain: Array, market: _Market) -> Array:
    """Each bidder's profit from what it holds."""
    return _gain_of(gain, market.held) - market.price[jnp.maximum(market.held, 0)]


def _gain_of(gain: Array, held: Array) -> Array:
    """`gain[i, held[i]]`, 0 where nothing is held."""
    value = jnp.take_along_axis(gain, jnp.maximum(held, 0)[:, None], axis=1)[:, 0]
    return jnp.where(held >= 0, value, 0.0)
