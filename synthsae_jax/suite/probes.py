"""k-sparse probing: how well a few latents of an SAE tell whether a feature is on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import sparse

from synthsae_jax import metrics, worlds
from synthsae_jax.logistic import logistic_weights
from synthsae_jax.suite.observation import Number
from synthsae_jax.suite.reading import Subject, read_codes, read_latents
from synthsae_jax.worlds import Instance, World

VARIANT = "sparse_probes"
SIZES = (1, 5)  # latents of a probe
_RIDGE = 1e-5


def probed(world: World, instance: Instance, width: int, n_probes: int) -> np.ndarray:
    """Ids of the features asked for: evenly spaced among the `width` most frequent ones."""
    ids = np.asarray(metrics.most_frequent(worlds.expected_rates(world), instance, width))
    return ids[np.linspace(0, len(ids) - 1, min(n_probes, len(ids))).round().astype(int)]


def probe_numbers(
    subject: Subject, world: World, n: int, seed: int, ids: np.ndarray
) -> list[Number]:
    """Mean F1 of probes on k latents each, "k1" and "k5", beside a probe that always says yes.

    On the stream for calibration, which nothing else reads here: fitted on its first half, scored
    on the second.
    """
    latents = read_latents(subject, world, n, seed, "calibrate")
    on = read_codes(subject.instance, world, n, seed, "calibrate")[:, ids].toarray() != 0
    return probe_numbers_of({k: sparse_probes(latents, on, k) for k in SIZES}, on)


def probe_numbers_of(f1: Mapping[int, np.ndarray], on: np.ndarray) -> list[Number]:
    """Mean F1 of probes on k latents, by k, and of one that always says yes: 2 p / (1 + p)."""
    rate = on[len(on) // 2 :].mean(0)
    chance = float(np.mean(2 * rate / (1 + rate)))
    return [
        number
        for k, values in f1.items()
        for number in (
            Number(VARIANT, f"k{k}", float(np.mean(values)), standard=True),
            Number(f"{VARIANT}/chance", f"k{k}", chance, standard=True),
        )
    ]


def sparse_probes(latents: sparse.csr_matrix, on: np.ndarray, k: int) -> np.ndarray:
    """F1 of each column of `on [n, P]` from the k latents whose mean differs most with it.

    Differences are in units of each latent's standard deviation. A logistic regression on those k
    decides above probability 1/2. Gurnee et al., arXiv 2305.01610. An F1 that is 0 / 0 is 0.
    """
    half = latents.shape[0] // 2
    fit, test = (rows.toarray().astype(np.float64) for rows in (latents[:half], latents[half:]))
    scale = np.maximum(fit.std(0), 1e-12)
    fit, test = fit / scale, test / scale
    scores = []
    for truth, wanted in zip(on[:half].T, on[half:].T):
        if truth.min() == truth.max():
            scores.append(_f1(np.full(wanted.size, truth[0]), wanted))
            continue
        apart = np.abs(fit[truth].mean(0) - fit[~truth].mean(0))
        best = np.argsort(-apart, kind="stable")[:k]
        with_constant = np.column_stack([np.ones(len(fit)), fit[:, best]])
        weights = logistic_weights(with_constant, truth, _RIDGE)
        scores.append(_f1(test[:, best] @ weights[1:] + weights[0] > 0, wanted))
    return np.array(scores)


def _f1(says: np.ndarray, wanted: np.ndarray) -> float:
    right = (says & wanted).sum()
    return float(2 * right / max(says.sum() + wanted.sum(), 1))
