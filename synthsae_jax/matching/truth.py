"""The truth map: which true feature does each latent track, if any?"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from synthsae_jax.errors import require
from synthsae_jax.matching.moments import CoMoments, pearson
from synthsae_jax.matching.truth_causal import CausalCounts
from synthsae_jax.matching.truth_counts import TruthCounts
from synthsae_jax.matching.truth_methods import (
    TruthInputs,
    TruthRule,
    decide,
    find_candidates,
    needed_inputs,
)
from synthsae_jax.numerics import narrow

Array = jax.Array


def truth_map(
    W_dec: Array,
    latents: Array,
    features: Array,
    feature_acts: Array,
    method: str = "agree",
    *,
    cosine: float = 0.7,
    f1: float = 0.5,
    margin: float = 0.1,
    present: Array | None = None,
    **evidence: Any,
) -> Array:
    """The feature id each latent tracks, int32 `[L]`; -1 where it tracks none.

    `W_dec [L, D]`, `latents [n, L]`, `features [F, D]`, `feature_acts [n, F]`, on samples the SAE
    was not trained on. Methods and thresholds: see `truth_from_counts`, which does the same from
    streamed counts. `evidence`: `causal` and `with_child`, for the methods that need them, and the
    thresholds of the others.
    """
    shapes = jnp.shape(latents), jnp.shape(feature_acts)
    require(
        len(shapes[0]) == len(shapes[1]) == 2 and shapes[0][0] == shapes[1][0],
        "truth_map needs latents [n, L] and feature_acts [n, F] on the same samples; given "
        f"{shapes[0]} and {shapes[1]}.",
    )
    # no method asks for the scale of a latent's values, nor of a feature's
    latents, feature_acts = (narrow(codes, scale=(0,)) for codes in (latents, feature_acts))
    n_latents, n_features = latents.shape[1], feature_acts.shape[1]
    counts = TruthCounts.init(n_latents, n_features).update(latents, feature_acts)
    moments = among = None
    if "moments" in needed_inputs(method):
        moments = CoMoments.init(n_latents, n_features).update(latents, feature_acts)
        feature_moments = CoMoments.init(n_features, n_features).update(feature_acts, feature_acts)
        among = pearson(feature_moments)
    return truth_from_counts(
        W_dec,
        counts,
        features,
        method,
        cosine=cosine,
        f1=f1,
        margin=margin,
        present=present,
        moments=moments,
        feature_correlation=among,
        **evidence,
    )


def truth_from_counts(
    W_dec: Array,
    counts: TruthCounts,
    features: Array,
    method: str = "agree",
    *,
    cosine: float = 0.7,
    f1: float = 0.5,
    margin: float = 0.1,
    present: Array | None = None,
    moments: CoMoments | None = None,
    feature_correlation: Array | None = None,
    causal: CausalCounts | None = None,
    with_child: TruthCounts | None = None,
    r2: float = 0.5,
    purity: float = 0.5,
    switch: float = 0.5,
) -> Array:
    """The feature id each latent tracks, int32 `[L]`, from streamed firing counts.

    - `geometric`: the feature with the largest signed cosine to the decoder row, if that is at
      least `cosine` and at least `margin` above the runner-up's.
    - `functional`: the feature whose firing the latent's firing detects best, if that F1 is at
      least `f1`. Ties go to the lower id.
    - `agree`: where both say the same.
    - `code`: the feature with the largest part in a non-negative sparse regression of the code,
      if that explains at least `r2`, of which the feature has at least `purity`. Needs `moments`
      (latents with activations) and `feature_correlation [F, F]`.
    - `causal`: the feature to whose switching no latent responds more, if this one switches with
      it at least a share `switch` of the time. Needs `causal` (see `causal_counts`).
    - `absorption_aware`: as `functional`, without the tokens on which a child of the feature is
      on. Needs `with_child` (that of `TypeCounts`).

    A dead latent, and one with a decoder that is not finite, tracks nothing. `present` (bool
    `[F]`) rules absent features out; ids stay those of the registry. All but `method` may be
    traced.
    """
    inputs = truth_inputs(
        W_dec,
        counts,
        features,
        present=present,
        moments=moments,
        feature_correlation=feature_correlation,
        causal=causal,
        with_child=with_child,
    )
    rule = TruthRule(cosine, margin, f1, r2, purity, switch)
    return decide(method, find_candidates(inputs, (method,)), rule, inputs)


def truth_inputs(
    W_dec: Array,
    counts: TruthCounts,
    features: Array,
    *,
    present: Array | None = None,
    moments: CoMoments | None = None,
    feature_correlation: Array | None = None,
    causal: CausalCounts | None = None,
    with_child: TruthCounts | None = None,
) -> TruthInputs:
    """What the methods look at, checked and in one record: for `truth_sweep`, made once.

    `W_dec [L, D]`, counts of L latents and F features, `features [F, D]`, `present` bool `[F]`; the
    rest as in `truth_from_counts`.
    """
    shapes = (jnp.shape(W_dec), jnp.shape(features), counts.joint.shape)
    (n_latents, dim), (n_features, feature_dim), counted = shapes
    require(
        dim == feature_dim and counted == (n_latents, n_features),
        "truth needs W_dec [L, D], features [F, D] and counts of L latents and F features; given "
        f"{shapes[0]}, {shapes[1]} and {shapes[2]}.",
    )
    present = jnp.ones(n_features, bool) if present is None else jnp.asarray(present, bool)
    require(
        present.shape == (n_features,),
        f"present must be bool [{n_features}]; given shape {present.shape}.",
    )
    W_dec, features = narrow(W_dec, scale=(0, 1)), narrow(features, scale=(1,))
    return TruthInputs(
        W_dec, features, present, counts, moments, feature_correlation, causal, with_child
    )
