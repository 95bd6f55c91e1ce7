"""Nine real SAEs of one model, by their published assignments alone: what agrees without truth.

The file holds, for pairs of SAEs that differ in their seed, the optimal assignment of latents by
decoder cosine and that by encoder cosine (arXiv 2501.16615; EleutherAI/sae_overlap, Apache-2.0).
Cosines are not in it, so nothing here depends on a threshold: an assignment that says the same by
both weights, or along every route, is what counts. Numpy on the host.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.io.arrays import open_arrays
from synthsae_jax.io.numpy_files import NPZ
from synthsae_jax.matching import Matching, match_many
from synthsae_jax.matching.multiway import reappearance
from synthsae_jax.matching.seed_assignments import (
    KINDS,
    Assignments,
    Pair,
    agreed_cycles,
    agreement,
    cycles,
)

FILE = "assignments.npz"
# measured on the published file, of 35 pairs and 77 triples of its nine seeds
KNOWN = {"decoder_cycles": 0.52, "decoder_encoder_agreement": 0.80}


def load(folder: str | os.PathLike[str]) -> Assignments:
    """The assignments in a folder's `assignments.npz`, or in that file itself.

    Every array must be a permutation of the same number of latents, and a pair must be there by
    decoder and by encoder.
    """
    path = Path(folder)
    path = path / FILE if path.is_dir() else path
    require(path.is_file(), f"no {FILE} at {path}.")
    found: dict[str, dict[Pair, np.ndarray]] = {kind: {} for kind in KINDS}
    with open_arrays(path, NPZ) as arrays:
        for name in arrays:
            said = re.fullmatch(r"(decoder|encoder)_(\d+)_(\d+)", name)
            require(
                said is not None and int(said[2]) < int(said[3]),
                f"{path}: arrays are named decoder_i_j or encoder_i_j with i < j; given {name!r}.",
            )
            assert said is not None
            found[said[1]][int(said[2]), int(said[3])] = arrays[name].read().astype(np.int32)
    decoder, encoder = (found[kind] for kind in KINDS)
    alone = sorted(decoder.keys() ^ encoder.keys())
    require(
        bool(decoder) and not alone,
        f"{path}: pairs are there by decoder and by encoder; {alone[:1] or 'none'} is not.",
    )
    width = len(next(iter(decoder.values())))
    for kind, pairs in found.items():
        for (i, j), to in pairs.items():
            once = to.shape == (width,) and np.array_equal(np.sort(to), np.arange(width))
            require(once, f"{path}: {kind}_{i}_{j} is no permutation of {width} latents.")
    seeds = tuple(sorted({s for pair in decoder for s in pair}))
    return Assignments(seeds, width, decoder, encoder)


def support(data: Assignments) -> dict[Pair, tuple[np.ndarray, int]]:
    """For each decoder pair i -> j, int `[L]` third seeds that lead there too, and of how many.

    A third seed k counts for latent a if i -> k -> j ends at the partner of i -> j.
    """
    to = data.both_ways("decoder")
    found = {}
    for i, j in to:
        thirds = [k for k in data.seeds if k not in (i, j) and (i, k) in to and (k, j) in to]
        count = np.zeros(data.width, np.int32)
        for k in thirds:
            count += to[k, j][to[i, k]] == to[i, j]
        found[i, j] = count, len(thirds)
    return found


def returns_by_cycles(data: Assignments, share: float) -> dict[int, np.ndarray]:
    """In how many other seeds each latent of a seed returns, int `[L]` per seed.

    It returns in seed j if more than `share` of the third seeds lead to the same latent of j as
    the direct assignment does (0: one is enough, .5: most). A missing pair counts as no return.
    """
    counts = {s: np.zeros(data.width, np.int32) for s in data.seeds}
    for (i, _), (count, thirds) in support(data).items():
        counts[i] += count > share * thirds
    return counts


def group(data: Assignments, share: float | None = None) -> list[np.ndarray]:
    """One registry of the latents of all seeds: the group of each, int32 `[L]` per seed, -1: none.

    `match_many` (union-find that lets no group have two latents of one seed) over the pairs that
    decoder and encoder both make, those first that most third seeds lead to as well. One pair is
    enough to join two groups; with `share` only pairs count to which more than that share of the
    third seeds leads.
    """
    place = {s: n for n, s in enumerate(data.seeds)}
    backed = support(data)
    pairwise = {}
    for (i, j), to in data.decoder.items():
        count, thirds = backed[i, j]
        pairwise[place[i], place[j]] = Matching(
            row=np.arange(data.width, dtype=np.int32),
            col=to,
            score=(count / max(thirds, 1)).astype(np.float32),
            valid=(to == data.encoder[i, j]) & (True if share is None else count > share * thirds),
        )
    return match_many(pairwise, [data.width] * len(data.seeds))


def analyse(data: Assignments) -> dict[str, Any]:
    """All numbers of this file, ready for JSON: shares, how they vary, and counts of returns."""
    by_agreed = agreed_cycles(data)
    others = len(data.seeds) - 1
    in_groups = lambda share: [
        np.rint(r * others).astype(int) for r in reappearance(group(data, share))
    ]
    by_groups, by_backed = in_groups(None), in_groups(0.5)
    by_any, by_most = (returns_by_cycles(data, share) for share in (0.0, 0.5))
    whole = [data.seeds.index(s) for s in data.complete]
    of_whole = lambda counts: _returns([counts[data.seeds[n]] for n in whole], others)
    return {
        "seeds": list(data.seeds),
        "width": data.width,
        "pairs": len(data.decoder),
        "triples": len(data.triples),
        "chance_of_a_cycle": 1 / data.width,
        "decoder_cycles": _spread(cycles(data, "decoder")),
        "encoder_cycles": _spread(cycles(data, "encoder")),
        "decoder_encoder_agreement": _spread(agreement(data)),
        "agreed_on_all_edges": _spread(by_agreed["agreed"]),
        "cycle_closes_where_agreed": _spread(by_agreed["closed"]),
        "returns": {
            "of_seeds": list(data.complete),
            "groups": _returns([by_groups[n] for n in whole], others),
            "groups_of_backed_pairs": _returns([by_backed[n] for n in whole], others),
            "one_third_seed_agrees": of_whole(by_any),
            "most_third_seeds_agree": of_whole(by_most),
        },
    }


def _spread(values: Mapping[tuple[int, ...], float]) -> dict[str, Any]:
    """Mean, sd and range over pairs or triples, and each of them under "i-j-k"; None: undefined."""
    v = np.array(list(values.values()), np.float64)
    v = v[~np.isnan(v)]
    summary = {"mean": v.mean(), "sd": v.std(ddof=1)} if v.size > 1 else {"mean": None, "sd": None}
    ends = {"least": v.min(), "most": v.max()} if v.size else {"least": None, "most": None}
    rounded = lambda x: None if x is None or np.isnan(x) else round(float(x), 5)
    each = {"-".join(map(str, name)): rounded(value) for name, value in values.items()}
    return {**{k: rounded(x) for k, x in {**summary, **ends}.items()}, "each": each}


def _returns(counts: list[np.ndarray], others: int) -> dict[str, Any]:
    """Share of latents that return in exactly 0, 1, ... of the other seeds, and over the seeds."""
    require(bool(counts), "no seed has its assignments to all others.")
    shares = np.stack([np.bincount(c, minlength=others + 1) / c.size for c in counts])
    return {
        "share_by_count": [round(float(x), 5) for x in shares.mean(0)],
        "least_over_seeds": [round(float(x), 5) for x in shares.min(0)],
        "most_over_seeds": [round(float(x), 5) for x in shares.max(0)],
        "mean_share_of_others": round(float((shares.mean(0) @ np.arange(others + 1)) / others), 5),
    }
