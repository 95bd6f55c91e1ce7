"""The numbers of engineering@1: how universal a pair looks, and how good each SAE is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from synthsae_jax import matching, metrics, saes
from synthsae_jax.metrics.evaluate import Reconstructor
from synthsae_jax.numerics import firings, is_alive
from synthsae_jax.suite.joint import calls, implied_overlap, relative
from synthsae_jax.suite.observation import Number
from synthsae_jax.suite.pair import TRUTH, Pair
from synthsae_jax.suite.reading import Csr, Reading, Subject
from synthsae_jax.suite.scores import score_numbers
from synthsae_jax.worlds import Instance, World, stack

PW_MCC, NEAREST, CODES = "pw_mcc", "mutual_nearest_0.7", "code_correlation"
APPARENT = (PW_MCC, NEAREST, CODES)
CHANCE = f"{PW_MCC}/chance"
NORMS = "relative_norms"
QUALITY = ("f1", "mcc", "explained_variance", "l0")
_NEAR = 0.7
_DEAD = "all latents are dead"
_SIDE_DEAD = "all latents of a side are dead"


def subject_of(label: str, sae: Any, params: Any, instance: Instance) -> Subject:
    """One SAE with finalized weights, as it is read; `params` without leading axes.

    With a threshold it is a JumpReLU SAE, whatever its training was, and with a k per sample a TopK
    one: two programs read all methods.
    """
    dim, width = params.W_dec.shape[1], params.W_dec.shape[0]
    if params.threshold is None:
        plain = saes.build("topk", d_in=dim, d_sae=width, k=int(sae.hyper.k))
    else:
        plain = saes.build("batchtopk", d_in=dim, d_sae=width, k=1.0)
    names = ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")
    weights = saes.SAEParams(**{name: getattr(params, name) for name in names})
    weights = jax.tree.map(np.asarray, weights)
    run = (weights, plain.hyper, None)
    reconstruct = Reconstructor(plain.static, "inference")
    return Subject(label, reconstruct, run, instance, weights.W_dec, weights.W_enc.T)


def apparent_numbers(pair: Pair, seed: int = 0) -> list[Number]:
    """How universal a pair looks to whoever lacks the truth, as metric "score".

    - `pw_mcc`: mean |decoder cosine| under the best assignment of all latents;
    - `mutual_nearest_0.7`: pairs of living latents that are each other's nearest by decoder cosine,
      at least .7, as a share of the smaller side;
    - `code_correlation`: mean correlation of the codes of living latents assigned by it, pairs
      that correlate negatively or not at all counting 0.

    Chance: PW-MCC of random rows; the others have theirs on models without a common feature.
    """
    a, b = (side.subject.decoder for side in (pair.a, pair.b))
    rng = np.random.default_rng(seed)
    random = [rng.normal(size=rows.shape) for rows in (a, b)]
    nearest = mutual_nearest(a, b, pair.a.alive, pair.b.alive)
    return [
        Number(PW_MCC, "score", metrics.mcc(a, b), "a decoder is not finite"),
        Number(CHANCE, "score", metrics.mcc(*random)),
        Number(NEAREST, "score", nearest, _SIDE_DEAD),
        Number(CODES, "score", code_correlation(pair), _SIDE_DEAD),
    ]


def mutual_nearest(a: np.ndarray, b: np.ndarray, alive_a: np.ndarray, alive_b: np.ndarray) -> float:
    """Pairs of living latents nearest to each other, .7 or more, over the smaller side's count."""
    fewer = min(alive_a.sum(), alive_b.sum())
    cosine = matching.score("decoder_cosine", a, b)
    m = matching.solve("mutual_nearest", cosine, _NEAR, alive_a=alive_a, alive_b=alive_b)
    return float(np.asarray(m.valid).sum() / fewer) if fewer else math.nan


def code_correlation(pair: Pair) -> float:
    """Mean positive correlation of living latents' codes under the assignment that maximises it."""
    scores = np.asarray(pair.counts.score("activation_pearson"))
    # a latent that never varies here correlates with nothing
    scores = np.maximum(np.nan_to_num(scores), 0)
    m = matching.solve("assignment", scores, alive_a=pair.a.alive, alive_b=pair.b.alive)
    assigned = np.asarray(m.score, np.float64)[np.asarray(m.valid)]
    return float(assigned.mean()) if assigned.size else math.nan


def quality(
    world: World, subjects: Sequence[Subject], views: Sequence[Instance], n: int, seed: int
) -> list[list[Number]]:
    """F1, MCC, EV and L0 of each SAE on its model, on `n` samples.

    `views` are the models as instances of `world`; all SAEs are read by one program.
    """
    first = subjects[0]
    plain = dataclasses.replace(first.reconstruct.sae, hyper=first.run[1])
    weights, numbers, _ = (
        jax.tree.map(lambda *leaves: np.stack(leaves)[:, None], *part)
        for part in zip(*(s.run for s in subjects), strict=True)
    )
    runs = weights, numbers, None
    values = metrics.evaluate_runs(world, stack(list(views)), plain, runs, n, seed)
    return [
        score_numbers("", {metric: values[metric][i, 0] for metric in QUALITY})
        for i in range(len(subjects))
    ]


def truth_of_latents(reading: Reading) -> list[Number]:
    """Of the living latents, the share that track a feature, with its band over truth methods.

    This is the precision of "a latent is true".
    """
    alive = reading.alive
    share = lambda features: float((features[alive] >= 0).mean()) if alive.any() else math.nan
    every = [share(features) for features in reading.truth.maps]
    values = {
        "tracked": share(reading.tracked),
        "tracked_least": min(every),
        "tracked_most": max(every),
    }
    return [Number(TRUTH, metric, value, _DEAD) for metric, value in values.items()]


def implied_numbers(subject: Subject, latents: Csr) -> list[Number]:
    """The overlap of two models that the decoder norms of their common SAE imply."""
    overlap = implied_overlap(calls(relative(subject)), is_alive(firings(latents)))
    why = "no living latent is read as shared or as exclusive"
    return [Number(NORMS, "declared", overlap, why)]
