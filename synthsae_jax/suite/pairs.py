"""Two SAEs on paired tokens: what truth says of each, and how their latents correlate.

Three uses of parent codes from three disjoint streams: truth (each latent against the true
features), match (the latents of A against those of B), calibrate (activations, for alignment).
Codes are drawn in blocks apart from what reads them, so that an SAE's pass compiles once for all
ways in which twins are coupled.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax import keys
from synthsae_jax.matching import CoMoments, PairCounts, TruthCounts, truth_from_counts
from synthsae_jax.matching.alignment import procrustes_from_covariance
from synthsae_jax.numerics import is_alive
from synthsae_jax.suite.drawn import Recent
from synthsae_jax.worlds import (
    Codes,
    Instance,
    World,
    densify,
    raise_on_overflow,
    sample_codes,
    see,
)
from synthsae_jax.worlds.inputs import bare

Array = jax.Array
_BATCH = 1024
_BLOCK = 8  # batches drawn at once
BLOCK_TOKENS = _BATCH * _BLOCK
# drawing costs more than an SAE's pass in a small world; large worlds' blocks just don't fit
_drawn: Recent[Codes] = Recent(2**27)


def truth_counts(
    reconstruct: Any, world: World, instances: Instance, runs: Any, n_samples: int, seed: int
) -> TruthCounts:
    """How latents and true features fire together: stacked instances, runs [I, R], one world.

    `reconstruct(run, codes, x) -> (latents, x_hat)` as in `metrics.evaluate`.
    """
    instances = bare(instances)
    return functools.reduce(
        TruthCounts.merge,
        (
            _truth_block(reconstruct, world.n_features, key, parents, instances, runs)
            for key, parents in parent_codes(world, n_samples, seed, "truth")
        ),
    )


@functools.partial(jax.jit, static_argnums=0)
def truth_maps(
    method: str, W_dec: Array, counts: TruthCounts, instances: Instance, cosine: float, f1: float
) -> Array:
    """The truth maps int32 [I, R, L] of runs by one method, from their `truth_counts`."""

    def of_run(W_dec, counts, instance):
        return truth_from_counts(
            W_dec,
            counts,
            instance.dictionary,
            method,
            cosine=cosine,
            f1=f1,
            present=instance.present,
        )

    return jax.vmap(jax.vmap(of_run, in_axes=(0, 0, None)))(W_dec, counts, instances)


def pair_counts(
    reconstruct: Any,
    world: World,
    a: Instance,
    b: Instance,
    runs_a: Any,
    runs_b: Any,
    n_samples: int,
    seed: int,
) -> PairCounts:
    """How latents of A and of B go together on paired tokens: run i of A against run i of B."""
    a, b = bare(a), bare(b)
    return functools.reduce(
        _merge_pairs,
        (
            _pair_block(reconstruct, key, parents, a, b, runs_a, runs_b)
            for key, parents in parent_codes(world, n_samples, seed, "match")
        ),
    )


def rotation(world: World, a: Instance, b: Instance, n_samples: int, seed: int) -> Array:
    """The rotation [D_b, D_a] that best maps B's activations onto A's (Procrustes)."""
    a, b = bare(a), bare(b)
    blocks = (
        _moments_block(key, parents, a, b)
        for key, parents in parent_codes(world, n_samples, seed, "calibrate")
    )
    return procrustes_from_covariance(functools.reduce(CoMoments.merge, blocks).cross)


def parent_codes(
    world: World, n_samples: int, seed: int, stream: str
) -> Iterator[tuple[Array, Codes]]:
    """Blocks of parent codes [8, 1024, K], each with the key of what instances add to them."""
    plain = bare(world)
    for block in range(math.ceil(n_samples / BLOCK_TOKENS)):
        key = jax.random.fold_in(keys.data_key(seed, stream), block)

        def draw(key=key):
            parents = _draw_block(jax.random.fold_in(key, 0), plain)
            raise_on_overflow(parents, world)
            return parents

        yield jax.random.fold_in(key, 1), _drawn.get(plain, (seed, stream, block), draw)


def tokens(n_samples: int) -> int:
    """How many tokens a pass over `n_samples` really reads: whole blocks."""
    return math.ceil(n_samples / BLOCK_TOKENS) * BLOCK_TOKENS


# over pairs of runs
_merge_pairs = jax.jit(jax.vmap(PairCounts.merge))


@jax.jit
def _draw_block(key: Array, world: World) -> Codes:
    draw = lambda i: sample_codes(jax.random.fold_in(key, i), world, _BATCH)
    return jax.lax.map(draw, jnp.arange(_BLOCK))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _truth_block(reconstruct, n_features, key, parents, instances, runs):
    def of_instance(key, parent, instance, runs):
        codes, x = see(key, instance, parent)
        acts = densify(codes, n_features)

        def of_run(run):
            latents, _ = reconstruct(run, codes, x)
            return TruthCounts.init(latents.shape[1], n_features).update(latents, acts)

        return jax.vmap(of_run)(runs)

    over_instances = jax.vmap(of_instance, in_axes=(None, None, 0, 0))
    batch = lambda i, parent: over_instances(jax.random.fold_in(key, i), parent, instances, runs)
    return _over_batches(batch, parents, TruthCounts.merge)


@functools.partial(jax.jit, static_argnums=0)
def _pair_block(reconstruct, key, parents, a, b, runs_a, runs_b):
    def batch(i, parent):
        batch_key = jax.random.fold_in(key, i)
        (codes_a, x_a), (codes_b, x_b) = see(batch_key, a, parent), see(batch_key, b, parent)

        def of_pair(run_a, run_b):
            latents_a, _ = reconstruct(run_a, codes_a, x_a)
            latents_b, _ = reconstruct(run_b, codes_b, x_b)
            empty = PairCounts.init(latents_a.shape[1], latents_b.shape[1])
            return empty.update(latents_a, latents_b)

        return jax.vmap(of_pair)(runs_a, runs_b)

    return _over_batches(batch, parents, _merge_pairs)


@jax.jit
def _moments_block(key, parents, a, b):
    def batch(i, parent):
        batch_key = jax.random.fold_in(key, i)
        (_, x_a), (_, x_b) = see(batch_key, a, parent), see(batch_key, b, parent)
        return CoMoments.init(x_a.shape[1], x_b.shape[1]).update(x_a, x_b)

    return _over_batches(batch, parents, CoMoments.merge)


def _over_batches(batch, parents: Codes, merge):
    """Merge `batch(i, codes)` over the batches of a block, compiled once and not per batch."""
    one = lambda i: batch(i, jax.tree.map(lambda leaf: leaf[i], parents))
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(one, 0))
    return jax.lax.fori_loop(0, _BLOCK, lambda i, total: merge(total, one(i)), nothing)


def median_firings(counts: PairCounts) -> float:
    """Median number of firings of the living latents of both sides."""
    fired = np.concatenate([np.asarray(counts.fired_a).ravel(), np.asarray(counts.fired_b).ravel()])
    alive = is_alive(fired)
    return float(np.median(fired[alive])) if alive.any() else math.nan
