"""Which true activations does a latent's code follow? Non-negative sparse regression on them."""

from __future__ import annotations

import functools
from typing import cast

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.errors import require
from synthsae_jax.matching.moments import CoMoments, pearson
from synthsae_jax.matching.truth_methods import Candidate, TruthInputs, register_truth
from synthsae_jax.registry import Explanation

Array = jax.Array

# A term that adds less than this correlation with what is left is rounding, not a feature.
_LEAST_GAIN = 1e-3
# Of coordinate descent. With features that correlate up to .9 four weights settle to 1e-7; at .99
# some are still off by .1.
_SWEEPS = 100
_PRECISE = jax.lax.Precision.HIGHEST


@struct.dataclass
class CodeFit:
    """The few features that explain each latent's code. An empty term has id -1 and weight 0."""

    features: Array  # int32 [L, K], in the order in which they were taken up
    weights: Array  # float32 [L, K], >= 0: per standard deviation of latent and feature
    shares: Array  # float32 [L, K]: part of the latent's variance, w_g r_ig; they sum to r2
    r2: Array  # float32 [L]: explained variance; 0 for a latent that is constant

    @property
    def purity(self) -> Array:
        """float32 [L]: the top feature's part of what is explained; 0 where nothing is."""
        explained = self.r2 > 0
        share = jnp.max(self.shares, axis=1) / jnp.where(explained, self.r2, 1.0)
        return jnp.where(explained, share, 0.0)

    @property
    def relative(self) -> Array:
        """float32 [L, K]: the weights as shares of their sum; 0 where there are none."""
        total = jnp.sum(self.weights, axis=1, keepdims=True)
        return self.weights / jnp.where(total > 0, total, 1.0)


def code_fit(
    correlation: Array,
    feature_correlation: Array,
    present: Array | None = None,
    *,
    terms: int = 4,
    block: int = 256,
) -> CodeFit:
    """Non-negative regression of each latent's code on at most `terms` true activations.

    `correlation [L, F]`: Pearson of codes and true activations; `feature_correlation [F, F]`: of
    the activations among each other (`pearson` of `CoMoments`, streamed). Features are taken up
    one at a time, the one that goes best with what is left, and all weights fitted again, none
    negative (orthogonal matching pursuit). With standardised variables and the weights at their
    optimum, R^2 = sum_g w_g r_ig, which splits the explained variance among the features.
    A row with NaN has r2 NaN. `block`: latents done at once; memory is `block * terms * F`.
    """
    correlation, feature_correlation = jnp.asarray(correlation), jnp.asarray(feature_correlation)
    n_latents, n_features = correlation.shape
    require(
        feature_correlation.shape == (n_features, n_features),
        f"code_fit needs feature correlations [{n_features}, {n_features}]; given "
        f"{feature_correlation.shape}.",
    )
    require(terms >= 1, f"terms must be at least 1; given {terms}.")
    present = jnp.ones(n_features, bool) if present is None else jnp.asarray(present, bool)
    terms, block = min(terms, n_features), min(block, n_latents)
    ids, weights = _fit_all(correlation, feature_correlation, present, terms, block)
    term_correlation = jnp.take_along_axis(correlation, jnp.maximum(ids, 0), axis=1)
    shares = jnp.where(ids >= 0, weights * term_correlation, 0.0)
    broken = jnp.isnan(correlation).any(axis=1)
    return CodeFit(ids, weights, shares, jnp.where(broken, jnp.nan, shares.sum(1)))


@functools.partial(jax.jit, static_argnums=(3, 4))
def _fit_all(
    rows: Array, among: Array, present: Array, terms: int, block: int
) -> tuple[Array, Array]:
    return jax.lax.map(lambda row: _fit_one(row, among, present, terms), rows, batch_size=block)


def _fit_one(row: Array, among: Array, present: Array, terms: int) -> tuple[Array, Array]:
    """Ids and weights `[K]` of one latent, from its correlations `[F]`."""

    def take_up(k: int, terms_so_far: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        ids, filled, weights = terms_so_far
        left = row - jnp.matmul(weights, among[ids], precision=_PRECISE)
        taken = jnp.zeros(row.shape, jnp.int32).at[ids].add(filled.astype(jnp.int32))
        left = jnp.where(present & (taken == 0), left, -jnp.inf)
        best = jnp.argmax(left).astype(jnp.int32)
        ids, filled = ids.at[k].set(best), filled.at[k].set(left[best] > _LEAST_GAIN)
        return ids, filled, _non_negative(row[ids], among[ids][:, ids], filled)

    empty = jnp.zeros(terms, jnp.int32), jnp.zeros(terms, bool), jnp.zeros(terms)
    ids, _, weights = jax.lax.fori_loop(0, terms, take_up, empty)
    return jnp.where(weights > 0, ids, -1), weights


def _non_negative(target: Array, among: Array, filled: Array) -> Array:
    """Weights `[K]` >= 0 that explain the target best, by coordinate descent; 0 if not filled."""
    terms = target.shape[0]

    def step(t: int, weights: Array) -> Array:
        j = t % terms
        # A feature that never varies has correlation 0 with itself; its weight stays 0 and not 0 /
        # 0.
        variance = jnp.maximum(among[j, j], _LEAST_GAIN)
        explained = jnp.dot(weights, among[j], precision=_PRECISE)
        unexplained = target[j] - explained + weights[j] * among[j, j]
        return weights.at[j].set(
            jnp.where(filled[j], jnp.maximum(unexplained, 0.0) / variance, 0.0)
        )

    return jax.lax.fori_loop(0, terms * _SWEEPS, step, jnp.zeros(terms))


@register_truth(
    "code",
    Explanation(
        what="The feature whose activation the latent's code follows: the one with the largest "
        "part in a non-negative sparse regression of the code on all true activations.",
        formula="argmax_g w_g r_ig, if R^2 = sum_g w_g r_ig >= r2 and the share of the largest "
        ">= purity",
        undefined="none where the latent is dead or its code not finite",
    ),
    strength="r2",
    clear="purity",
    needs=("moments", "feature_correlation"),
)
def _code(inputs: TruthInputs) -> Candidate:
    moments, among = cast(CoMoments, inputs.moments), cast(Array, inputs.feature_correlation)
    fit = code_fit(pearson(moments), among, inputs.present)
    top = jnp.argmax(fit.shares, axis=1)[:, None]
    feature = jnp.take_along_axis(fit.features, top, axis=1)[:, 0]
    return Candidate(feature, jnp.where(feature >= 0, fit.r2, jnp.nan), fit.purity)
