"""Where an instance puts the features: rows of its geometry, and what it shares of a reference."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from synthsae_jax.numerics import unit_rows
from synthsae_jax.worlds import dictionary as directions
from synthsae_jax.worlds.instance_config import InstanceConfig, InstanceKeys
from synthsae_jax.worlds.learned import learn_once
from synthsae_jax.worlds.overlap import pair_cosine
from synthsae_jax.worlds.presence import presence
from synthsae_jax.worlds.records import World
from synthsae_jax.worlds.structure import embedding

Array = jax.Array


class Geometry(NamedTuple):
    """Rows of an instance, which features it has, and how they relate to the reference."""

    rows: Array  # [F, D]
    present: Array  # bool [F]
    cosine: Array  # []
    gram_correlation: Array  # []


def init_geometry(keys: InstanceKeys, world: World, config: InstanceConfig) -> Geometry:
    """The geometry of these keys. With sharing t, `t R d + sqrt(1 - t^2) fresh` (PROTOCOL 1)."""
    cosine = correlation = jnp.float32(jnp.nan)
    present = _presence(world.replace(config=None, seed=None), config.shared)
    learned = config.geometry == "learned"
    rows = reference = None
    if config.sharing < 1:
        rows, represented = _draw(keys.directions, world, config, config.hidden_dim, present)
        present = present & represented
    if config.sharing > 0 or learned:
        reference, represented = _reference(world, config)
    if config.sharing > 0:
        turned = reference
        if config.rotate:
            turned = _rotate(keys.rotation, reference, config.hidden_dim)
        rows = turned if config.sharing == 1 else directions.mix(turned, rows, config.sharing)
        present = present & represented
        cosine, correlation = _relation(rows, turned, reference)
    if learned:
        correlation = _common(rows, reference, present & represented)
    return Geometry(rows, present, cosine, correlation)


def second_rows(keys: InstanceKeys, world: World, config: InstanceConfig, rows: Array) -> Array:
    """A second unit direction for each of `rows`, orthogonal to it and shared as they are."""
    n = world.n_features
    second = directions.random_rows(jax.random.fold_in(keys.directions, 3), n, config.hidden_dim)
    if config.sharing > 0:
        key = jax.random.fold_in(jax.random.wrap_key_data(world.geometry_key), 4)
        reference = directions.random_rows(key, n, config.reference_dim or config.hidden_dim)
        if config.rotate:
            reference = _rotate(keys.rotation, reference, config.hidden_dim)
        second = directions.mix(reference, second, config.sharing)
    along = jnp.sum(second * rows, axis=-1, keepdims=True)
    return unit_rows(second - along * rows)


def _reference(world: World, config: InstanceConfig) -> tuple[Array, Array]:
    """The world's reference dictionary, and which of its rows stand for a feature."""
    # What is folded into a world's geometry key: 0 presence, 1 reference rows, 2 embedding
    # (`structure`), 3 what toy models share (`learned`), 4 second directions.
    key = jax.random.fold_in(jax.random.wrap_key_data(world.geometry_key), 1)
    dim = config.reference_dim or config.hidden_dim
    if config.geometry != "learned":
        return _draw(key, world, config, dim, None)
    # twins have a model of their own, as unrelated to the first as two models are
    parts = [
        _learn(key if copy == 0 else jax.random.fold_in(key, 3 + copy), world, config, dim)
        for copy in range(world.copies)
    ]
    rows, represented = zip(*parts)
    return jnp.concatenate(rows), jnp.concatenate(represented)


def _draw(
    key: Array, world: World, config: InstanceConfig, dim: int, present: Array | None
) -> tuple[Array, Array]:
    n = world.n_features
    everything = jnp.ones(n, bool)
    if config.geometry == "learned":
        # a model has one of each feature and its twin, and they have equal statistics, so one
        # model of the plain world serves; what it lacks points somewhere
        rows, represented = (
            jnp.concatenate([x] * world.copies) for x in _learn(key, world, config, dim)
        )
        if world.copies > 1:
            other = directions.random_rows(jax.random.fold_in(key, 2), n, dim)
            rows = jnp.where(present[:, None], rows, other)
        return rows, represented
    if config.geometry == "structured":
        return directions.structured_rows(key, embedding(world), dim, config.structure), everything
    if config.geometry == "anisotropic":
        rows = directions.anisotropic_rows(key, n, dim, config.mean_share, config.spectrum_power)
        return rows, everything
    if config.geometry == "orthogonal":
        return _orthogonal(key, n, dim), everything
    rows = directions.random_rows(key, n, dim)
    if config.overlap is not None:
        return _paired(
            jax.random.fold_in(key, 2), rows, pair_cosine(n, dim, config.overlap)
        ), everything
    if config.orthogonalize_steps:
        rows = _orthogonalize(rows, config.orthogonalize_steps, config.orthogonalize_lr)
    return rows, everything


def _learn(key: Array, world: World, config: InstanceConfig, dim: int) -> tuple[Array, Array]:
    """Unit rows of a toy model [F_base, D], and which of them it really has."""
    model = learn_once(key, world, dim, config.learned)
    return unit_rows(model.rows), model.norms >= config.learned.least_norm


# The pieces of an instance, compiled apart: each serves every config of the same shapes, which one
# program per config would not, and op by op they would take many times as long to start.
_orthogonalize = functools.partial(jax.jit, static_argnums=1)(directions.orthogonalize)
_orthogonal = functools.partial(jax.jit, static_argnums=(1, 2))(directions.orthogonal_rows)
_paired = jax.jit(directions.paired_rows)
_presence = jax.jit(presence)
_common = jax.jit(directions.gram_correlation)


@functools.partial(jax.jit, static_argnums=2)
def _rotate(key: Array, rows: Array, dim: int) -> Array:
    turn = directions.random_isometry(key, rows.shape[1], dim)
    return unit_rows(directions.rotate(rows, turn))


@jax.jit
def _relation(rows: Array, turned: Array, reference: Array) -> tuple[Array, Array]:
    cosine = jnp.mean(jnp.sum(rows * turned, axis=-1))
    return cosine, directions.gram_correlation(rows, reference)
