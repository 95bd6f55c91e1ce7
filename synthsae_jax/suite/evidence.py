"""The evidence on which truth rests, from sparse codes on the host: counts, moments, switching."""

from __future__ import annotations

import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from synthsae_jax.matching import CoMoments, TruthCounts, causal_counts
from synthsae_jax.matching.moments import pearson
from synthsae_jax.matching.truth_causal import CausalCounts
from synthsae_jax.numerics import firings
from synthsae_jax.worlds import Codes, Instance, embed
from synthsae_jax.worlds.inputs import bare

Csr = sparse.csr_matrix


def firing_evidence(
    latents: Csr, codes: Csr, parent: np.ndarray
) -> tuple[TruthCounts, TruthCounts]:
    """Counts of latents `[n, L]` with features `[n, F]`, then with features whose child is on.

    `parent` int [F_base], -1 for no parent; ids `F_base + i` are twins in a forest of like shape.
    """
    on_latent, on_feature = _fires(latents), _fires(codes)
    return (
        _counts(on_latent, on_feature),
        _counts(on_latent, on_feature.multiply(_child_on(on_feature, parent)).tocsr()),
    )


def code_evidence(latents: Csr, codes: Csr) -> tuple[CoMoments, np.ndarray]:
    """Moments of latents with true activations, and the correlations `[F, F]` among the latter."""
    return moments(latents, codes), np.asarray(pearson(moments(codes, codes)))


def moments(a: Csr, b: Csr) -> CoMoments:
    """Means and co-deviations of the columns of `a [n, p]` and `b [n, q]`, in float64 within."""
    n = a.shape[0]
    total = lambda m: np.asarray(m.sum(0, dtype=np.float64)).ravel()
    square = lambda m: np.asarray(m.multiply(m).sum(0, dtype=np.float64)).ravel()
    a, b = cast(Csr, a.astype(np.float64)), cast(Csr, b.astype(np.float64))
    mean_a, mean_b = total(a) / n, total(b) / n
    cross = (a.T @ b).toarray() - n * np.outer(mean_a, mean_b)
    single = lambda v: jnp.asarray(v, jnp.float32)
    return CoMoments(
        n=jnp.int32(n),
        mean_a=single(mean_a),
        mean_b=single(mean_b),
        spread_a=single(square(a) - n * mean_a**2),
        spread_b=single(square(b) - n * mean_b**2),
        cross=single(cross),
    )


def causal_evidence(
    reconstruct: Any, run: Any, instance: Instance, codes: Csr, n_tokens: int
) -> CausalCounts:
    """What switching each feature does to the latents, on the first tokens.

    A feature that is off takes its mean magnitude over the tokens on which it is on.
    """
    times = firings(codes)
    level = np.asarray(codes.sum(0)).ravel() / np.maximum(times, 1)
    acts = codes[:n_tokens].toarray().astype(np.float32)
    return _switched(reconstruct, run, bare(instance), acts, level.astype(np.float32))


@functools.partial(jax.jit, static_argnums=0)
def _switched(reconstruct, run, instance, acts, level):
    ids = jnp.arange(acts.shape[1], dtype=jnp.int32)

    def respond(acts):
        # every feature has its slot, empty where it is off
        indices = jnp.where(acts > 0, ids[None], acts.shape[1])
        codes = Codes(indices=indices, values=acts, overflow=jnp.zeros(acts.shape[0], bool))
        # what varies from token to token stays as it is while a feature is switched
        x = embed(instance, codes, token_key=jax.random.key(0))
        return reconstruct(run, codes, x)[0]

    return causal_counts(respond, acts, level)


def _fires(codes: Csr) -> Csr:
    return cast(Csr, (codes != 0).astype(np.int64))


def _counts(on_latent: Csr, on_feature: Csr) -> TruthCounts:
    whole = lambda v: jnp.asarray(np.asarray(v), jnp.int32)
    return TruthCounts(
        n=jnp.int32(on_latent.shape[0]),
        fired=whole(on_latent.sum(0)).ravel(),
        active=whole(on_feature.sum(0)).ravel(),
        joint=whole((on_latent.T @ on_feature).toarray()),
    )


def _child_on(on_feature: Csr, parent: np.ndarray) -> Csr:
    """Where some child of a feature is on, 0/1 [n, F]."""
    n_features = on_feature.shape[1]
    n_base = parent.size
    child = np.flatnonzero(parent >= 0)
    copies = range(n_features // n_base)
    row = np.concatenate([child + c * n_base for c in copies])
    col = np.concatenate([parent[child] + c * n_base for c in copies])
    to_parent = sparse.csr_matrix((np.ones(row.size), (row, col)), (n_features, n_features))
    return cast(Csr, ((on_feature @ to_parent) > 0).astype(np.int64))
