"""Pooling of latents over seeds: what several SAEs of one model found alike, as one dictionary."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from synthsae_jax import matching
from synthsae_jax.numerics import unit_rows
from synthsae_jax.saes import SAEParams

SAME = 0.7  # decoder cosine from which latents of two seeds are one


def pooled(seeds: Sequence[SAEParams]) -> tuple[SAEParams, np.ndarray]:
    """Weights of one SAE as wide as each of the seeds, and how many seeds have each latent, [L].

    `seeds` are finalized weights (decoder rows of norm 1) without leading axes. Latents are
    clustered over seeds: pairs assigned by signed decoder cosine, those above .7 joined from the
    best down, at most one latent of a seed in a cluster (`matching.match_many`). The clusters with
    the most seeds are kept, ties by how near their members are to the mean; so latents of a single
    seed come in only where the width would stay unfilled. A cluster's decoder row is the mean
    direction, its encoder the mean encoder. Weights to train from: without a threshold.
    """
    decoders = [np.asarray(unit_rows(np.asarray(seed.W_dec))) for seed in seeds]
    members = clusters(decoders)
    members.sort(key=lambda cluster: (-len(cluster), -_tightness(decoders, cluster)))
    members = members[: len(decoders[0])]
    gather = lambda arrays: np.stack([np.mean([arrays[s][j] for s, j in c], 0) for c in members])
    rows = gather(decoders)
    weights = SAEParams(
        W_enc=gather([np.asarray(seed.W_enc).T for seed in seeds]).T,
        b_enc=gather([np.asarray(seed.b_enc) for seed in seeds]),
        W_dec=np.asarray(unit_rows(rows)),
        b_dec=np.mean([np.asarray(seed.b_dec) for seed in seeds], 0),
    )
    return weights, np.array([len(cluster) for cluster in members])


def clusters(decoders: Sequence[np.ndarray]) -> list[list[tuple[int, int]]]:
    """Every latent (seed, index) in one cluster; a latent without a partner is one of its own."""
    pairwise = {
        (a, b): matching.solve(
            "assignment", matching.score("decoder_cosine", decoders[a], decoders[b]), SAME
        )
        for a, b in itertools.combinations(range(len(decoders)), 2)
    }
    groups = matching.match_many(pairwise, [len(rows) for rows in decoders])
    by_group: dict[object, list[tuple[int, int]]] = {}
    for s, of_seed in enumerate(groups):
        for j, group in enumerate(of_seed.tolist()):
            by_group.setdefault(group if group >= 0 else (s, j), []).append((s, j))
    return list(by_group.values())


def _tightness(decoders: Sequence[np.ndarray], members: Sequence[tuple[int, int]]) -> float:
    """Length of the mean of the members' unit rows: 1 where all agree, and for a single one."""
    return float(np.linalg.norm(np.mean([decoders[s][j] for s, j in members], axis=0)))
