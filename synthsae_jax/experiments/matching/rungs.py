"""The ladder of matching@1: oracles, oracles behind an untrained encoder, trained SAEs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from synthsae_jax.matching import TruthSweep
from synthsae_jax.metrics.reference import OracleCodes, most_frequent
from synthsae_jax.suite.study import Study, Subject, Trained, read_latents, read_truth
from synthsae_jax.worlds import World
from synthsae_jax.worlds.family import Family
from synthsae_jax.worlds.rates import expected_rates

Csr = sparse.csr_matrix
RUNGS = ("oracle", "encoder", "trained")
TRUTHS = ("agree", "geometric", "functional")  # the default first


@dataclasses.dataclass(frozen=True)
class LinearEncoder:
    """`relu((x - b_dec) W_enc + b_enc)`, of which each sample keeps the k largest (None: all)."""

    k: int | None

    def __call__(self, run: Any, codes: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        W_enc, b_enc, b_dec = run
        pre = jax.nn.relu((x - b_dec[None]) @ W_enc + b_enc[None])
        if self.k is None:
            return pre, x
        # a tie at the k-th place keeps both: no matter for continuous values
        least = jax.lax.top_k(pre, self.k)[0][:, -1:]
        return jnp.where(pre >= least, pre, 0), x


@dataclasses.dataclass(frozen=True)
class Side:
    """One SAE as matchers see it, and what its latents truly are under each truth."""

    latents: Csr  # [n, L]
    pre: np.ndarray  # float32 [n_pre, L]: rectified pre-activations; [0, L] where there are none
    decoder: np.ndarray  # [L, D]
    truths: dict[str, np.ndarray]  # int [L], -1: none


def read_ladder(
    study: Study, family: Family, trained: Trained, tokens: int, pre_tokens: int, run: int = 0
) -> dict[str, list[Side]]:
    """A and every B of the family, by rung, on the same tokens."""
    world, seed = family.registry("factors"), study.number(0)
    rates = expected_rates(family.base)
    sides: dict[str, list[Side]] = {rung: [] for rung in RUNGS}
    for i, instance in enumerate(family.instances):
        ids = most_frequent(rates, instance, study.d_sae)
        rows, bias = np.asarray(instance.dictionary)[ids], np.asarray(instance.bias)
        known = OracleCodes(2 * family.base.n_features), (ids, rows, bias)
        untrained = rows.T, np.zeros(ids.size, np.float32), bias
        behind = LinearEncoder(max(1, round(study.target_l0))), untrained
        last = trained.subjects[i][run]
        params = last.run[0]
        subjects = [
            Subject("oracle", *known, instance, rows, rows),
            Subject("encoder", *behind, instance, rows, rows),
            last,
        ]
        # which feature an oracle's latent stands for is known, whatever an encoder makes of it
        by_truth = dict.fromkeys(TRUTHS, ids)
        truths = [by_truth, by_truth, _maps(read_truth(last, world, study.n_match, seed))]
        linear = [None, untrained, (params.W_enc, params.b_enc, params.b_dec)]
        codes = _read_together(subjects, world, tokens, seed)
        for subject, latents, truth, weights in zip(subjects, codes, truths, linear, strict=True):
            pre = np.zeros((0, latents.shape[1]), np.float32)
            if weights is not None:
                dense = dataclasses.replace(subject, reconstruct=LinearEncoder(None), run=weights)
                pre = read_latents(dense, world, pre_tokens, seed, "match")[:pre_tokens].toarray()
            alive = living(latents)
            masked = {name: np.where(alive, of, -1) for name, of in truth.items()}
            sides[subject.label if subject is not last else "trained"].append(
                Side(latents, pre, subject.decoder, masked)
            )
    return sides


@dataclasses.dataclass(frozen=True)
class _Together:
    """Several reconstructors of one instance; their latents side by side."""

    each: tuple[Any, ...]

    def __call__(self, run: Any, codes: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = [one(mine, codes, x)[0] for one, mine in zip(self.each, run, strict=True)]
        return jnp.concatenate(found, axis=1), x


def _read_together(subjects: Sequence[Subject], world: World, n: int, seed: int) -> list[Csr]:
    """Codes of several subjects of one instance from one pass over the match stream."""
    each = _Together(tuple(s.reconstruct for s in subjects))
    both = dataclasses.replace(subjects[0], reconstruct=each, run=tuple(s.run for s in subjects))
    codes = read_latents(both, world, n, seed, "match")[:n].tocsc()
    ends = np.cumsum([s.decoder.shape[0] for s in subjects])
    return [sparse.csr_matrix(part) for part in _columns(codes, ends)]


def _columns(codes: sparse.csc_matrix, ends: np.ndarray) -> list[sparse.csc_matrix]:
    starts = [0, *ends[:-1].tolist()]
    return [codes[:, start:end] for start, end in zip(starts, ends.tolist(), strict=True)]


def _maps(sweep: TruthSweep) -> dict[str, np.ndarray]:
    return {name: sweep.of(name, 0.7) for name in TRUTHS}


def quartile(side: Side) -> np.ndarray:
    """Quarter of its firing rate among the living latents, int [L]: 0 rarest, -1 dead."""
    fired = np.diff(side.latents.tocsc().indptr)
    order = np.argsort(fired, kind="stable")
    order = order[fired[order] > 0]
    found = np.full(fired.size, -1)
    found[order] = np.arange(order.size) * 4 // max(order.size, 1)
    return found


def shifted(codes: Csr) -> Csr:
    """The codes with tokens turned by half their number: what is left is chance."""
    half = codes.shape[0] // 2
    return sparse.csr_matrix(sparse.vstack([codes[half:], codes[:half]]))


def living(codes: Csr) -> np.ndarray:
    """bool [L]: latents that fire."""
    return np.diff(codes.tocsc().indptr) > 0


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlations of the columns, float32 [p, q]; NaN for a constant one."""
    a, b = (np.asarray(v, np.float64) for v in (a, b))
    a, b = a - a.mean(0), b - b.mean(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = [v / np.sqrt((v**2).sum(0)) for v in (a, b)]
    return (scaled[0].T @ scaled[1]).astype(np.float32)
