"""How well do latents find the true features? By direction (MCC, uniqueness) and by firing."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from scipy.optimize import linear_sum_assignment

from synthsae_jax.errors import require
from synthsae_jax.numerics import at_least_float32, cosine_matrix, fires

Array = jax.Array
NAN = float("nan")
WORD = 32  # samples per word of bits


def mcc(W_dec: Array, features: Array, signed: bool = False) -> float:
    """Mean cosine of the best one-to-one pairing of latents and features.

    `W_dec [L, D]`, `features [F, D]`. Absolute cosines unless `signed`; the mean is over the
    min(L, F) pairs of the optimal assignment (Hungarian, on the host). A zero row has cosine 0,
    dead latents count like all others, and NaN is what a decoder that is not finite gets.
    arXiv 2602.14687; with `signed=True` as in arXiv 2505.20254.
    """
    return _best_pairing(_cosines(W_dec, features, signed))


def uniqueness(W_dec: Array, features: Array) -> float:
    """Share of distinct features among the latents' nearest: `#{argmax_g |cos(w_i, d_g)|} / L`.

    `W_dec [L, D]`, `features [F, D]`. Dead latents count. NaN where the decoder is not finite.
    arXiv 2602.14687.
    """
    return _distinct_targets(_cosines(W_dec, features, signed=False))


def mcc_and_uniqueness(W_dec: Array, features: Array) -> tuple[float, float]:
    """`mcc` and `uniqueness`, from one matrix of cosines."""
    cosines = _cosines(W_dec, features, signed=False)
    return _best_pairing(cosines), _distinct_targets(cosines)


def latent_targets(W_dec: Array, features: Array) -> Array:
    """The feature nearest to each latent by absolute cosine, int32 `[L]`, many-to-one.

    Ties, and zero rows, go to the lower id. Pure JAX.
    """
    return jnp.argmax(jnp.abs(cosine_matrix(W_dec, features)), axis=1).astype(jnp.int32)


@struct.dataclass
class ClassificationCounts:
    """Each latent's confusion counts as a detector of its target feature; exact, and streamed.

    `ClassificationCounts.init(latent_targets(W_dec, features))`, then `.update(latents,
    feature_acts)` per batch, `.merge(other)`, and `.finish()` on the host. Pure functions of
    arrays (except `finish`), so it runs in a scan and under vmap. Up to 2^31 - 1 samples.
    """

    target: Array  # int32 [L]
    n: Array  # int32 []: samples
    tp: Array  # int32 [L]: the latent fires and its target is active
    fp: Array  # int32 [L]: it fires alone
    fn: Array  # int32 [L]: its target is active alone

    @classmethod
    def init(cls, target: Array) -> ClassificationCounts:
        """The counts of no samples."""
        zeros = jnp.zeros(target.shape, jnp.int32)
        return cls(target, jnp.zeros((), jnp.int32), zeros, zeros, zeros)

    def update(self, latents: Array, feature_acts: Array) -> ClassificationCounts:
        """These counts with the samples of `latents [n, L]`, `feature_acts [n, F]` added."""
        on = fires(latents)
        # As SAELens counts: a latent fires where it is not 0, a feature where it is above 0.
        active = jnp.take(feature_acts, self.target, axis=1) > 0
        count = lambda event: jnp.sum(event, axis=0, dtype=jnp.int32)
        return dataclasses.replace(
            self,
            n=self.n + latents.shape[0],
            tp=self.tp + count(on & active),
            fp=self.fp + count(on & ~active),
            fn=self.fn + count(~on & active),
        )

    def update_packed(self, latents: Array, active: Array) -> ClassificationCounts:
        """The same with the true features as bits: `active` uint32 `[ceil(n / 32), F]`.

        Bit t % 32 of word t // 32 says whether the feature is active on sample t (`bits_of_samples`
        makes such words). No `[n, F]` matrix is read or made: `update` reads one, which in wide
        worlds takes longer than the encoder's product.
        """
        # 32 samples to a word: .9 ms where a matrix takes 111, for 1,024 x 4,096 latents and 16,384
        # features on a CPU.
        on = bits_of_samples(fires(latents))
        target = jnp.take(active, self.target, axis=1)
        count = lambda words: jnp.sum(jax.lax.population_count(words).astype(jnp.int32), axis=0)
        tp = count(on & target)
        return dataclasses.replace(
            self,
            n=self.n + latents.shape[0],
            tp=self.tp + tp,
            fp=self.fp + count(on) - tp,
            fn=self.fn + count(target) - tp,
        )

    def merge(self, other: ClassificationCounts) -> ClassificationCounts:
        """The counts of both sets of samples together; the targets must be the same."""
        sums = {k: getattr(self, k) + getattr(other, k) for k in ("n", "tp", "fp", "fn")}
        return dataclasses.replace(self, **sums)

    def per_latent(self) -> dict[str, np.ndarray]:
        """precision, recall, f1, accuracy of each latent, float64 `[..., L]`; 0 where undefined."""
        tp, fp, fn = (np.asarray(v, np.float64) for v in (self.tp, self.fp, self.fn))
        n = np.asarray(self.n, np.float64)[..., None]
        return {
            "precision": _ratio(tp, tp + fp),
            "recall": _ratio(tp, tp + fn),
            "f1": _ratio(2 * tp, 2 * tp + fp + fn),
            "accuracy": _ratio(n - fp - fn, np.broadcast_to(n, tp.shape)),
        }

    def finish(self) -> dict[str, Any]:
        """Unweighted means over all latents, dead ones included; NaN without samples.

        Counts with leading axes (runs) give arrays over those axes.
        """
        means = {name: values.mean(axis=-1) for name, values in self.per_latent().items()}
        empty = np.asarray(self.n) == 0
        return {name: np.where(empty, NAN, value)[()] for name, value in means.items()}


def bits_of_samples(on: Array) -> Array:
    """Bool `[n, m]` as uint32 `[ceil(n / 32), m]`: 32 samples to a word, the first lowest."""
    n, m = on.shape
    padded = jnp.pad(on, ((0, -n % WORD), (0, 0)))
    bit = jnp.arange(WORD, dtype=jnp.uint32)[None, :, None]
    bits = padded.reshape(-1, WORD, m).astype(jnp.uint32) << bit
    return jnp.sum(bits, axis=1, dtype=jnp.uint32)


def classification(
    latents: Array, feature_acts: Array, W_dec: Array, features: Array
) -> dict[str, float]:
    """precision, recall, f1 and accuracy of latents as detectors of the features nearest to them.

    `latents [n, L]`, `feature_acts [n, F]`, `W_dec [L, D]`, `features [F, D]`. A latent's target
    is the feature with the largest |cosine| to its decoder row; it fires where it is not 0, and
    the feature is active where it is above 0. An undefined ratio is 0, so a dead latent scores 0,
    and the numbers are unweighted means over all latents: mean F1 is not the F1 of mean precision
    and recall. NaN where the decoder or a latent's value is not finite. arXiv 2602.14687.
    """
    shapes = tuple(jnp.shape(v) for v in (latents, feature_acts, W_dec, features))
    (n, n_latents), (n_acts, n_features), decoder, dictionary = shapes
    require(
        n == n_acts and decoder[0] == n_latents and dictionary[0] == n_features,
        "classification needs latents [n, L], feature_acts [n, F], W_dec [L, D] and features "
        f"[F, D]; given {', '.join(map(str, shapes))}.",
    )
    counts = ClassificationCounts.init(latent_targets(W_dec, features))
    # in the precision given: what is tiny still fires
    scores = counts.update(fires(latents), np.asarray(feature_acts) > 0).finish()
    if not all(_all_finite(v) for v in (W_dec, latents)):
        return dict.fromkeys(scores, NAN)
    return {name: float(value) for name, value in scores.items()}


def _cosines(W_dec: Array, features: Array, signed: bool) -> np.ndarray:
    shapes = jnp.shape(W_dec), jnp.shape(features)
    require(
        len(shapes[0]) == len(shapes[1]) == 2 and shapes[0][1] == shapes[1][1],
        f"needs W_dec [L, D] and features [F, D]; given {shapes[0]} and {shapes[1]}.",
    )
    cosines = np.asarray(cosine_matrix(W_dec, features))
    return cosines if signed else np.abs(cosines)


def _best_pairing(cosines: np.ndarray) -> float:
    if not np.isfinite(cosines).all():
        return NAN
    # negated in float64: scipy minimizes that as it is, where it would copy what it maximizes
    pairs = linear_sum_assignment(np.negative(cosines, dtype=np.float64))
    return float(cosines[pairs].mean(dtype=np.float64))


def _distinct_targets(cosines: np.ndarray) -> float:
    if not np.isfinite(cosines).all():
        return NAN
    return float(np.unique(cosines.argmax(axis=1)).size / cosines.shape[0])


def _all_finite(x: Array) -> bool:
    return bool(np.isfinite(np.asarray(at_least_float32(np.asarray(x)))).all())


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)
