"""What one can know of latents and SAEs without the truth, for proxies@1."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse

from synthsae_jax import matching
from synthsae_jax.matching.universality import universality_credence
from synthsae_jax.suite.study import Subject

Csr = sparse.csr_matrix
SAME_COSINE, SAME_CODE = 0.7, 0.5
PROXIES = (
    "reappearance_decoder",
    "reappearance_codes",
    "best_cosine",
    "best_correlation",
    "cycle",
    "encoder_decoder",
    "firing_rate",
    "universality_credence",
    "best_correlation_architectures",
    "best_correlation_models",
)


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
        return np.asarray((self.latents != 0).sum(0)).ravel()

    @property
    def alive(self) -> np.ndarray:
        """bool [L]."""
        return self.fired > 0


def latent_proxies(
    group: Sequence[Seen], others: Sequence[Seen], models: Sequence[Seen]
) -> list[dict[str, np.ndarray]]:
    """Per SAE of a group of seeds, every proxy [L]; NaN where it has none.

    `others` are SAEs of other architectures on the same model, `models` SAEs on another model.
    """
    r = {(a, b): _pearson(x, y) for a, x in enumerate(group) for b, y in enumerate(group) if a < b}
    r |= {(b, a): s.T for (a, b), s in r.items()}
    believed = universality_credence([seen.latents for seen in group])
    found = []
    for a, seen in enumerate(group):
        rest = [b for b in range(len(group)) if b != a]
        by_cosine = [_by_cosine(seen, group[b]) for b in rest]
        found.append(
            {
                "reappearance_decoder": np.mean([same for _, same in by_cosine], 0),
                "best_cosine": np.mean([best for best, _ in by_cosine], 0),
                "reappearance_codes": np.mean([_mutual(r[a, b]) for b in rest], 0),
                "best_correlation": np.mean([_best(r[a, b]) for b in rest], 0),
                "cycle": _cycles(r, a, rest),
                "encoder_decoder": _encoder_decoder(seen.subject),
                "firing_rate": seen.fired / seen.latents.shape[0],
                "universality_credence": believed[a].reappearance,
                "best_correlation_architectures": _witnesses(seen, others),
                "best_correlation_models": _witnesses(seen, models),
            }
        )
    return found


def sae_proxies(
    group: Sequence[Seen], latents: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, float]:
    """Per setting, the mean of each proxy over living latents, and what an SAE's loss says."""
    alive = np.concatenate([seen.alive for seen in group])
    found = {}
    for name in PROXIES:
        values = np.concatenate([of[name] for of in latents])[alive]
        known = values[np.isfinite(values)]
        found[name] = float(known.mean()) if known.size else math.nan
    cosines = [_assigned(a, b) for i, a in enumerate(group) for j, b in enumerate(group) if i < j]
    return {
        **found,
        "pw_mcc": float(np.mean(cosines)),
        "explained_variance": float(np.mean([s.numbers["explained_variance"] for s in group])),
        "low_l0": -float(np.mean([s.numbers["l0"] for s in group])),
        "alive": float(alive.mean()),
    }


def _pearson(a: Seen, b: Seen) -> np.ndarray:
    found = matching.scores_from_codes(("activation_pearson",), a.latents, b.latents)
    scores = found["activation_pearson"]
    # a dead latent correlates with nothing
    return np.where(np.isfinite(scores), scores, -1.0)


def _best(scores: np.ndarray) -> np.ndarray:
    return np.maximum(scores.max(1), 0)


def _mutual(scores: np.ndarray) -> np.ndarray:
    to, back = scores.argmax(1), scores.argmax(0)
    rows = np.arange(len(scores))
    return (back[to] == rows) & (scores[rows, to] >= SAME_CODE)


def _by_cosine(a: Seen, b: Seen) -> tuple[np.ndarray, np.ndarray]:
    """Best cosines [L], and who has a partner of cosine .7 in the optimal assignment."""
    cosine = np.asarray(matching.score("decoder_cosine", a.subject.decoder, b.subject.decoder))
    cosine = np.where(a.alive[:, None] & b.alive[None], cosine, np.nan)
    found = matching.solve("assignment", cosine, SAME_COSINE)
    same = np.zeros(len(cosine), bool)
    same[np.asarray(found.row)[np.asarray(found.valid)]] = True
    return np.where(np.isfinite(cosine), cosine, 0).max(1), same


def _assigned(a: Seen, b: Seen) -> float:
    cosine = np.asarray(matching.score("decoder_cosine", a.subject.decoder, b.subject.decoder))
    found = matching.solve("assignment", cosine)
    return float(np.asarray(found.score)[np.asarray(found.valid)].mean())


def _cycles(r: Mapping[tuple[int, int], np.ndarray], a: int, rest: Sequence[int]) -> np.ndarray:
    """Share of the ways round two others that come back to the latent; NaN without two others."""
    ways = [(b, c) for b in rest for c in rest if b != c]
    if not ways:
        return np.full(len(r[a, rest[0]]), math.nan)
    back = []
    for b, c in ways:
        there = r[b, c].argmax(1)[r[a, b].argmax(1)]
        back.append(r[c, a].argmax(1)[there] == np.arange(len(r[a, b])))
    return np.mean(back, 0)


def _encoder_decoder(subject: Subject) -> np.ndarray:
    if subject.encoder is None:
        return np.full(len(subject.decoder), math.nan)
    norm = lambda v: np.maximum(np.linalg.norm(v, axis=1), 1e-30)
    dot = (subject.encoder * subject.decoder).sum(1)
    return dot / (norm(subject.encoder) * norm(subject.decoder))


def _witnesses(seen: Seen, others: Sequence[Seen]) -> np.ndarray:
    if not others:
        return np.full(seen.fired.size, math.nan)
    return np.mean([_best(_pearson(seen, other)) for other in others], 0)
