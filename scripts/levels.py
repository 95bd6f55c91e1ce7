"""Do nulls hold their level? p-values of the steps of `ours@1` where nothing is shared."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax import matching
from synthsae_jax.matching import PairCounts, SideInputs
from synthsae_jax.protocols import ProtocolResult

Array = jax.Array
SHIFTS = ("token_shift", "activity_shift")
LEAST_FIRINGS = 30  # that of `ours@1`


@functools.partial(jax.jit, static_argnames="draws")
def shift_p(key: Array, a: Array, b: Array, draws: int = 19) -> Array:
    """p of the mean z of mutual nearest latents under both `SHIFTS`, `[2]`; codes `[n, L]`.

    Score, solver and least firings are those of `ours@1`, without its level: a number without
    ties, on which a null that is off by little shows. 19 draws make a level of 5 % exact.
    """
    bins = matching.token_bins(a, b)
    # columns are judged or not by rates that no shift changes
    judged = [(codes != 0).sum(0) >= LEAST_FIRINGS for codes in (a, b)]

    def statistic(codes: Array) -> Array:
        counts = PairCounts.init(a.shape[1], codes.shape[1]).update(a, codes)
        s = counts.score("hypergeometric_z_plain")
        m = matching.solve("mutual_nearest", s, alive_a=judged[0], alive_b=judged[1])
        return jnp.where(m.valid, m.score, 0.0).sum() / jnp.maximum(m.valid.sum(), 1)

    side = SideInputs(latents=b, token_bins=bins)

    def drawn(name: str) -> Array:
        null = lambda k: statistic(jnp.asarray(matching.nulls[name](k, side).latents))
        return jax.lax.map(null, jax.random.split(key, draws))

    reach = jnp.stack([(drawn(name) >= statistic(b)).sum() for name in SHIFTS])
    return (1 + reach) / (1 + draws)


def spread_p(result: ProtocolResult, number: str, null: str, rng: np.random.Generator) -> float:
    """A protocol's p with ties dealt out at random: uniform where the null holds, on (0, 1).

    Shares of few pairs tie in most draws; counting ties against the observed, as p does, is safe
    and piles p up at 1.
    """
    (found,) = (n for n in result.nulls if n.null == null)
    drawn = found.judged.null[:, found.names.index(number)]
    observed = result.numbers[number]
    above, ties = (drawn > observed).sum(), (drawn == observed).sum()
    return float((above + rng.random() * (1 + ties)) / (1 + drawn.size))
