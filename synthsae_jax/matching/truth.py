"""The truth map: which true feature does each latent track, if any?"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.errors import check_choice, require
from synthsae_jax.matching.counts import firing_counts
from synthsae_jax.numerics import cosine_matrix

Array = jax.Array

METHODS = ("geometric", "functional", "agree")


@struct.dataclass
class TruthCounts:
    """How often latents and true features fire, alone and together; exact, and streamed.

    `TruthCounts.init(L, F)`, then `.update(latents, feature_acts)` per batch and `.merge(other)`;
    pure functions of arrays, so it runs in a scan and under vmap. Up to 2^31 - 1 samples.
    """

    n: Array  # int32 []: samples
    fired: Array  # int32 [L]: samples on which the latent is not 0
    active: Array  # int32 [F]: samples on which the feature is not 0
    joint: Array  # int32 [L, F]: samples on which both are not 0

    @classmethod
    def init(cls, n_latents: int, n_features: int) -> TruthCounts:
        """The counts of no samples."""
        zeros = lambda *shape: jnp.zeros(shape, jnp.int32)
        return cls(zeros(), zeros(n_latents), zeros(n_features), zeros(n_latents, n_features))

    def update(self, latents: Array, feature_acts: Array) -> TruthCounts:
        """These counts with the samples of `latents [n, L]`, `feature_acts [n, F]` added."""
        fired, active, joint = firing_counts(latents, feature_acts)
        n = jnp.asarray(latents.shape[0], jnp.int32)
        return self.merge(TruthCounts(n, fired, active, joint))

    def merge(self, other: TruthCounts) -> TruthCounts:
        """The counts of both sets of samples together."""
        return jax.tree.map(jnp.add, self, other)

    @property
    def alive(self) -> Array:
        """bool [L]: did the latent fire at all?"""
        return self.fired > 0

    def f1(self) -> Array:
        """F1 of each latent as a detector of each feature, float32 `[L, F]`; 0 where undefined.

        `2 |S_i n Z_g| / (|S_i| + |Z_g|)` with S_i where the latent fires, Z_g where the feature
        does: the Dice overlap of the two sets.
        """
        total = self.fired[:, None] + self.active[None, :]
        return 2.0 * self.joint / jnp.maximum(total, 1)


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
) -> Array:
    """The feature id each latent tracks, int32 `[L]`; -1 where it tracks none.

    `W_dec [L, D]`, `latents [n, L]`, `features [F, D]`, `feature_acts [n, F]`, on samples the SAE
    was not trained on. Methods and thresholds: see `truth_from_counts`, which does the same from
    streamed counts.
    """
    latents, feature_acts = jnp.asarray(latents), jnp.asarray(feature_acts)
    require(
        latents.ndim == 2 and feature_acts.ndim == 2 and latents.shape[0] == feature_acts.shape[0],
        "truth_map needs latents [n, L] and feature_acts [n, F] on the same samples; given "
        f"{latents.shape} and {feature_acts.shape}.",
    )
    counts = TruthCounts.init(latents.shape[1], feature_acts.shape[1])
    counts = counts.update(latents, feature_acts)
    return truth_from_counts(
        W_dec, counts, features, method, cosine=cosine, f1=f1, margin=margin, present=present
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
) -> Array:
    """The feature id each latent tracks, int32 `[L]`, from streamed firing counts.

    - `geometric`: the feature with the largest signed cosine to the decoder row, if that is at
      least `cosine` and at least `margin` above the runner-up's.
    - `functional`: the feature whose firing the latent's firing detects best, if that F1 is at
      least `f1`. Ties go to the lower id.
    - `agree`: where both say the same.

    A dead latent, and one with a decoder that is not finite, tracks nothing. `present` (bool
    `[F]`) rules absent features out; ids stay those of the registry. All but `method` may be
    traced.
    """
    check_choice("truth method", method, METHODS)
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
    if method == "geometric":
        found = _geometric(W_dec, features, present, cosine, margin)
    elif method == "functional":
        found = _functional(counts, present, f1)
    else:
        by_direction = _geometric(W_dec, features, present, cosine, margin)
        by_firing = _functional(counts, present, f1)
        found = jnp.where(by_direction == by_firing, by_direction, -1)
    return jnp.where(counts.alive, found, -1)


def _geometric(
    W_dec: Array, features: Array, present: Array, cosine: float, margin: float
) -> Array:
    similarity = jnp.where(present[None, :], cosine_matrix(W_dec, features), -jnp.inf)
    best = jnp.argmax(similarity, axis=1).astype(jnp.int32)
    is_best = jnp.arange(similarity.shape[1])[None, :] == best[:, None]
    first = jnp.max(similarity, axis=1)
    # a feature without a rival leads it by infinity
    second = jnp.max(jnp.where(is_best, -jnp.inf, similarity), axis=1)
    # comparisons with NaN are false, so a diverged row is attributed to nothing
    return jnp.where((first >= cosine) & (first - second >= margin), best, -1)


def _functional(counts: TruthCounts, present: Array, f1: float) -> Array:
    detection = jnp.where(present[None, :], counts.f1(), -1.0)
    best = jnp.argmax(detection, axis=1).astype(jnp.int32)
    # f1 = 0 would attribute latents that never fire with anything
    first = jnp.max(detection, axis=1)
    return jnp.where((first >= f1) & (first > 0), best, -1)
