"""How well are the inputs rebuilt, and with how many latents? Sums on device, ends in float64.

A record sums one batch (`of`); sums merge in a trace (`merge`), or batches are stacked and added
up on the host in float64 by `finish`, which also serves any leading axes of runs.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from synthsae_jax.errors import require
from synthsae_jax.numerics import (
    as_array,
    at_least_float32,
    fires,
    narrow,
    narrow_together,
    row_norms,
)

Array = jax.Array
NAN = float("nan")

MIN_NORM = 1e-6  # inputs shorter than this have no shrinkage: SAELens' bound
BLOCK = 4096  # rows per float32 sum where whole arrays are given
# Data whose standard deviation is below this share of its mean is constant as far as float32 can
# tell: dividing by what rounding leaves of its variance would make up a score.
CONSTANT = 1e-6


@struct.dataclass
class ReconstructionSums:
    """What explained variance and shrinkage need of a set of samples.

    The variance is kept as deviations from the set's own mean, so that an input far from the
    origin does not cancel it away.
    """

    n: Array  # int32 []
    x_mean: Array  # float32 [D]
    x_spread: Array  # float32 []: sum over samples of |x - x_mean|^2
    error: Array  # float32 []: sum of |x - x_hat|^2
    ratio: Array  # float32 []: sum of |x_hat| / |x| over samples with |x| > 1e-6
    ratio_n: Array  # int32 []: how many those are

    @classmethod
    def of(cls, x: Array, x_hat: Array) -> ReconstructionSums:
        """The sums of one batch, `x [n, D]` and `x_hat [n, D]`; a few thousand samples at most."""
        x, x_hat = jnp.asarray(x, jnp.float32), jnp.asarray(x_hat, jnp.float32)
        mean = x.mean(0)
        norm = row_norms(x)
        counted = norm > MIN_NORM
        return cls(
            n=jnp.asarray(x.shape[0], jnp.int32),
            x_mean=mean,
            x_spread=jnp.sum(jnp.square(x - mean[None, :])),
            error=jnp.sum(jnp.square(x - x_hat)),
            ratio=jnp.sum(jnp.where(counted, row_norms(x_hat) / jnp.where(counted, norm, 1), 0)),
            ratio_n=jnp.sum(counted, dtype=jnp.int32),
        )

    def merge(self, other: ReconstructionSums) -> ReconstructionSums:
        """The sums of both sets of samples."""
        n = self.n + other.n
        share = other.n / jnp.maximum(n, 1)
        shift = other.x_mean - self.x_mean
        between = self.n * share * jnp.sum(jnp.square(shift))
        return ReconstructionSums(
            n=n,
            x_mean=self.x_mean + share * shift,
            x_spread=self.x_spread + other.x_spread + between,
            error=self.error + other.error,
            ratio=self.ratio + other.ratio,
            ratio_n=self.ratio_n + other.ratio_n,
        )

    def finish(self, batch_axis: int | None = None) -> dict[str, Any]:
        """explained_variance and shrinkage, in float64; arrays where sums have axes of runs.

        `batch_axis` is the axis along which batches were stacked (0 for the outputs of a scan),
        None where the sums are merged already.
        """
        n, mean, spread, error, ratio, ratio_n = _batches_first(self, batch_axis)
        total = n.sum(0)
        counted = np.maximum(total, 1)
        grand = (n[..., None] * mean).sum(0) / counted[..., None]
        variance = spread.sum(0) + (n * np.square(mean - grand).sum(-1)).sum(0)
        varies = variance > total * CONSTANT**2 * np.square(grand).sum(-1)
        ratio_n = ratio_n.sum(0)
        return {
            "explained_variance": 1.0 - _quotient(error.sum(0), variance, varies),
            "shrinkage": _quotient(ratio.sum(0), ratio_n, ratio_n > 0),
        }


@struct.dataclass
class ActivitySums:
    """How many units fire per sample, and which ever fire. A unit fires where it is not 0."""

    n: Array  # int32 []
    active: Array  # int32 []: firings, over samples and units
    fired: Array  # bool [L]

    @classmethod
    def of(cls, latents: Array) -> ActivitySums:
        """The sums of one batch `[n, L]`: latents, true features, or the values of padded codes."""
        on = jnp.asarray(fires(latents))
        n = jnp.asarray(on.shape[0], jnp.int32)
        return cls(n, jnp.sum(on, dtype=jnp.int32), jnp.any(on, axis=0))

    def merge(self, other: ActivitySums) -> ActivitySums:
        """The sums of both sets of samples; at most 2^31 - 1 firings."""
        fired = self.fired | other.fired
        return ActivitySums(self.n + other.n, self.active + other.active, fired)

    def finish(self, batch_axis: int | None = None) -> dict[str, Any]:
        """l0 and dead_latents; axes as in `ReconstructionSums.finish`."""
        n, active, fired = _batches_first(self, batch_axis)
        n = n.sum(0)
        return {
            "l0": _quotient(active.sum(0), n, n > 0),
            "dead_latents": np.where(n > 0, (fired.max(0) == 0).sum(-1), NAN)[()],
        }


def explained_variance(x: Array, x_hat: Array) -> float:
    """Share of the inputs' variance that the reconstruction accounts for, at most 1.

    `1 - E|x - x_hat|^2 / (E|x|^2 - |E x|^2)` over samples and dimensions together, `[n, D]`.
    0 is what predicting the mean gives; NaN where the inputs do not vary. arXiv 2602.14687.
    """
    _check(x, x_hat)
    return float(_reconstruction(*narrow_together(x, x_hat))["explained_variance"])


def shrinkage(x: Array, x_hat: Array) -> float:
    """Mean of `|x_hat| / |x|` over samples with `|x| > 1e-6`; below 1 the code is too small.

    `x [n, D]`, `x_hat [n, D]`, not centred. NaN where no input is that long. arXiv 2602.14687.
    """
    _check(x, x_hat)
    return float(_reconstruction(narrow(x), narrow(x_hat))["shrinkage"])


def dead_latents(latents: Array) -> float:
    """How many latents are 0 on all n samples of `[n, L]`. Falls with n: quote n beside it."""
    return float(_activity(latents)["dead_latents"])


def l0(latents: Array) -> float:
    """Mean number of latents per sample that are not 0, `[n, L]`; of true codes, the true L0."""
    return float(_activity(latents)["l0"])


def _check(x: Array, x_hat: Array) -> None:
    shapes = np.shape(x), np.shape(x_hat)
    require(
        len(shapes[0]) == 2 and shapes[0] == shapes[1] and shapes[0][0] > 0,
        f"needs x and x_hat of one shape [n, D], n > 0; given {shapes[0]} and {shapes[1]}.",
    )


def _reconstruction(x: Array, x_hat: Array) -> dict[str, float]:
    parts = [
        ReconstructionSums.of(x[i : i + BLOCK], x_hat[i : i + BLOCK])
        for i in range(0, x.shape[0], BLOCK)
    ]
    return _stacked(parts).finish(batch_axis=0)


def _activity(latents: Array) -> dict[str, float]:
    latents = as_array(latents)
    require(
        latents.ndim == 2 and latents.shape[0] > 0,
        f"needs latents [n, L], n > 0; given {latents.shape}.",
    )
    if not np.isfinite(at_least_float32(latents)).all():
        return {"dead_latents": NAN, "l0": NAN}
    parts = [ActivitySums.of(latents[i : i + BLOCK]) for i in range(0, len(latents), BLOCK)]
    return _stacked(parts).finish(batch_axis=0)


def _stacked(parts: list) -> ReconstructionSums | ActivitySums:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *parts)


def _batches_first(sums: object, batch_axis: int | None) -> list[np.ndarray]:
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(sums)]
    if batch_axis is None:
        return [leaf[None] for leaf in leaves]
    return [np.moveaxis(leaf, batch_axis, 0) for leaf in leaves]


def _quotient(part: np.ndarray, whole: np.ndarray, defined: np.ndarray) -> np.ndarray:
    return np.where(defined, part / np.where(defined, whole, 1.0), NAN)[()]
