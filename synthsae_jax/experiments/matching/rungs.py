"""The ladder of matching@1: oracles, oracles behind an untrained encoder, trained SAEs."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from synthsae_jax.experiments.matching.setting import ENCODER, ORACLE, TRAINED, TRUTHS
from synthsae_jax.metrics.reference import OracleCodes, most_frequent
from synthsae_jax.numerics import firings, is_alive
from synthsae_jax.suite import pairs
from synthsae_jax.suite.context import Context, Trained
from synthsae_jax.suite.reading import Subject, read_latents, read_truth
from synthsae_jax.worlds import Instance
from synthsae_jax.worlds.family import Family
from synthsae_jax.worlds.rates import expected_rates

Csr = sparse.csr_matrix
Linear = tuple[Any, Any, Any]  # W_enc [D, L], b_enc [L], b_dec [D]


@dataclasses.dataclass(frozen=True)
class LinearEncoder:
    """`relu((x - b_dec) W_enc + b_enc)`, of which each sample keeps the k largest (None: all)."""

    k: int | None

    def __call__(self, run: Linear, codes: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
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
    pre: np.ndarray | None  # float32 [n_pre, L]: rectified; None: true codes have none
    decoder: np.ndarray  # [L, D]
    truths: dict[str, np.ndarray]  # int [L], -1: none


def read_rung(rung: str, context: Context, family: Family, trained: Trained) -> list[Side]:
    """A and every B of the family on one rung, all on the same tokens."""
    world, seed, n = family.registry("factors"), context.number(0), context.scale.tokens[-1]
    sides = []
    for i, instance in enumerate(family.instances):
        if rung == TRAINED:
            subject = trained.subjects[i][0]
            params = subject.run[0]
            linear = (params.W_enc, params.b_enc, params.b_dec)
            sweep = read_truth(subject, world, context.n_match, seed)
            truths = {name: sweep.of(name, 0.7) for name in TRUTHS}
        else:
            subject, linear, ids = _given_truth(rung, context, family, instance)
            # which feature an oracle's latent stands for is known, whatever an encoder makes of it
            truths = dict.fromkeys(TRUTHS, ids)
        latents = read_latents(subject, world, n, seed, "match")[:n]
        pre = None
        if linear is not None:
            dense = dataclasses.replace(subject, reconstruct=LinearEncoder(None), run=linear)
            n_pre = min(pairs.BLOCK_TOKENS, context.n_match)
            pre = read_latents(dense, world, n_pre, seed, "match")[:n_pre].toarray()
        alive = is_alive(firings(latents))
        masked = {name: np.where(alive, of, -1) for name, of in truths.items()}
        sides.append(Side(latents, pre, subject.decoder, masked))
    return sides


def _given_truth(
    rung: str, context: Context, family: Family, instance: Instance
) -> tuple[Subject, Linear | None, np.ndarray]:
    """An SAE of the true directions of the most frequent features, and their ids [L]."""
    ids = most_frequent(expected_rates(family.base), instance, context.d_sae)
    rows, bias = np.asarray(instance.dictionary)[ids], np.asarray(instance.bias)
    if rung == ORACLE:
        codes = OracleCodes(2 * family.base.n_features)
        return Subject(ORACLE, codes, (ids, rows, bias), instance, rows, rows), None, ids
    linear = rows.T, np.zeros(ids.size, np.float32), bias
    encoder = LinearEncoder(max(1, round(context.target_l0)))
    return Subject(ENCODER, encoder, linear, instance, rows, rows), linear, ids


def shifted(codes: Csr) -> Csr:
    """The codes with tokens turned by half their number: what is left is chance."""
    half = codes.shape[0] // 2
    return sparse.csr_matrix(sparse.vstack([codes[half:], codes[:half]]))
