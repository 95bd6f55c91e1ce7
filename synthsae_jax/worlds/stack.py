"""Several worlds or instances as one pytree with a leading axis, ready for vmap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from synthsae_jax.errors import ConfigError, require
from synthsae_jax.worlds.records import Instance, World


class _Needs(NamedTuple):
    """Largest drop, rate jitter and noise among stacked instances."""

    drop: float
    rate_jitter: float
    noise: float


Record = TypeVar("Record", World, Instance)


def stack(records: Sequence[Record]) -> Record:
    """Records of equal shape stacked along a new first axis.

    Worlds take the largest number of slots among them, so nothing overflows that did not before.
    Configurations that differ are dropped (a stack has no single one).
    """
    require(len(records) > 0, "stack needs at least one world or instance.")
    require(len({type(r) for r in records}) == 1, "stack takes worlds or instances, not a mixture.")
    if isinstance(records[0], World):
        lengths = {len(r.slots) for r in records}
        require(len(lengths) == 1, f"stack: worlds differ in depth: {sorted(lengths)} stages.")
        slots = tuple(max(s) for s in zip(*(r.slots for r in records)))
        records = [r.replace(slots=slots, config=None, seed=None) for r in records]
    elif len({r.config for r in records}) > 1:
        records = [r.replace(config=_common(records)) for r in records]
    first = jax.tree.structure(records[0])
    for i, record in enumerate(records[1:], start=1):
        require(
            jax.tree.structure(record) == first,
            f"stack: record {i} differs from record 0 in a choice that cannot vary along an axis.",
        )
    try:
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *records)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"stack: records differ in shape ({error}).") from None


def _common(instances: Sequence[Instance]) -> object:
    """A config that still says which randomness some member needs a key for."""
    configs = [i.config for i in instances if i.config is not None]
    if not configs:
        return None
    worst = {
        name: max(getattr(c, name) for c in configs) for name in ("drop", "rate_jitter", "noise")
    }
    return _Needs(**worst)
