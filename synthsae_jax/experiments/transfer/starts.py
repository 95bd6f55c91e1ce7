"""Where an SAE on B begins: A's weights carried over by a map, and controls that keep less."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax import keys, matching
from synthsae_jax.errors import require
from synthsae_jax.matching.alignment import procrustes_from_covariance
from synthsae_jax.matching.linear_maps import LinearMap
from synthsae_jax.saes import SAEParams
from synthsae_jax.suite import pairs
from synthsae_jax.worlds import Instance, World, see
from synthsae_jax.worlds.inputs import bare

Array = jax.Array
SCRATCH, AGAIN = "scratch", "scratch, other seed"
NONE, PROCRUSTES, RIDGE, KNOWN = "none", "procrustes", "ridge", "known rotation"
DISJOINT, RANDOM = "disjoint", "random directions"
WRONG, PERMUTED = "wrong rotation", "permuted rows"
# starts that need paired tokens, which count as their cost
PAID = (PROCRUSTES, RIDGE, DISJOINT, RANDOM, WRONG, PERMUTED)
ALIGNED = (PROCRUSTES, RIDGE)


class Both(NamedTuple):
    """A map from the source's space into the target's, and one back."""

    forward: LinearMap
    back: LinearMap


def paired_activations(
    world: World, source: Instance, target: Instance, n: int, seed: int
) -> tuple[Array, Array]:
    """Activations `[n, D]` of both on the first tokens of the stream for calibration."""
    parts = [
        _activations(key, parents, bare(source), bare(target))
        for key, parents in pairs.parent_codes(bare(world), n, seed, "calibrate")
    ]
    a, b = (jnp.concatenate(side)[:n] for side in zip(*parts, strict=True))
    return a, b


def fit_both(name: str, x_source: Array, x_target: Array) -> Both:
    """A registered alignment fitted both ways on the same paired tokens."""
    forward = matching.fit_alignment(name, x_target, x_source)
    return Both(forward, matching.fit_alignment(name, x_source, x_target))


def known_rotation(source: Instance, target: Instance, order: np.ndarray) -> Both:
    """The rotation that best carries the source's directions onto the target's, both known.

    Plain views; `place` says whose direction each feature of the target has. Exact where the
    geometry is shared; else what the best rotation can do without shared geometry.
    """
    turn = procrustes_from_covariance(target.dictionary.T @ source.dictionary[order])
    return Both(
        LinearMap(turn, target.bias, source.bias), LinearMap(turn.T, source.bias, target.bias)
    )


def random_rotation(key: Array, means: Both) -> Both:
    """Another rotation than the one that fits, between the same means."""
    turn, _ = jnp.linalg.qr(jax.random.normal(key, means.forward.matrix.shape))
    return Both(means.forward.replace(matrix=turn), means.back.replace(matrix=turn.T))


def carried(params: SAEParams, maps: Both) -> SAEParams:
    """An SAE with a linear encoder, in the target's space.

    It reads through the map back and writes through the map forward; a rotation keeps all
    pre-activations. Without exact inverses each is the better of what a linear map can do.
    """
    forward, back = maps
    had = _linear(params)
    b_dec = forward.activations(had.b_dec[None])[0]
    W_enc = _product(back.matrix, had.W_enc)
    at_mean = _product(back.mean_a - had.b_dec, had.W_enc)
    b_enc = had.b_enc + at_mean + _product(b_dec - back.mean_b, W_enc)
    W_dec = forward.decoder_rows(had.W_dec)
    return params.replace(W_enc=W_enc, b_enc=b_enc, W_dec=W_dec, b_dec=b_dec)


def random_directions(key: Array, params: SAEParams) -> SAEParams:
    """Norms, biases, and the angle between encoder and decoder of each latent; nothing else."""
    had = _linear(params)
    read, write = had.W_enc.T, had.W_dec
    norms = [jnp.linalg.norm(rows, axis=1, keepdims=True) for rows in (read, write)]
    cosine = jnp.sum(read * write, axis=1, keepdims=True) / jnp.maximum(norms[0] * norms[1], 1e-12)
    first, second = jax.random.normal(key, (2, *write.shape))
    first = first / jnp.linalg.norm(first, axis=1, keepdims=True)
    second = second - jnp.sum(second * first, axis=1, keepdims=True) * first
    second = second / jnp.linalg.norm(second, axis=1, keepdims=True)
    turned = cosine * first + jnp.sqrt(jnp.maximum(1 - cosine**2, 0.0)) * second
    return params.replace(W_enc=(norms[0] * turned).T, W_dec=norms[1] * first)


def permuted_rows(key: Array, params: SAEParams) -> SAEParams:
    """The same encoders and the same decoder rows, which no longer belong together."""
    return params.replace(W_dec=jax.random.permutation(key, params.W_dec, axis=0))


def all_starts(
    sources: list[SAEParams], control: int, maps: Mapping[str, Both], seed: int
) -> dict[str, SAEParams]:
    """Every start but scratch; `maps` has `NONE`, `KNOWN`, `ALIGNED` and `DISJOINT`."""
    a = sources[0]
    draw = lambda i: jax.random.fold_in(keys.null_key(seed), i)
    aligned = carried(a, maps[PROCRUSTES])
    return {
        **{name: carried(a, maps[name]) for name in (NONE, KNOWN, RIDGE)},
        PROCRUSTES: aligned,
        DISJOINT: carried(sources[control], maps[DISJOINT]),
        RANDOM: random_directions(draw(0), aligned),
        WRONG: carried(a, random_rotation(draw(1), maps[PROCRUSTES])),
        PERMUTED: permuted_rows(draw(2), aligned),
    }


def no_map(dim: int) -> Both:
    """The map that changes nothing."""
    same = LinearMap(jnp.eye(dim), jnp.zeros(dim), jnp.zeros(dim))
    return Both(same, same)


@jax.jit
def _activations(key, parents, source, target):
    def batch(inputs):
        i, parent = inputs
        batch_key = jax.random.fold_in(key, i)
        return see(batch_key, source, parent)[1], see(batch_key, target, parent)[1]

    activations = jax.lax.map(batch, (jnp.arange(parents.values.shape[0]), parents))
    return tuple(x.reshape(-1, x.shape[-1]) for x in activations)


class _Linear(NamedTuple):
    """The weights of a linear encoder and decoder, all of them there."""

    W_enc: Array
    b_enc: Array
    W_dec: Array
    b_dec: Array


def _linear(params: SAEParams) -> _Linear:
    weights = (params.W_enc, params.b_enc, params.W_dec, params.b_dec)
    leaves = [jnp.asarray(leaf) for leaf in weights if leaf is not None]
    require(len(leaves) == 4, "only an SAE with a linear encoder and both biases is carried over.")
    return _Linear(*leaves)


def _product(x: Array, matrix: Array) -> Array:
    return jnp.matmul(x, matrix, precision=jax.lax.Precision.HIGHEST)
