"""What one can know of latents and SAEs without the truth, for proxies@1."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse

from synthsae_jax import matching, metrics
from synthsae_jax.experiments.proxies.setting import (
    CORRELATION,
    CREDENCE,
    DECODER,
    FROM_SEEDS,
    SAME_CODE,
    SAME_COSINE,
)
from synthsae_jax.matching.universality import universality_credence
from synthsae_jax.numerics import firings, is_alive, unit_rows
from synthsae_jax.suite.reading import Subject

Csr = sparse.csr_matrix


@dataclasses.dataclass(frozen=True)
class Seen:
    """One SAE on the match stream, and what is true of its latents (not for proxies)."""

    subject: Subject
    latents: Csr  # [n, L]
    true: Mapping[str, np.ndarray]  # bool [L] by what is called true
    numbers: Mapping[str, float]  # "f1" against truth, "explained_variance", "l0"

    @functools.cached_property
    def fired(self) -> np.ndarray:
        """On how many tokens each latent fires, int [L]."""
        return firings(self.latents)

    @property
    def alive(self) -> np.ndarray:
        """bool [L]."""
        return is_alive(self.fired)


def seed_proxies(group: Sequence[Seen]) -> dict[str, list[np.ndarray]]:
    """Every proxy of `FROM_SEEDS`, [L] per SAE of a group of seeds; NaN where it has none."""
    pairs = [(a, b) for a in range(len(group)) for b in range(a + 1, len(group))]
    r = {(a, b): _pearson(group[a], group[b]) for a, b in pairs}
    r |= {(b, a): scores.T for (a, b), scores in r.items()}
    believed = universality_credence([seen.latents for seen in group])
    each = []
    for a, seen in enumerate(group):
        others = [b for b in range(len(group)) if b != a]
        by_cosine = [_by_cosine(seen, group[b]) for b in others]
        each.append(
            {
                DECODER: np.mean([same for _, same in by_cosine], 0),
                "reappearance_codes": np.mean([_mutual(r[a, b]) for b in others], 0),
                "best_cosine": np.mean([best for best, _ in by_cosine], 0),
                CORRELATION: np.mean([_best(r[a, b]) for b in others], 0),
                "cycle": _cycles(r, a, others),
                "encoder_decoder": _encoder_decoder(seen.subject),
                "firing_rate": seen.fired / seen.latents.shape[0],
                CREDENCE: believed[a].reappearance,
            }
        )
    return {name: [of[name] for of in each] for name in FROM_SEEDS}


def witnessed(group: Sequence[Seen], others: Sequence[Seen]) -> list[np.ndarray]:
    """Mean best correlation with the latents of other SAEs, [L] per SAE; NaN without others."""
    if not others:
        return [np.full(seen.fired.size, math.nan) for seen in group]
    return [np.mean([_best(_pearson(seen, other)) for other in others], 0) for seen in group]


def of_saes(group: Sequence[Seen], proxies: Mapping[str, Sequence[np.ndarray]]) -> dict[str, float]:
    """Of a setting, the mean of each proxy over living latents, and what an SAE's loss says."""
    alive = np.concatenate([seen.alive for seen in group])
    means = {}
    for name, of_each in proxies.items():
        values = np.concatenate(of_each)[alive]
        finite = values[np.isfinite(values)]
        means[name] = float(finite.mean()) if finite.size else math.nan
    mean = lambda name: float(np.mean([seen.numbers[name] for seen in group]))
    decoders = [seen.subject.decoder for seen in group]
    cosines = [metrics.mcc(a, b, signed=True) for a, b in itertools.combinations(decoders, 2)]
    return {
        **means,
        "pw_mcc": float(np.mean(cosines)),
        "explained_variance": mean("explained_variance"),
        "low_l0": -mean("l0"),
        "alive": float(alive.mean()),
        "f1": mean("f1"),
    }


def _pearson(a: Seen, b: Seen) -> np.ndarray:
    scores = matching.scores_from_codes(("activation_pearson",), a.latents, b.latents)
    # a dead latent correlates with nothing
    return np.where(np.isfinite(scores["activation_pearson"]), scores["activation_pearson"], -1.0)


def _best(scores: np.ndarray) -> np.ndarray:
    return np.maximum(scores.max(1), 0)


def _mutual(scores: np.ndarray) -> np.ndarray:
    to, back = scores.argmax(1), scores.argmax(0)
    rows = np.arange(len(scores))
    return (back[to] == rows) & (scores[rows, to] >= SAME_CODE)


def _cosine(a: Seen, b: Seen) -> np.ndarray:
    return np.asarray(matching.score("decoder_cosine", a.subject.decoder, b.subject.decoder))


def _by_cosine(a: Seen, b: Seen) -> tuple[np.ndarray, np.ndarray]:
    """Best cosines [L], and who has a partner of cosine .7 in the optimal assignment."""
    cosine = np.where(a.alive[:, None] & b.alive[None], _cosine(a, b), np.nan)
    m = matching.solve("assignment", cosine, SAME_COSINE)
    same = np.zeros(len(cosine), bool)
    same[np.asarray(m.row)[np.asarray(m.valid)]] = True
    return np.where(np.isfinite(cosine), cosine, 0).max(1), same


def _cycles(r: Mapping[tuple[int, int], np.ndarray], a: int, rest: Sequence[int]) -> np.ndarray:
    """Share of the ways round two others that come back to the latent, [L]."""
    back = []
    for b, c in ((b, c) for b in rest for c in rest if b != c):
        step_on = r[b, c].argmax(1)[r[a, b].argmax(1)]
        back.append(r[c, a].argmax(1)[step_on] == np.arange(len(r[a, b])))
    return np.mean(back, 0)


def _encoder_decoder(subject: Subject) -> np.ndarray:
    if subject.encoder is None:
        return np.full(len(subject.decoder), math.nan)
    return np.asarray((unit_rows(subject.encoder) * unit_rows(subject.decoder)).sum(1))
