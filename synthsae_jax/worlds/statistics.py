"""Statistics of worlds and dictionaries: superposition, correlation, sparsity by level."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.keys import data_key
from synthsae_jax.modes import fixed
from synthsae_jax.numerics import unit_rows
from synthsae_jax.worlds.forest import feature_levels
from synthsae_jax.worlds.records import World
from synthsae_jax.worlds.sample import sample_codes

Array = jax.Array
_BLOCK = 1024


class SuperpositionStatistics(NamedTuple):
    """How much directions overlap, from absolute cosines between different rows."""

    mean_max: float  # mean over features of the largest overlap: rho_mm
    percentile_95: float  # mean over features of the 95th percentile over the others
    percentile_99: float
    mean: float  # over unordered pairs
    largest: float


class CorrelationStatistics(NamedTuple):
    """Off-diagonal entries of the copula's Gaussian correlation."""

    rms: float
    mean: float


@fixed
def superposition_statistics(dictionary: Array) -> SuperpositionStatistics:
    """Overlap of the rows of a dictionary [F, D]; NaN with fewer than two rows.

    rho_mm = (1/F) sum_i max_{j != i} |cos(d_i, d_j)| (SynthSAEBench, arXiv 2602.14687).
    """
    rows = unit_rows(jnp.asarray(dictionary, jnp.float32))
    n = rows.shape[0]
    if n < 2:
        return SuperpositionStatistics(*[math.nan] * 5)
    parts = [
        np.asarray(_overlap_block(rows, start, min(_BLOCK, n - start)), np.float64)
        for start in range(0, n, _BLOCK)
    ]
    best, p95, p99, mean = np.concatenate(parts, axis=1)
    return SuperpositionStatistics(
        *(float(v) for v in (best.mean(), p95.mean(), p99.mean(), mean.mean(), best.max()))
    )


@functools.partial(jax.jit, static_argnums=2)
def _overlap_block(rows: Array, start: int, size: int) -> Array:
    """Largest, two percentiles and mean overlap with the others for some rows, [4, size]."""
    n = rows.shape[0]
    some = jax.lax.dynamic_slice_in_dim(rows, start, size)
    overlap = jnp.abs(jnp.matmul(some, rows.T, precision=jax.lax.Precision.HIGHEST))
    is_itself = jnp.arange(n)[None] == start + jnp.arange(size)[:, None]
    # a row's entry with itself is set below every other, so that it falls off the sorted end
    others = jnp.where(is_itself, -1.0, overlap)
    ordered = jnp.sort(others, axis=-1)[:, 1:]
    quantile = lambda q: jnp.quantile(ordered, q, axis=-1)
    mean = jnp.sum(jnp.where(is_itself, 0.0, overlap), axis=-1) / (n - 1)
    return jnp.stack([ordered[:, -1], quantile(0.95), quantile(0.99), mean])


@fixed
def correlation_statistics(world: World) -> CorrelationStatistics:
    """RMS and mean of the latent Gaussian's off-diagonal correlations; 0 where independent.

    For a low-rank copula from F'F alone, without an F x F matrix.
    """
    n = world.n_base
    if n < 2:
        return CorrelationStatistics(math.nan, math.nan)
    pairs = n * (n - 1)
    loadings = world.cholesky if world.cholesky.shape[-1] else world.factor
    loadings = np.asarray(loadings, np.float64)
    squared = (loadings**2).sum(axis=1)  # what a row has in common with itself
    gram = loadings.T @ loadings
    total = loadings.sum(axis=0)
    squares = (gram**2).sum() - (squared**2).sum()
    return CorrelationStatistics(
        rms=math.sqrt(max(squares, 0.0) / pairs),
        mean=float((total @ total - squared.sum()) / pairs),
    )


@fixed
def measured_l0(world: World, n_samples: int = 20_000, seed: int = 0) -> dict[str, float]:
    """Mean active features of a token: "roots", "level_1", ..., "free" and "total", with its "sd".

    Over `n_samples` tokens; of one copy where the world is a twin registry. `worlds.expected_l0`
    gives the expectations under the same names.
    """
    world = world.replace(copies=1, equal_counts=False)
    level = feature_levels(world.forest)
    roots, free = np.asarray(world.forest.roots), np.asarray(world.forest.free)
    counts = np.zeros(world.n_base + 1)
    totals = []
    for step, size in enumerate(_batches(n_samples)):
        key = jax.random.fold_in(data_key(seed, "pilot"), step)
        ids = np.asarray(sample_codes(key, world, size).indices)
        counts += np.bincount(ids.ravel(), minlength=world.n_base + 1)
        totals.append((ids < world.n_base).sum(axis=1))
    l0 = np.concatenate(totals)
    rates = counts[:-1] / n_samples
    groups = {"roots": roots}
    groups |= {f"level_{i}": np.flatnonzero(level == i) for i in range(1, world.levels + 1)}
    groups |= {"free": free}
    by_group = {name: float(rates[ids].sum()) for name, ids in groups.items()}
    return {**by_group, "total": float(l0.mean()), "sd": float(l0.std())}


def _batches(n: int, size: int = 4096) -> list[int]:
    return [size] * (n // size) + ([n % size] if n % size else [])
