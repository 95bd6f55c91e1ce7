"""One batch of an instance's data: its codes and its activations, from one key."""

from __future__ import annotations

import jax

from synthsae_jax.modes import fixed
from synthsae_jax.worlds.codes import embed, observe
from synthsae_jax.worlds.records import Codes, Instance, World
from synthsae_jax.worlds.sample import sample_codes

Array = jax.Array
_TOKENS = 0x70C3  # folded into a key for what belongs to the tokens, not to who reads them


@fixed
def draw(key: Array, world: World, instance: Instance, n: int) -> tuple[Codes, Array]:
    """`n` tokens as this instance has them: own codes (its truth) and activations [n, D].

    Instances given the same key see the same parent codes token by token; what is random in an
    instance (drops, noise) is its own.
    """
    key_codes, key_instance = stream_keys(key)
    return see(key_instance, instance, sample_codes(key_codes, world, n))


def stream_keys(key: Array) -> tuple[Array, Array]:
    """The two keys of `draw`: for the parent codes, and for what `see` adds to them."""
    return jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)


@fixed
def see(key: Array, instance: Instance, parent: Codes) -> tuple[Codes, Array]:
    """Own codes `[n, K]` and activations `[n, D]` of an instance that reads these parent codes."""
    tokens = None if instance.departure is None else jax.random.fold_in(key, _TOKENS)
    key = jax.random.fold_in(key, instance.stream)
    codes = observe(instance, parent, jax.random.fold_in(key, 0))
    return codes, embed(instance, codes, jax.random.fold_in(key, 1), tokens)
