"""Latents of a pair of SAEs that partly agree, as slots: what a matcher is timed on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from scipy import sparse

from synthsae_jax.matching.sparse import LatentSlots

_SAME = 0.8  # share of A's firings that B's partner has too


@dataclasses.dataclass(frozen=True)
class Pair:
    """Slots of both sides on the same tokens; latent i of A belongs to latent `partner[i]` of B."""

    width: int
    partner: np.ndarray  # int32 [L]
    index_a: np.ndarray  # int32 [n, K]: L where the slot is empty
    value_a: np.ndarray  # float32 [n, K]
    index_b: np.ndarray
    value_b: np.ndarray

    @property
    def tokens(self) -> int:
        """Tokens that both read."""
        return len(self.index_a)

    def sides(self, part: slice = slice(None)) -> tuple[LatentSlots, LatentSlots]:
        """Both sides' slots, on the host, of some tokens."""
        of = lambda index, value: LatentSlots(
            indices=index[part], values=value[part], overflow=np.zeros(len(index[part]), bool)
        )
        return of(self.index_a, self.value_a), of(self.index_b, self.value_b)

    def matrices(self, tokens: int) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
        """Both sides as CSR matrices [tokens, L]."""
        a = self._csr(self.index_a[:tokens], self.value_a[:tokens])
        b = self._csr(self.index_b[:tokens], self.value_b[:tokens])
        return a, b

    def _csr(self, index: np.ndarray, value: np.ndarray) -> sparse.csr_matrix:
        filled = value != 0
        ends = np.concatenate([[0], np.cumsum(filled.sum(1))])
        shape = (len(index), self.width)
        return sparse.csr_matrix((value[filled], index[filled], ends), shape=shape)

    def dense(self, tokens: int, batch: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """The first tokens as dense float32 batches [batch, L]."""
        a, b = self.matrices(tokens)
        parts = [slice(i, min(i + batch, tokens)) for i in range(0, tokens, batch)]
        return [(a[p].toarray(), b[p].toarray()) for p in parts]

    def save(self, path: Path, tokens: int) -> None:
        """The first tokens as an .npz, for the peer."""
        np.savez(
            path,
            width=self.width,
            a_indices=self.index_a[:tokens],
            a_values=self.value_a[:tokens],
            b_indices=self.index_b[:tokens],
            b_values=self.value_b[:tokens],
        )


def make_pair(width: int, k: int, tokens: int, seed: int = 0) -> Pair:
    """k firings a token, rates falling with the root of the rank; B redraws a fifth of them."""
    rng = np.random.default_rng(seed)
    rates = np.arange(1, width + 1) ** -0.5
    levels = np.cumsum(rates) / rates.sum()
    draw = lambda: np.searchsorted(levels, rng.random((tokens, k), np.float32)).clip(0, width - 1)
    first = draw()
    partner = rng.permutation(width).astype(np.int32)
    second = partner[np.where(rng.random((tokens, k), np.float32) < _SAME, first, draw())]
    value = lambda: 1 + rng.random((tokens, k), np.float32)
    return Pair(width, partner, *_once(first, value(), width), *_once(second, value(), width))


def _once(index: np.ndarray, value: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A latent drawn twice on a token keeps one slot, the other is empty."""
    index = np.sort(index.astype(np.int32), axis=1)
    again = np.zeros(index.shape, bool)
    again[:, 1:] = index[:, 1:] == index[:, :-1]
    return np.where(again, np.int32(width), index), np.where(again, np.float32(0), value)
