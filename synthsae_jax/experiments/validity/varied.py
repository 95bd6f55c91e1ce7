"""One pair seen otherwise: latents of B in another order, scale and space, or fewer tokens."""

from __future__ import annotations

import dataclasses
from typing import cast

import numpy as np
from scipy import sparse, stats

from synthsae_jax.experiments.validity.board import FEW, TURNED
from synthsae_jax.matching import TruthSweep
from synthsae_jax.suite.study import Pair, Reading

_FEWER = 8


def varied(pair: Pair, seed: int) -> dict[str, Pair]:
    """By suffix of the condition: B turned round, and both on an eighth of the tokens.

    A turned B is the same SAE: latents permuted, each scaled by a positive number that its decoder
    row undoes, the whole space rotated, with the alignment that undoes the rotation.
    """
    rng = np.random.default_rng(seed)
    b, few = pair.b, pair.a.latents.shape[0] // _FEWER
    order = rng.permutation(b.latents.shape[1])
    scale = np.exp(rng.normal(size=order.size)).astype(np.float32)
    turn = stats.special_ortho_group.rvs(b.subject.decoder.shape[1], random_state=seed)
    turn = turn.astype(np.float32)
    encoder = b.subject.encoder
    subject = dataclasses.replace(
        b.subject,
        decoder=(b.subject.decoder[order] / scale[:, None]) @ turn,
        encoder=None if encoder is None else (encoder[order] * scale[:, None]) @ turn,
    )
    latents = cast(sparse.csr_matrix, b.latents[:, order].multiply(scale[None]).tocsr())
    truth = TruthSweep(b.truth.settings, b.truth.maps[:, order])
    back = turn.T if pair.turn is None else turn.T @ pair.turn
    return {
        TURNED: dataclasses.replace(pair, b=Reading(subject, latents, truth), turn=back),
        FEW: dataclasses.replace(pair, a=_first(pair.a, few), b=_first(pair.b, few)),
    }


def _first(reading: Reading, n: int) -> Reading:
    return dataclasses.replace(reading, latents=reading.latents[:n])
