"""The numbers of engineering@1: how universal a pair looks, and how good each SAE is."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
from scipy.optimize import linear_sum_assignment

from synthsae_jax import metrics, saes
from synthsae_jax.experiments.architectures.numbers import paired_cosine
from synthsae_jax.metrics.evaluate import Reconstructor
from synthsae_jax.suite.study import Number, Pair, Reading, Subject, rule_numbers
from synthsae_jax.worlds import Instance, World, stack

PW_MCC, NEAREST, CODES = "pw_mcc", "mutual_nearest_0.7", "code_correlation"
APPARENT = (PW_MCC, NEAREST, CODES)
RULES = ("best_correlation_0.1", "decoder_cosine_0.7_raw")
_NEAR = 0.7


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
      above .7, as a share of the smaller side;
    - `code_correlation`: mean correlation of the codes of living latents assigned by it, pairs
      that correlate negatively or not at all counting 0.

    Chance: PW-MCC of random rows; the others have theirs on models without a common feature.
    """
    a, b = (side.subject.decoder for side in (pair.a, pair.b))
    rng = np.random.default_rng(seed)
    random = [rng.normal(size=rows.shape) for rows in (a, b)]
    why = "all latents of a side are dead"
    return [
        Number(PW_MCC, "score", paired_cosine(a, b)),
        Number(f"{PW_MCC}/chance", "score", paired_cosine(*random)),
        Number(NEAREST, "score", mutual_nearest(a, b, pair.a.alive, pair.b.alive), why),
        Number(CODES, "score", code_correlation(pair), why),
        *rule_numbers(pair, RULES),
    ]


def mutual_nearest(a: np.ndarray, b: np.ndarray, alive_a: np.ndarray, alive_b: np.ndarray) -> float:
    """Pairs of living latents nearest to each other, above .7, over the smaller side's count."""
    unit = lambda rows: rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    cosine = unit(a[alive_a]) @ unit(b[alive_b]).T
    if not cosine.size:
        return np.nan
    best = cosine.argmax(1)
    mutual = cosine.argmax(0)[best] == np.arange(len(cosine))
    return float((mutual & (cosine.max(1) > _NEAR)).sum() / min(cosine.shape))


def code_correlation(pair: Pair) -> float:
    """Mean positive correlation of living latents' codes under the assignment that maximises it."""
    scores = np.nan_to_num(np.asarray(pair.counts.score("activation_pearson"), np.float64))
    scores = np.maximum(scores, 0)[np.ix_(pair.a.alive, pair.b.alive)]
    if not scores.size:
        return np.nan
    return float(scores[linear_sum_assignment(-scores)].mean())


def quality(
    world: World, subjects: list[Subject], views: list[Instance], n: int, seed: int
) -> dict[str, np.ndarray]:
    """F1, MCC, EV and the rest of each SAE on its model, arrays `[I, 1]` as `table.run_rows` takes.

    `views` are the models as instances of `world`; all SAEs are read by one program.
    """
    first = subjects[0]
    plain = dataclasses.replace(first.reconstruct.sae, hyper=first.run[1])
    weights, numbers, _ = (
        jax.tree.map(lambda *leaves: np.stack(leaves)[:, None], *part)
        for part in zip(*(s.run for s in subjects), strict=True)
    )
    return metrics.evaluate_runs(world, stack(views), plain, (weights, numbers, None), n, seed)


def truth_of_latents(reading: Reading) -> dict[str, float]:
    """Of the living latents, the share that track a feature, with its band over truth methods.

    This is the precision of "a latent is true"; NaN where all are dead.
    """
    alive = reading.alive
    share = lambda found: float((found[alive] >= 0).mean()) if alive.any() else np.nan
    every = [share(found) for found in reading.truth.maps]
    return {
        "tracked": share(reading.tracked),
        "tracked_least": min(every),
        "tracked_most": max(every),
    }
