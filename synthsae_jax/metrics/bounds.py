"""Ceilings beside `oracle_levels`: what true directions, or detectors told the truth, can reach."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.metrics.baselines import scikit_learn
from synthsae_jax.metrics.evaluate import METRICS, all_metrics, stream_sums
from synthsae_jax.metrics.recovery import ClassificationCounts
from synthsae_jax.metrics.samples import samples
from synthsae_jax.modes import fixed
from synthsae_jax.numerics import row_norms
from synthsae_jax.saes.refinements import pursue
from synthsae_jax.worlds.records import Codes, Instance, World

Array = jax.Array
_SOLVER_STEPS = 1000
_ROUNDING = 1e-5  # of a sample's length


@dataclasses.dataclass(frozen=True)
class BestK:
    """Latents are found from x alone, by a pursuit that knows the true directions."""

    k: int

    def __call__(self, run: Any, codes: Codes, x: Array) -> tuple[Array, Array]:
        rows, bias = run
        centred = x - bias[None]
        latents = pursue(centred, rows, self.k, signed=False)
        # a perfect fit of fewer than k leaves rounding, which is not to fire
        latents = jnp.where(latents > _ROUNDING * row_norms(centred)[:, None], latents, 0.0)
        x_hat = jnp.matmul(latents, rows, precision=jax.lax.Precision.HIGHEST)
        return latents, x_hat + bias[None]


@fixed
def best_k_levels(
    world: World,
    instance: Instance,
    ids: np.ndarray,
    k: int,
    n_samples: int = 100_000,
    seed: int = 0,
    batch_size: int = 1024,
) -> dict[str, float]:
    """What the true directions of the features `ids` reach with an encoder that only sees x.

    The encoder is non-negative orthogonal matching pursuit with k steps and the true bias (as in
    `saes.orthogonal_matching_pursuit`; codes below 1e-5 of the sample's length count as 0): it is
    greedy, since the best k of many is out of reach, so
    another encoder of the same dictionary may score higher. Names as in `metrics.evaluate`; MCC
    and uniqueness are 1 by definition, and what `oracle_levels` has above it is what encoding
    loses. `ids` int `[L]` as there (`most_frequent`); k from 1 to min(D, len(ids)).
    """
    ids = np.asarray(ids)
    most = min(len(ids), instance.dictionary.shape[-1])
    require(1 <= k <= most, f"k must satisfy 1 <= k <= min(D, len(ids)) = {most}, got k={k}.")
    run = (instance.dictionary[jnp.asarray(ids)], instance.bias)
    runs = jax.tree.map(lambda leaf: leaf[None], run)
    sums = stream_sums(BestK(int(k)), world, instance, runs, runs[0], n_samples, seed, batch_size)
    numbers = all_metrics(sums, np.asarray(runs[0]), instance)
    return {name: float(values[0]) for name, values in numbers.items()}


@fixed
def probe_levels(
    world: World,
    instance: Instance,
    ids: np.ndarray,
    n_probes: int = 64,
    n_train: int = 100_000,
    n_test: int = 50_000,
    seed: int = 0,
    l2: float = 1e-6,
) -> dict[str, float]:
    """How well supervised linear detectors find the features `ids`: a logistic probe for each.

    Logistic regression on x (scikit-learn, at most 1,000 solver steps; penalty `l2 |w|^2 / 2`
    beside the mean log loss) that fires above probability 1/2. Of `ids` int `[L]`, which come most
    frequent first (`most_frequent`), `n_probes` are probed, evenly spaced in that order from first
    to last, so that each stretch of rates counts as in a mean over all. Trained on the training
    stream's first `n_train` samples, scored on the evaluation stream's first `n_test`.

    precision, recall, f1 and accuracy are unweighted means over probes, with 0 for an undefined
    ratio, as for latents in `evaluate`; a feature that never or always fires in training has a
    probe that says so. No directions are learned and nothing is reconstructed, so all other
    metrics but `true_l0` are NaN. The level rises with `n_train` where features are rare: quote it.
    SAEs whose encoders are not linear can exceed it. arXiv 2602.14687.
    """
    ids = np.asarray(ids)
    require(
        n_probes >= 1 and len(ids) >= 1,
        f"probe_levels needs ids and n_probes >= 1, got {len(ids)} ids, n_probes={n_probes}.",
    )
    require(l2 > 0, f"l2 must be positive, got l2={l2}.")
    model = scikit_learn("linear_model", "probe_levels").LogisticRegression
    too_many_steps = scikit_learn("exceptions", "probe_levels").ConvergenceWarning
    # scikit-learn weighs the sum of the losses by C; `l2` stands beside their mean
    model = functools.partial(model, C=1 / (l2 * n_train), max_iter=_SOLVER_STEPS)
    ranks = np.linspace(0, len(ids) - 1, min(n_probes, len(ids))).round().astype(int)
    x_train, train, _ = samples(world, instance, n_train, seed, "train", ids[ranks])
    x_test, test, active = samples(world, instance, n_test, seed, "evaluate", ids[ranks])
    center = x_train.mean(axis=0)
    # the solver's line search gets stuck in float32
    x_train, x_test = ((x - center[None]).astype(np.float64) for x in (x_train, x_test))

    fires = np.empty((len(x_test), len(ranks)), bool)
    for i in range(len(ranks)):
        truth = train[:, i] > 0
        if truth.min() == truth.max():
            fires[:, i] = truth[0]
        else:
            with warnings.catch_warnings():
                # separable classes pull the weights on for ever; the detector is there long before
                warnings.simplefilter("ignore", too_many_steps)
                fires[:, i] = model().fit(x_train, truth).predict(x_test)
    counts = ClassificationCounts.init(jnp.arange(len(ranks)))
    scores = counts.update(jnp.asarray(fires), jnp.asarray(test)).finish()
    return {
        **dict.fromkeys(METRICS, float("nan")),
        **{name: float(value) for name, value in scores.items()},
        "true_l0": float(active.mean()),
        "n_eval": float(len(x_test)),
    }
