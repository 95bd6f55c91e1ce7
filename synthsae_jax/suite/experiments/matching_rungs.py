"""The ladder of matching@1: oracles, oracles behind an encoder that nobody trained, trained SAEs."""

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
from synthsae_jax.suite.family import Family
from synthsae_jax.suite.study import Study, Subject, Trained, read_latents, read_truth
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
        pre = jax.nn.relu((x - b_dec) @ W_enc + b_enc)
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


def read_rung(
    rung: str,
    study: Study,
    family: Family,
    trained: Trained,
    tokens: int,
    pre_tokens: int,
    run: int = 0,
) -> list[Side]:
    """A and every B of the family on one rung, on the same tokens."""
    world, seed = family.registry("factors"), study.number(0)
    rates = None if rung == "trained" else expected_rates(family.base)
    sides = []
    for i, instance in enumerate(family.instances):
        if rates is None:
            subject = trained.subjects[i][run]
            params = subject.run[0]
            linear = (params.W_enc, params.b_enc, params.b_dec)
            truths = _maps(read_truth(subject, world, study.n_match, seed))
        else:
            ids = most_frequent(rates, instance, study.d_sae)
            rows, bias = np.asarray(instance.dictionary)[ids], np.asarray(instance.bias)
            linear = (rows.T, np.zeros(ids.size, np.float32), bias)
            known = OracleCodes(2 * family.base.n_features), (ids, rows, bias)
            behind = LinearEncoder(max(1, round(study.target_l0))), linear
            subject = Subject(rung, *(known if rung == "oracle" else behind), instance, rows, rows)
            # which feature a latent stands for is known, whatever the encoder makes of it
            truths = dict.fromkeys(TRUTHS, ids)
        latents = read_latents(subject, world, tokens, seed, "match")[:tokens]
        pre = np.zeros((0, latents.shape[1]), np.float32)
        if rung != "oracle":
            dense = dataclasses.replace(subject, reconstruct=LinearEncoder(None), run=linear)
            pre = read_latents(dense, world, pre_tokens, seed, "match")[:pre_tokens].toarray()
        alive = np.diff(latents.tocsc().indptr) > 0
        truths = {name: np.where(alive, of, -1) for name, of in truths.items()}
        sides.append(Side(latents, pre, subject.decoder, truths))
    return sides


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


