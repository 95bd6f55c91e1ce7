"""Instances that depart from linearity: begin, change the strength, embed."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from synthsae_jax.errors import ConfigError, require
from synthsae_jax.modes import fixed
from synthsae_jax.numerics import unit_rows
from synthsae_jax.worlds.departures.base import SumOfRows, departures
from synthsae_jax.worlds.records import Departure, Instance, World

Array = jax.Array


@fixed
def depart(
    key: Array, world: World, instance: Instance, name: str, strength: Array | float
) -> Instance:
    """Any linear instance with a departure of this name; second directions come from the key.

    `InstanceConfig(departure=...)` does the same for instances that are drawn, and shares the
    second directions `[F, D]` between instances as far as it shares the first. Vmaps over keys and
    strengths.
    """
    require(
        instance.departure is None,
        "depart takes a linear instance; worlds.with_strength changes the strength of a departure.",
    )
    rows = instance.dictionary
    fresh = jax.random.normal(key, rows.shape)
    along = jnp.sum(fresh * rows, axis=-1, keepdims=True)
    return start(name, world, instance, strength, unit_rows(fresh - along * rows))


def start(
    name: str, world: World, instance: Instance, strength: Array | float, across: Array
) -> Instance:
    """The instance with its departure; `across` [F, D] are unit and orthogonal to its rows."""
    kind = departures[name]
    twins = lambda values: jnp.concatenate([values] * world.copies)
    parent = world.forest.parent
    offset = jnp.arange(world.copies)[:, None] * world.n_base
    departure = Departure(
        strength=jnp.float32(strength),
        rows=instance.dictionary,
        across=across if kind.across else across[:, :0],
        parent=jnp.where(parent[None] >= 0, parent[None] + offset, -1).reshape(-1),
        mean=twins(world.mean),
        std=twins(world.std),
        name=name,
        levels=world.levels,
    )
    return with_strength(instance.replace(departure=departure), strength)


@fixed
def with_strength(instance: Instance, strength: Array | float) -> Instance:
    """The same instance at another strength, with the effective directions that belong to it."""
    departure = _of(instance, "with_strength").replace(strength=jnp.float32(strength))
    rows, _ = _effective(departure)
    # Equal to the bit at strength 0: an average over midpoints is 1 but for rounding.
    rows = jnp.where(departure.strength == 0, departure.rows, rows)
    return instance.replace(departure=departure, dictionary=rows)


@fixed
def linear_share(instance: Instance) -> Array:
    """Share of each feature's squared contributions that lies along its effective direction, [F].

    1 at strength 0: the explained variance that one direction can have of a feature by itself.
    NaN where a departure acts on the sum of features, not on each.
    """
    return _effective(_of(instance, "linear_share"))[1]


def departed(
    instance: Instance, ids: Array, values: Array, token_key: Array | None, sum_of_rows: SumOfRows
) -> Array:
    """Activations without noise of an instance with a departure, [n, D]: its part of `embed`."""
    departure = instance.departure
    kind = departures[departure.name]
    if kind.random and token_key is None:
        raise ConfigError(
            f"embed needs a key: with departure {departure.name!r} features vary from token to "
            "token."
        )
    # ids of empty slots are clipped, their values are 0
    size = values / instance.gain[ids]
    return kind.embed(departure, instance.bias, ids, values, size, token_key, sum_of_rows)


def pick(departure: Departure | None, first: Array) -> Departure | None:
    """A departure over twins [2F, ...] as one over [F, ...], the first copy where `first` says."""
    if departure is None:
        return None
    n = first.shape[0]

    def half(values: Array) -> Array:
        mask = first.reshape(n, *[1] * (values.ndim - 1))
        return jnp.where(mask, values[:n], values[n:])

    parent = half(departure.parent)
    return departure.replace(
        rows=half(departure.rows),
        across=half(departure.across),
        parent=jnp.where(parent >= n, parent - n, parent),
        mean=half(departure.mean),
        std=half(departure.std),
    )


# compiled here because some dozen small steps would each be compiled alone in an eager call
@jax.jit
def _effective(departure: Departure) -> tuple[Array, Array]:
    return departures[departure.name].effective(departure)


def _of(instance: Instance, where: str) -> Departure:
    if instance.departure is None:
        raise ConfigError(f"{where}: this instance has no departure.")
    return instance.departure
