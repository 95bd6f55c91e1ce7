"""What published rules declare shared in each condition of a family, against what is shared."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax import matching
from synthsae_jax.matching.truth_sweep import Band
from synthsae_jax.metrics.evaluate import Reconstructor
from synthsae_jax.metrics.reference import OracleCodes, most_frequent
from synthsae_jax.protocols.rules import PairView, rules
from synthsae_jax.suite import pairs
from synthsae_jax.suite.base import Tick
from synthsae_jax.suite.study import Subject
from synthsae_jax.worlds import Instance, expected_rates, stack
from synthsae_jax.worlds.family import Family
from synthsae_jax.worlds.inputs import bare

ORACLE = "oracle"
# the default truth first, then what can be read from firing counts alone: the band beside it unless
# `Runs.truth` brings a wider one (see `family_truth`)
TRUTHS = (
    ("agree", 0.7, 0.5),
    *((method, t, t) for method in ("geometric", "functional", "agree") for t in (0.5, 0.7, 0.9)),
)
# quantities of a report that stand with their band
BANDED = (
    "true_universality",
    "precision",
    "false_universality",
    "artefact_rate",
    "metric_bias",
)


@dataclasses.dataclass(frozen=True)
class Runs:
    """SAEs of one architecture on every member of a family: leading axes [I, R]."""

    name: str
    reconstruct: Any  # static: (run, codes, x) -> (latents, x_hat)
    runs: Any  # pytree [I, R, ...]
    W_dec: np.ndarray  # [I, R, L, D]
    # int [truths, I, R, L] where known beforehand: the default first, the others make the band
    truth: np.ndarray | None = None

    @classmethod
    def trained(cls, name: str, result: Any) -> Runs:
        """Runs of a `TrainResult` with axes [I, R], under the inference rule."""
        runs = (result.params, result.hyper, result.state.carried)
        return cls(name, Reconstructor(result.sae.static, "inference"), runs, result.params.W_dec)


@dataclasses.dataclass(frozen=True)
class PairScore:
    """One pair of SAEs under one condition and rule."""

    condition: str
    rule: str
    run: int
    declared: float  # share of latents that the rule calls shared
    features_shared: float  # share of A's features that B has
    stated_use: bool
    report: dict[str, float]  # `matching.match_report`
    bands: dict[str, Band]  # least and most of each of `BANDED` over the truths
    tokens: int
    median_firings: float


def oracle(family: Family, n_latents: int) -> Runs:
    """Oracle SAEs: the most frequent features' own directions and true codes, one run each.

    Those features are the same in the plain world for every member, so a member that has a twin
    instead has that twin here.
    """
    rates = expected_rates(family.base)
    registry = stack(list(family.instances))
    ids = np.stack([most_frequent(rates, x, n_latents) for x in family.instances])[:, None]
    dictionary = np.asarray(registry.dictionary)
    w_dec = np.stack([d[i] for d, i in zip(dictionary, ids[:, 0])])[:, None]
    bias = np.asarray(registry.bias)[:, None]
    runs = jax.tree.map(jnp.asarray, (ids, w_dec, bias))
    return Runs(ORACLE, OracleCodes(2 * family.base.n_base), runs, w_dec, truth=ids[None])


def oracle_subjects(family: Family, runs: Runs) -> list[list[Subject]]:
    """Oracles one by one, [I][1]: they have no encoder, since they are told the codes."""
    pick = lambda i: jax.tree.map(lambda leaf: np.asarray(leaf[i, 0]), runs.runs)
    return [
        [Subject(ORACLE, runs.reconstruct, pick(i), x, np.asarray(runs.W_dec[i, 0]), None)]
        for i, x in enumerate(family.instances)
    ]


def score_family(
    family: Family, runs: Runs, n_samples: int, seed: int, tick: Tick
) -> list[PairScore]:
    """All conditions and rules for each pair (A's run r, B's run r); no pair shares a seed."""
    truth = runs.truth if runs.truth is not None else truth_maps(family, runs, n_samples, seed)
    side = lambda i: jax.tree.map(lambda leaf: leaf[i], runs.runs)
    a = family.reference
    found: list[PairScore] = []
    for i, condition in enumerate(family.conditions):
        tick((i + 1) / (len(family.conditions) + 1), f"{runs.name}, {condition.name}")
        world, b = family.registry(condition.coupling), family.partner(i)
        counts = pairs.pair_counts(
            runs.reconstruct, world, a, b, side(0), side(i + 1), n_samples, seed
        )
        turn = np.asarray(pairs.rotation(world, a, b, n_samples, seed))
        shared = np.asarray(a.present & b.present).sum() / np.asarray(a.present).sum()
        for r in range(runs.W_dec.shape[1]):
            of_run = jax.tree.map(lambda leaf, r=r: leaf[r], counts)
            rows_a, rows_b = np.asarray(runs.W_dec[0, r]), np.asarray(runs.W_dec[i + 1, r])
            view = PairView(of_run, rows_a, rows_b, rows_b @ turn)
            for name in rules:
                found.append(
                    _score_pair(
                        family, i, name, r, view, truth[:, 0, r], truth[:, i + 1, r], float(shared)
                    )
                )
    return found


def _score_pair(family, i, rule, run, view, truth_a, truth_b, shared) -> PairScore:
    counts, condition = view.counts, family.conditions[i]
    alive_a, alive_b = np.asarray(counts.alive_a), np.asarray(counts.alive_b)
    found = rules[rule].match(view)
    present = family.reference.present, family.partner(i).present
    reports = [
        matching.match_report(found, of_a, of_b, alive_a, alive_b, family.base, *present)
        for of_a, of_b in zip(truth_a, truth_b)
    ]
    report = reports[0]
    over_truths = {name: np.array([r[name] for r in reports]) for name in BANDED}
    base = alive_b.sum() if rules[rule].many_to_one else min(alive_a.sum(), alive_b.sum())
    return PairScore(
        condition=condition.name,
        rule=rule,
        run=run,
        declared=report["n_matched"] / base if base else math.nan,
        features_shared=shared,
        stated_use=rules[rule].stated_use(condition),
        report=report,
        bands=matching.bands(over_truths),
        tokens=int(counts.n),
        median_firings=pairs.median_firings(counts),
    )


def truth_maps(family: Family, runs: Runs, n_samples: int, seed: int) -> np.ndarray:
    """Truth maps [truths, I, R, L], one per entry of `TRUTHS`, from one set of firing counts."""
    instances = stack(list(family.instances))
    world = family.registry("factors")
    counts = pairs.truth_counts(runs.reconstruct, world, instances, runs.runs, n_samples, seed)
    maps = [
        maps_of_runs(method, runs.W_dec, counts, bare(instances), cosine, f1)
        for method, cosine, f1 in TRUTHS
    ]
    return np.stack([np.asarray(m) for m in maps])


@functools.partial(jax.jit, static_argnums=0)
def maps_of_runs(method: str, w_dec, counts, instances: Instance, cosine: float, f1: float):
    """The truth maps of runs [I, R, L] by one method, from counts [I, R, ...]."""

    def of_run(w_dec, counts, instance):
        return matching.truth_from_counts(
            w_dec,
            counts,
            instance.dictionary,
            method,
            cosine=cosine,
            f1=f1,
            present=instance.present,
        )

    return jax.vmap(jax.vmap(of_run, in_axes=(0, 0, None)))(w_dec, counts, instances)
