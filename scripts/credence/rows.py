"""From the cells of the calibrated matcher's data to rows: a latent, its best candidate, the truth.

One row is a living latent of one SAE against all living latents of another: the best score, the
best among the latents that track the same feature, the best among the others, and whether the
best of all is right, under each truth method. Numpy on the host.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import csr_array

from credence.cells import CellData
from credence.worlds import ONE_SPACE, ZERO_MEMBER
from synthsae_jax.matching.credence_laws import Context, profile

FORMS = ("activation_pearson", "decoder_cosine", "activation_and_decoder", "weights")
LEAST_FIRINGS = 5


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of many pairs, one array each; `[N]`, with truth `[T, N]`."""

    unit: np.ndarray  # str: the world
    kind: np.ndarray  # str: the condition
    latent: np.ndarray  # of the row
    n_tokens: np.ndarray
    candidates: np.ndarray  # M: living latents of the other SAE
    dim: np.ndarray  # D
    others: np.ndarray  # [G, N]: firings of groups of the candidates
    firings: np.ndarray  # of the row's latent
    best: np.ndarray  # score of the best candidate
    best_firings: np.ndarray
    second: np.ndarray  # score of the runner-up
    mutual: np.ndarray  # bool: the row's latent is its best candidate's best, too
    right: np.ndarray  # bool [T, N]: the best candidate tracks the row's feature
    same: np.ndarray  # [T, N]: best score among candidates that do; NaN: there is none
    same_firings: np.ndarray  # [T, N]
    other: np.ndarray  # [T, N]: best score among candidates that do not

    def __len__(self) -> int:
        return self.best.size

    def context(self) -> Context:
        """What the laws are told of each row."""
        n = np.float64
        return Context(
            self.firings.astype(n),
            self.others.T.astype(n),
            self.n_tokens.astype(n),
            self.candidates.astype(n),
            self.dim.astype(n),
        )

    def take(self, where: np.ndarray) -> Rows:
        """Some of the rows: a mask or indices."""
        pick = lambda v: v[..., where]
        return Rows(**{f.name: pick(getattr(self, f.name)) for f in dataclasses.fields(self)})


def join(parts: Sequence[Rows]) -> Rows:
    """All rows of the parts, in order."""
    return Rows(
        **{
            f.name: np.concatenate([getattr(p, f.name) for p in parts], axis=-1)
            for f in dataclasses.fields(Rows)
        }
    )


def pearson(a: csr_array, b: csr_array) -> np.ndarray:
    """Pearson correlation of sparse codes on the same tokens, `[L_a, L_b]`; 0 for a dead one."""
    n = a.shape[0]
    sums = [np.asarray(x.sum(0), np.float64) for x in (a, b)]
    squares = [np.asarray(x.multiply(x).sum(0), np.float64) for x in (a, b)]
    cross = np.asarray((a.T @ b).todense(), np.float64) - np.outer(*sums) / n
    spread = [np.sqrt(np.maximum(q - s * s / n, 0)) for q, s in zip(squares, sums)]
    scale = np.outer(*spread)
    return np.divide(cross, scale, out=np.zeros_like(cross), where=scale > 0)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of rows; 0 for a zero one."""
    return unit_rows(a) @ unit_rows(b).T


def unit_rows(v: np.ndarray) -> np.ndarray:
    """Rows at length 1, float64; a zero one stays."""
    return (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12)).astype(np.float64)


def form_scores(
    cell: CellData, a: tuple, b: tuple, codes_a: csr_array, codes_b: csr_array
) -> dict[str, np.ndarray]:
    """Scores `[L_a, L_b]` of every form for two SAEs (member, snapshot), in one space or not."""
    together = pearson(codes_a, codes_b)
    decoder = cosine(cell.W_dec[a], cell.W_dec[b])
    return {
        "activation_pearson": together,
        "decoder_cosine": decoder,
        "activation_and_decoder": (decoder + together) / 2,
        "weights": (decoder + cosine(cell.W_enc[a], cell.W_enc[b])) / 2,
    }


def fired(codes: csr_array) -> np.ndarray:
    """On how many tokens each latent fires, int `[L]`."""
    return np.bincount(codes.indices[codes.data != 0], minlength=codes.shape[1])


def rows_of(
    scores: np.ndarray,
    truth_a: np.ndarray,
    truth_b: np.ndarray,
    fired_a: np.ndarray,
    fired_b: np.ndarray,
    *,
    n_tokens: int,
    dim: int,
    unit: str,
    kind: str,
) -> Rows:
    """Rows of one ordered pair: `scores [L_a, L_b]`, truth maps `[T, L]`, firings `[L]`."""
    alive = fired_b > 0
    keep = np.flatnonzero(fired_a >= LEAST_FIRINGS)
    full = np.where(alive, scores, -np.inf)
    column_best = np.where(fired_a[:, None] > 0, full, -np.inf).argmax(0)
    s = full[keep]
    best_at = s.argmax(1)
    row = np.arange(keep.size)
    second = np.partition(s, -2, axis=1)[:, -2]
    right, same, same_fired, other = [], [], [], []
    for of_a, of_b in zip(truth_a, truth_b):
        equal = (of_a[keep][:, None] == of_b) & (of_a[keep] >= 0)[:, None] & alive
        of_same = np.where(equal, s, -np.inf)
        at = of_same.argmax(1)
        found = of_same[row, at]
        same.append(np.where(np.isfinite(found), found, np.nan))
        same_fired.append(fired_b[at])
        other.append(np.where(equal, -np.inf, s).max(1))
        right.append(equal[row, best_at])
    n = keep.size
    return Rows(
        unit=np.full(n, unit),
        kind=np.full(n, kind),
        latent=keep,
        n_tokens=np.full(n, n_tokens),
        candidates=np.full(n, int(alive.sum())),
        dim=np.full(n, dim),
        others=np.repeat(profile(fired_b)[:, None], n, axis=1).astype(np.float32),
        firings=fired_a[keep],
        best=s[row, best_at],
        best_firings=fired_b[best_at],
        second=second,
        mutual=column_best[best_at] == keep,
        right=np.stack(right),
        same=np.stack(same),
        same_firings=np.stack(same_fired),
        other=np.stack(other),
    )


def views(cell: CellData, lengths: Sequence[int]) -> Iterator[tuple]:
    """Ordered pairs of one world: (kind, one space?, [(SAE, codes)] of both sides)."""
    last = cell.truth.shape[2] - 1
    members = cell.truth.shape[1]
    for n in lengths:
        for a in range(members):
            for b in range(members):
                # ZERO reads its own features on other tokens: below
                if a == b or ZERO_MEMBER in (a, b):
                    continue
                for s in range(last + 1):
                    yield _view(
                        cell, "shared", (a, s), (b, s), cell.codes[a][s], cell.codes[b][s], n
                    )
                yield _view(
                    cell, "shared", (a, last), (b, 0), cell.codes[a][last], cell.codes[b][0], n
                )
        for kind, codes in (("coupled", cell.coupled), ("apart", cell.apart)):
            if n > codes[0][0].shape[0]:
                continue
            for s in range(last + 1):
                for a, b in ((0, 1), (1, 0)):
                    who = (0, ZERO_MEMBER)
                    yield _view(cell, kind, (who[a], s), (who[b], s), codes[a][s], codes[b][s], n)


def _view(cell, kind, a, b, codes_a, codes_b, n):
    n = min(n, codes_a.shape[0])
    name = f"{kind}:{a[0]}-{b[0]}:{a[1]}{b[1]}"
    return name, a[0] in ONE_SPACE and b[0] in ONE_SPACE, a, b, codes_a[:n], codes_b[:n]


def cell_rows(cell: CellData, lengths: Sequence[int]) -> dict[str, Rows]:
    """The rows of every form that applies, over all ordered pairs of a world."""
    parts: dict[str, list[Rows]] = {form: [] for form in FORMS}
    dim = cell.W_dec.shape[-1]
    for name, one_space, a, b, codes_a, codes_b in views(cell, lengths):
        fired_a, fired_b = fired(codes_a), fired(codes_b)
        if (fired_b > 0).sum() < 2 or (fired_a >= LEAST_FIRINGS).sum() < 2:
            continue
        scores = form_scores(cell, a, b, codes_a, codes_b)
        for form, matrix in scores.items():
            if form != FORMS[0] and not one_space:
                continue
            parts[form].append(
                rows_of(
                    matrix,
                    cell.truth[:, a[0], a[1]],
                    cell.truth[:, b[0], b[1]],
                    fired_a,
                    fired_b,
                    n_tokens=codes_a.shape[0],
                    dim=dim,
                    unit=cell.name,
                    kind=name,
                )
            )
    return {form: join(p) for form, p in parts.items() if p}
