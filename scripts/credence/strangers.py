"""Rows of one pair among ever more strangers: how a latent fares among as many as real SAEs have.

Strangers are unrelated beyond doubt: codes of SAEs of other worlds on other tokens, and random
directions, which is what unrelated decoders are. They come in blocks, of which only each row's best
two are kept, so that 131,072 of them fit.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import csr_array, vstack

from credence.cells import CellData
from credence.rows import (
    FORMS,
    Rows,
    fired,
    form_scores,
    join,
    pearson,
    rows_of,
    unit_rows,
)
from synthsae_jax.matching.credence_laws import profile

_BLOCK = 16_384


@dataclasses.dataclass
class Best:
    """Each row's best two of the strangers so far, and what is told of the best."""

    first: np.ndarray  # float64 [L_a]
    second: np.ndarray
    firings: np.ndarray  # of the best
    mutual: np.ndarray  # bool: no other row scores higher with it

    @classmethod
    def none(cls, rows: int) -> Best:
        """Before any."""
        low = np.full(rows, -np.inf)
        return cls(low, low.copy(), np.zeros(rows, np.int64), np.zeros(rows, bool))

    def meet(self, scores: np.ndarray, firings: np.ndarray, living: np.ndarray) -> None:
        """More of them: `scores [L_a, W]`; of the rows only `living` ones compete for a column."""
        rows = np.arange(self.first.size)
        at = scores.argmax(1)
        first = scores[rows, at]
        rest = np.partition(scores, -2, axis=1)[:, -2] if scores.shape[1] > 1 else -np.inf
        new = first > self.first
        self.second = np.where(new, np.maximum(self.first, rest), np.maximum(self.second, first))
        winner = np.where(living[:, None], scores[:, at], -np.inf).argmax(0)
        self.firings = np.where(new, firings[at], self.firings)
        self.mutual = np.where(new, winner == rows, self.mutual)
        self.first = np.maximum(self.first, first)

    def join(self, rows: Rows, n_strangers: int, others: np.ndarray) -> Rows:
        """The rows of the pair alone, with these strangers among the candidates."""
        far, second, firings, mutual = (
            v[rows.latent] for v in (self.first, self.second, self.firings, self.mutual)
        )
        won = far > rows.best
        return dataclasses.replace(
            rows,
            candidates=rows.candidates + n_strangers,
            others=np.repeat(profile(others)[:, None], len(rows), axis=1).astype(np.float32),
            best=np.maximum(rows.best, far),
            best_firings=np.where(won, firings, rows.best_firings),
            second=np.where(won, np.maximum(rows.best, second), np.maximum(rows.second, far)),
            mutual=np.where(won, mutual, rows.mutual),
            right=rows.right & ~won,
            other=np.maximum(rows.other, far),
        )


def padded_rows(
    cell: CellData, strangers: csr_array, sizes: Sequence[int], seed: int = 0
) -> dict[str, Rows]:
    """Rows of every form of A and its seed among `sizes` candidates, for each size they exceed.

    `strangers`: codes `[n, W]` of unrelated latents. They are told on the first n tokens of the
    cell, and where W do not suffice taken again on shifted tokens: tokens are independent, so that
    makes other strangers of them.
    """
    n, last = strangers.shape[0], cell.truth.shape[2] - 1
    own, other = (cell.codes[i][last][:n] for i in (0, 1))
    fired_own, fired_other = fired(own), fired(other)
    alone = int((fired_other > 0).sum())
    wanted = sorted(size - alone for size in sizes if size > alone)
    if not wanted or alone < 2:
        return {}
    scores = form_scores(cell, (0, last), (1, last), own, other)
    told = {
        form: rows_of(
            matrix,
            cell.truth[:, 0, last],
            cell.truth[:, 1, last],
            fired_own,
            fired_other,
            n_tokens=n,
            dim=cell.W_dec.shape[-1],
            unit=cell.name,
            kind="",
        )
        for form, matrix in scores.items()
    }
    direction = unit_rows(cell.W_dec[0, last]).astype(np.float32)
    rng, best = np.random.default_rng(seed), {form: Best.none(own.shape[1]) for form in FORMS}
    parts: dict[str, list[Rows]] = {form: [] for form in FORMS}
    firings, met = [fired_other], 0
    for codes in _blocks(strangers, wanted):
        firings.append(fired(codes))
        drawn = unit_rows(rng.normal(size=(codes.shape[1], direction.shape[1])))
        together, cosine = pearson(own, codes), direction @ drawn.T.astype(np.float32)
        # a stranger's encoder is taken to point where its decoder does: less alike ones reach less
        far = {
            "activation_pearson": together,
            "decoder_cosine": cosine,
            "activation_and_decoder": (together + cosine) / 2,
            "weights": cosine,
        }
        met += codes.shape[1]
        for form in FORMS:
            best[form].meet(far[form], firings[-1], fired_own > 0)
            if met in wanted:
                rows = best[form].join(told[form], met, np.concatenate(firings))
                kind = f"among-{met + alone}:0-1:{last}{last}"
                parts[form].append(dataclasses.replace(rows, kind=np.full(len(rows), kind)))
    return {form: join(p) for form, p in parts.items()}


def _blocks(strangers: csr_array, wanted: Sequence[int]) -> Iterator[csr_array]:
    """Living strangers in blocks that end at each number wanted, shifted anew after each round."""
    living = strangers[:, np.flatnonzero(fired(strangers) > 0)]
    n, width = living.shape
    rounds = -(-wanted[-1] // width)
    ends = sorted({*wanted, *range(0, wanted[-1], _BLOCK), *(width * i for i in range(rounds))})
    shifted, turn = living, 0
    for start, end in itertools.pairwise(ends):
        if start // width != turn:
            turn = start // width
            by = n * turn // rounds
            shifted = csr_array(vstack([living[by:], living[:by]], format="csr"))
        first = start - turn * width
        yield shifted[:, first : first + end - start]
