"""What drivers@1 measures of a pair: what both recover, and what each side's recovery predicts."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from synthsae_jax.matching import TruthSweep
from synthsae_jax.matching.detection import co_recovery, frequency_bin
from synthsae_jax.metrics.reference import OracleCodes, most_frequent
from synthsae_jax.protocols.rules import rules
from synthsae_jax.suite import pairs
from synthsae_jax.suite.study import Number, Pair, Reading, Subject, read_codes, rule_numbers
from synthsae_jax.worlds import World, see
from synthsae_jax.worlds.inputs import bare

TRUTHS = ("agree", "functional", "geometric")  # the default first
RULE = "best_correlation_0.1"
BINS = 10
_PLANTED = 0.7


def recovered(reading: Reading, method: str) -> np.ndarray:
    """bool [F]: features that some living latent tracks."""
    tracked = np.where(reading.alive, reading.truth.of(method, 0.7), -1)
    found = np.zeros(reading.subject.instance.present.shape[0], bool)
    found[tracked[tracked >= 0]] = True
    return found


def outcome(a: np.ndarray, b: np.ndarray, rates: np.ndarray) -> dict[str, float]:
    """Numbers of two recovered sets, bool [F], over features of these rates.

    `expected`: co-recovery if the sides recovered features independently within tenths by rate,
    sum_s a_s b_s / n_s / F. `excess`: the Mantel-Haenszel log odds ratio over these tenths.
    `frequency_r2`: of what A recovers, the share of variance of B's recovery that the log rate
    explains.
    """
    place = frequency_bin(rates, BINS)
    per_bin = lambda which: np.bincount(place[which], minlength=BINS)
    n = np.maximum(per_bin(np.ones(a.size, bool)), 1)
    r2 = math.nan
    if a.sum() > 2 and 0 < b[a].sum() < a.sum():
        r2 = float(np.corrcoef(np.log(rates[a]), b[a])[0, 1] ** 2)
    return {
        "recovery": float((a.mean() + b.mean()) / 2),
        "co_recovery": float((a & b).mean()),
        "expected": float((per_bin(a) * per_bin(b) / n).sum() / a.size),
        "excess": co_recovery(a, b, rates, BINS),
        "firing_weighted": float(rates[a & b].sum() / rates.sum()),
        "frequency_r2": r2,
    }


def outcome_numbers(a: Reading, b: Reading, rates: np.ndarray) -> list[Number]:
    """`outcome` under each truth, which is the variant."""
    found = []
    for method in TRUTHS:
        numbers = outcome(recovered(a, method), recovered(b, method), rates)
        why = "the sides never differ, or all or nothing is recovered"
        found += [Number(method, name, value, why) for name, value in numbers.items()]
    return found


def kin_numbers(pair: Pair) -> list[Number]:
    """Matches of the rule, as shares of the latents: of one feature, and of relatives."""
    by_name = {n.metric: n.value for n in rule_numbers(pair, (RULE,))}
    smaller = min(pair.a.alive.sum(), pair.b.alive.sum())
    kin = pair.report(rules[RULE].match(pair.view))["false_universality_kin"]
    return [
        Number(RULE, "exact", by_name["declared"] * by_name["precision"], "nothing is matched"),
        Number(RULE, "kin", by_name["declared"] * kin, "nothing is matched"),
        Number(RULE, "alive", float(smaller)),
    ]


def oracle_pair(pair: Pair, world: World, rates: np.ndarray, width: int, n: int, seed: int) -> Pair:
    """The same models read by SAEs that recover a planted share of the features, perfectly.

    Each side has .7 of the `width` most frequent features, drawn with the world's seed alone: equal
    recovery in every arm. What the arms then still differ in does not go through recovery.
    """
    rng = np.random.default_rng(seed)
    sides = []
    for side in (pair.a, pair.b):
        instance = side.subject.instance
        top = most_frequent(rates, instance, width)
        ids = np.sort(rng.choice(top, round(_PLANTED * width), replace=False))
        rows = np.asarray(instance.dictionary)[ids]
        run = (ids, rows, np.asarray(instance.bias))
        subject = Subject("oracle", OracleCodes(rates.size), run, instance, rows, rows)
        codes = read_codes(instance, world, n, seed, "match")[:, ids]
        settings = side.truth.settings
        known = TruthSweep(settings, np.tile(ids.astype(np.int32), (len(settings), 1)))
        sides.append(Reading(subject, cast(sparse.csr_matrix, codes), known))
    return dataclasses.replace(pair, a=sides[0], b=sides[1])


def oracle_numbers(pair: Pair) -> list[Number]:
    """What the rule says of such a pair."""
    return [
        dataclasses.replace(number, variant="oracle")
        for number in rule_numbers(pair, (RULE,))
        if number.metric in ("declared", "precision", "false_universality")
    ]


def explained(subject: Subject, world: World, params: Any, seed: int) -> tuple[float, float]:
    """Explained variance of a subject, and with other weights, on the same 8,192 tokens."""
    key, parents = next(iter(pairs.parent_codes(bare(world), 8192, seed, "truth")))
    found = []
    for weights in (subject.run[0], params):
        run = (weights, *subject.run[1:])
        value = _explained(subject.reconstruct, key, parents, bare(subject.instance), run)
        found.append(float(value))
    return found[0], found[1]


@functools.partial(jax.jit, static_argnums=0)
def _explained(reconstruct, key, parents, instance, run):
    def batch(given):
        i, parent = given
        codes, x = see(jax.random.fold_in(key, i), instance, parent)
        error = jnp.sum((x - reconstruct(run, codes, x)[1]) ** 2)
        return error, jnp.sum(x, axis=0), jnp.sum(x**2), x.shape[0]

    n_batches = parents.values.shape[0]
    error, total, square, n = jax.lax.map(batch, (jnp.arange(n_batches), parents))
    n = jnp.sum(n)
    return 1 - jnp.sum(error) / (jnp.sum(square) - jnp.sum(jnp.sum(total, axis=0) ** 2) / n)
