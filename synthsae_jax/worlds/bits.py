"""Random words that belong to a (token, feature) pair, whoever asks for them and in what order.

Each pair owns one block of threefry, so that a sample does not depend on the batch around it, on
the number of slots, or on which features a sampler bothers to look at: gating from the roots down
gives the very codes that drawing every feature would give.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri

Array = jax.Array

# rotation distances and key-schedule constant of threefry-2x32 (Salmon et al. 2011)
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def words(key: Array, tokens: Array, ids: Array) -> tuple[Array, Array]:
    """Two uint32 words for each (token, id), both broadcast: threefry-2x32 of the pair.

    `key` is a typed key. The same function as jax's own hash (Salmon et al. 2011, 20 rounds),
    written out so that XLA fuses the rounds into one pass over the output.
    """
    k0, k1 = jax.random.key_data(key)
    x0, x1 = jnp.broadcast_arrays(tokens.astype(jnp.uint32), ids.astype(jnp.uint32))
    schedule = (k0, k1, k0 ^ k1 ^ jnp.uint32(_PARITY))
    x0, x1 = x0 + schedule[0], x1 + schedule[1]
    for block in range(5):
        for shift in _ROTATIONS[block % 2]:
            x0 = x0 + x1
            x1 = ((x1 << shift) | (x1 >> (32 - shift))) ^ x0
        x0 = x0 + schedule[(block + 1) % 3]
        x1 = x1 + schedule[(block + 2) % 3] + jnp.uint32(block + 1)
    return x0, x1


def normal(word: Array) -> Array:
    """Standard normal from a uint32 word (its 23 high bits, centred, so never infinite)."""
    return ndtri(((word >> 9).astype(jnp.float32) + 0.5) * 2.0**-23)


def uniform(word: Array) -> Array:
    """Uniform in (0, 1) from a uint32 word."""
    return ((word >> 9).astype(jnp.float32) + 0.5) * 2.0**-23


def below(word: Array, probability: Array) -> Array:
    """True with this probability: compares all 32 bits, so rare events keep their rate."""
    # 2^32 does not fit, and 2^32 - 256 is the float32 below it; probability 1 is answered apart
    scaled = jnp.minimum(probability * 2.0**32, 2.0**32 - 256).astype(jnp.uint32)
    return (word < scaled) | (probability >= 1.0)
