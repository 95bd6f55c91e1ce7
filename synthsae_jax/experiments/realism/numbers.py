"""What is published of SAEs, computed on SAEs of synthetic worlds. Numpy on the host."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from synthsae_jax.matching import seed_assignments
from synthsae_jax.numerics import host_unit_rows, is_alive
from synthsae_jax.stats import defined_mean

SAME = 0.7  # of cosines
_BINS = 20  # of matched cosines, from 0 to 1
_FIFTHS = 5
_FEW_FIRE = f"fewer than {_FIFTHS} latents fire"
# why a number of seeds may be undefined
WHY = {
    "shared": "an SAE without an encoder of its own",
    "cycles": "fewer than three seeds",
    "agreed": "fewer than three seeds",
    "closed": "no latent's assignments agree on all edges between three seeds",
    "pw_mcc_rarest": _FEW_FIRE,
    "pw_mcc_commonest": _FEW_FIRE,
}


@dataclasses.dataclass(frozen=True)
class Assigned:
    """The best one-to-one assignment of the latents of A to those of B by signed cosine, [L]."""

    to: np.ndarray
    cosine: np.ndarray


def assigned(a: np.ndarray, b: np.ndarray) -> Assigned:
    """Rows of `a [L, D]` to rows of `b [L, D]`; a zero row has cosine 0."""
    cosine = cosines(a, b)
    to = linear_sum_assignment(-cosine)[1]
    return Assigned(to, cosine[np.arange(len(to)), to])


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosines of rows, float64 [p, q]."""
    a, b = (host_unit_rows(np.asarray(rows, np.float64)) for rows in (a, b))
    return a @ b.T


def pair_numbers(
    decoders: Sequence[np.ndarray], encoders: Sequence[np.ndarray | None]
) -> dict[str, float]:
    """Means over all pairs of some seeds: `shared` (arXiv 2501.16615) and `pw_mcc` (2505.20254).

    Shared is a latent whose partners by decoder and by encoder are one, at cosines of .7 or more;
    NaN for SAEs without an encoder of their own.
    """
    shared, mean = [], []
    for i, j in itertools.combinations(range(len(decoders)), 2):
        decoder = assigned(decoders[i], decoders[j])
        mean.append(decoder.cosine.mean())
        one, other = encoders[i], encoders[j]
        if one is not None and other is not None:
            shared.append(_shared(decoder, assigned(one, other)).mean())
    average = lambda values: float(np.mean(values)) if values else math.nan
    return {"shared": average(shared), "pw_mcc": average(mean)}


def seed_numbers(
    decoders: Sequence[np.ndarray], encoders: Sequence[np.ndarray], fired: np.ndarray
) -> dict[str, float]:
    """What several seeds of one SAE say together; `fired` int [L]: how often the first one's do.

    `never_matched`: latents of a seed that are shared with no other. `agreement`, `cycles`,
    `agreed`, `closed` as in `matching.seed_assignments`. `pw_mcc_rarest`, `pw_mcc_commonest`: of
    the first seed's latents, by fifths of those that fire. `valley`: see there.
    """
    n, width = len(decoders), len(decoders[0])
    by_decoder: dict[tuple[int, int], Assigned] = {}
    by_encoder: dict[tuple[int, int], Assigned] = {}
    shared: list[float] = []
    again = np.zeros((n, width), bool)
    for i, j in itertools.combinations(range(n), 2):
        decoder = by_decoder[i, j] = assigned(decoders[i], decoders[j])
        encoder = by_encoder[i, j] = assigned(encoders[i], encoders[j])
        same = _shared(decoder, encoder)
        shared.append(same.mean())
        again[i] |= same
        again[j, decoder.to[same]] = True
    maps = [{pair: v.to for pair, v in of.items()} for of in (by_decoder, by_encoder)]
    data = seed_assignments.Assignments(tuple(range(n)), width, *maps)
    three = seed_assignments.agreed_cycles(data)
    from_first = np.mean([v.cosine for (i, _), v in by_decoder.items() if i == 0], 0)
    return {
        "shared": float(np.mean(shared)),
        "pw_mcc": float(np.mean([v.cosine.mean() for v in by_decoder.values()])),
        "never_matched": float(1 - again.mean()),
        "agreement": defined_mean(seed_assignments.agreement(data).values()),
        "cycles": defined_mean(seed_assignments.cycles(data).values()),
        "agreed": defined_mean(three["agreed"].values()),
        "closed": defined_mean(three["closed"].values()),
        "valley": valley(np.concatenate([v.cosine for v in by_decoder.values()])),
        **_by_rate(from_first, fired),
    }


def valley(cosine: np.ndarray) -> float:
    """How far the density between two modes falls below the lower one; 0 for a single mode.

    In units of a flat density over [0, 1], from twenty bins smoothed over three. It stands for the
    dip test of the source: like it, it does not care where the modes are.
    """
    density = np.histogram(np.clip(cosine, 0, 1), _BINS, (0, 1))[0] * _BINS / max(cosine.size, 1)
    smooth = np.convolve(np.pad(density, 1, mode="edge"), np.full(3, 1 / 3), "valid")
    left, right = np.maximum.accumulate(smooth), np.maximum.accumulate(smooth[::-1])[::-1]
    return float((np.minimum(left, right) - smooth).max())


def recovered(decoder: np.ndarray, features: np.ndarray) -> float:
    """Share of features to which some decoder row has an absolute cosine of .7 or more."""
    return float((np.abs(cosines(decoder, features)).max(0) >= SAME).mean())


def novel(wide: np.ndarray, narrow: np.ndarray) -> float:
    """Share of a wider SAE's latents without a decoder row of the narrower one within .7."""
    return float((cosines(wide, narrow).max(1) < SAME).mean())


def best_correlation(r: np.ndarray) -> float:
    """Mean over living latents of B of the best correlation with one of A; `r [L_a, L_b]`."""
    best = np.where(np.isfinite(r), r, -np.inf).max(0)
    alive = np.isfinite(best)
    return float(best[alive].mean()) if alive.any() else math.nan


def _shared(decoder: Assigned, encoder: Assigned) -> np.ndarray:
    near = np.minimum(decoder.cosine, encoder.cosine) >= SAME
    return (decoder.to == encoder.to) & near


def _by_rate(cosine: np.ndarray, fired: np.ndarray) -> dict[str, float]:
    living = np.flatnonzero(is_alive(fired))
    order = living[np.argsort(fired[living], kind="stable")]
    parts = np.array_split(order, _FIFTHS)
    mean = lambda which: float(cosine[which].mean()) if which.size else math.nan
    return {"pw_mcc_rarest": mean(parts[0]), "pw_mcc_commonest": mean(parts[-1])}
