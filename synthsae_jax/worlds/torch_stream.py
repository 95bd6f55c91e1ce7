"""The random numbers that torch draws on a CPU, from the same seed, without torch.

SAELens makes a world's frozen numbers with a seeded torch generator; redrawing them here is what
lets the same config and seed describe the same world in both packages. The generator is MT19937
with Knuth's one-word seeding, which is numpy's legacy seeding; how words become floats is torch's
own. Uniforms agree bit for bit; normals to one or two last places of float32, since every build of
torch has its own logarithm and cosine.
"""

from __future__ import annotations

import numpy as np

# The seed a torch generator has when nobody seeds it (its low 32 bits count)
DEFAULT_SEED = 67280421310721
_BLOCK = 16  # normals come in blocks of 16: eight radii, then eight angles
_TWO_PI = np.float32(2 * np.pi)


class TorchStream:
    """`torch.Generator("cpu").manual_seed(seed)` as an object with `rand` and `randn`.

    Consecutive draws continue the stream, as they do in torch. Any integer is a seed; torch, too,
    looks at the low 32 bits alone.
    """

    def __init__(self, seed: int):
        # the legacy seeding is the point: Generator(MT19937(seed)) would be another stream
        self._state = np.random.RandomState(int(seed) % 2**32)
        self._spare: float | None = None

    def rand(self, *shape: int) -> np.ndarray:
        """Uniforms in [0, 1), float32: the low 24 bits of each word."""
        return self._uniforms(int(np.prod(shape))).reshape(shape)

    def randn(self, *shape: int) -> np.ndarray:
        """Standard normals, float32, by Box and Muller (1958).

        Fewer than 16 at a time take another road in torch: one by one, in double precision, the
        second of a pair being kept for the next call.
        """
        n = int(np.prod(shape))
        draw = self._blocks(n) if n >= _BLOCK else self._singles(n)
        return draw.reshape(shape)

    def _words(self, n: int) -> np.ndarray:
        return self._state.randint(0, 2**32, size=n, dtype=np.uint32)

    def _uniforms(self, n: int) -> np.ndarray:
        return (self._words(n) & 0xFFFFFF).astype(np.float32) * np.float32(2**-24)

    def _blocks(self, n: int) -> np.ndarray:
        uniforms = self._uniforms(n)
        whole = n - n % _BLOCK
        draw = np.empty(n, np.float32)
        draw[:whole] = _box_muller(uniforms[:whole])
        if whole < n:
            # the last 16 are drawn again, over the tail of the block before
            draw[-_BLOCK:] = _box_muller(self._uniforms(_BLOCK))
        return draw

    def _singles(self, n: int) -> np.ndarray:
        draw = np.empty(n, np.float32)
        for i in range(n):
            if self._spare is None:
                high, low = self._words(4).astype(np.uint64).reshape(2, 2).T
                bits = ((high << np.uint64(32)) | low) & np.uint64(2**53 - 1)
                turn, tail = bits.astype(np.float64) * 2.0**-53
                radius = np.sqrt(-2 * np.log1p(-tail))
                draw[i] = radius * np.cos(2 * np.pi * turn)
                self._spare = radius * np.sin(2 * np.pi * turn)
            else:
                draw[i], self._spare = self._spare, None
        return draw


def _box_muller(uniforms: np.ndarray) -> np.ndarray:
    """Blocks of 16 uniforms made normal. The angle is rounded to float32, as torch does."""
    first, second = np.moveaxis(uniforms.reshape(-1, 2, _BLOCK // 2), 1, 0)
    radius = np.sqrt(-2 * np.log((np.float32(1) - first).astype(np.float64)))
    angle = (_TWO_PI * second).astype(np.float64)
    pair = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pair.astype(np.float32).reshape(-1)
