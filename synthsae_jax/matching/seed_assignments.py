"""One-to-one assignments between SAEs that differ in their seed: what agrees without truth.

An assignment that says the same by decoder and encoder, or along every route through a third
seed, needs no threshold (arXiv 2501.16615). Numpy on the host.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np

KINDS = ("decoder", "encoder")

Pair = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Assignments:
    """One-to-one assignments between the latents of SAEs that differ in their seed.

    `decoder[i, j][a]` is the latent of seed j assigned to latent a of seed i, int32 `[L]`, i < j;
    `encoder` likewise. Some pairs may be missing.
    """

    seeds: tuple[int, ...]
    width: int
    decoder: Mapping[Pair, np.ndarray]
    encoder: Mapping[Pair, np.ndarray]

    def both_ways(self, kind: str) -> dict[Pair, np.ndarray]:
        """The assignments of a kind in both directions, `[i, j]` and its inverse `[j, i]`."""
        assignments = dict(getattr(self, kind))
        for (i, j), forward in list(assignments.items()):
            backward = np.empty_like(forward)
            backward[forward] = np.arange(self.width, dtype=forward.dtype)
            assignments[j, i] = backward
        return assignments

    @property
    def triples(self) -> list[tuple[int, int, int]]:
        """Triples i < j < k of seeds of which all three pairs are there."""
        pairs = self.decoder.keys()
        return [
            (i, j, k)
            for i, j, k in itertools.combinations(self.seeds, 3)
            if {(i, j), (j, k), (i, k)} <= pairs
        ]

    @property
    def complete(self) -> tuple[int, ...]:
        """Seeds whose pairs with all others are there."""
        pairs = self.decoder.keys()
        met = lambda s: all((min(s, t), max(s, t)) in pairs for t in self.seeds if t != s)
        return tuple(s for s in self.seeds if met(s))


def agreement(data: Assignments) -> dict[Pair, float]:
    """For each pair of seeds the share of latents with one partner by decoder and encoder."""
    return {pair: float(np.mean(data.decoder[pair] == data.encoder[pair])) for pair in data.decoder}


def cycles(data: Assignments, kind: str = "decoder") -> dict[tuple[int, int, int], float]:
    """For each triple the share of latents for which i -> j -> k ends where i -> k does.

    Chance for unrelated assignments is 1/L. Any order of the three gives the same share, as the
    assignments are one-to-one.
    """
    to = getattr(data, kind)
    return {(i, j, k): float(np.mean(to[j, k][to[i, j]] == to[i, k])) for i, j, k in data.triples}


def agreed_cycles(data: Assignments) -> dict[str, dict[tuple[int, int, int], float]]:
    """Of each triple, latents whose two assignments agree on all three edges of their decoder path.

    `agreed`: their share of all, `closed`: the share of them whose cycle closes (NaN for none).
    """
    shares: dict[str, dict] = {"agreed": {}, "closed": {}}
    dec, enc = data.decoder, data.encoder
    for i, j, k in data.triples:
        at = dec[i, j]
        edges = (at == enc[i, j]) & (dec[j, k][at] == enc[j, k][at]) & (dec[i, k] == enc[i, k])
        closes = dec[j, k][at] == dec[i, k]
        shares["agreed"][i, j, k] = float(edges.mean())
        shares["closed"][i, j, k] = float(closes[edges].mean()) if edges.any() else float("nan")
    return shares
