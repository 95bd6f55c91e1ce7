"""What the metrics are worth at random: print these beside every score."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.metrics.recovery import mcc
from synthsae_jax.modes import fixed
from synthsae_jax.numerics import unit_rows

Array = jax.Array


@fixed
def random_mcc(
    d_sae: int, n_features: int, dim: int, key: Array, draws: int = 3, signed: bool = False
) -> float:
    """MCC of a random decoder against random features, simulated: the mean over `draws`.

    Both sides are independent uniform unit rows, `[d_sae, dim]` and `[n_features, dim]`. One draw
    is the mean over many pairs and already close: 4,096 latents, 16,384 features in 768
    dimensions give .148 +- .001. An assignment of that size takes seconds on the host.
    """
    require(draws >= 1, f"random_mcc needs draws >= 1; given {draws}.")

    def draw(i: int) -> float:
        key_decoder, key_features = jax.random.split(jax.random.fold_in(key, i))
        decoder = unit_rows(jax.random.normal(key_decoder, (d_sae, dim), jnp.float32))
        features = unit_rows(jax.random.normal(key_features, (n_features, dim), jnp.float32))
        return mcc(decoder, features, signed)

    return sum(map(draw, range(draws))) / draws


def uniqueness_chance(d_sae: int, n_features: int) -> float:
    """Expected uniqueness of latents that each pick a feature uniformly at random.

    `(F / L) (1 - (1 - 1/F)^L)`, the share of distinct values in L draws from F. A random decoder
    lies a little above it where features outnumber dimensions: .897 against .885 at the size of
    SynthSAEBench-16k.
    """
    require(
        d_sae >= 1 and n_features >= 1,
        f"uniqueness_chance needs d_sae, n_features >= 1; given {d_sae}, {n_features}.",
    )
    return n_features / d_sae * (1.0 - (1.0 - 1.0 / n_features) ** d_sae)


def expected_max_cosine(n_vectors: int, dim: int) -> float:
    """Expected largest cosine of a fixed direction with M random ones in d dimensions.

    `sqrt(2 ln M / d) (1 - (ln ln M + ln 4 pi - 2 gamma) / (4 ln M))`, the Gumbel expansion for
    M normal variables of variance 1/d: good for d >> ln M, at least three vectors. For absolute
    cosines double M. The mean over an optimal square assignment is about .96 of it, and so is the
    chance level of a decoder-cosine matching.
    """
    require(
        n_vectors >= 3 and dim >= 1,
        f"expected_max_cosine needs n_vectors >= 3 and dim >= 1; given {n_vectors}, {dim}.",
    )
    log_m = math.log(n_vectors)
    correction = (math.log(log_m) + math.log(4 * math.pi) - 2 * np.euler_gamma) / (4 * log_m)
    return min(math.sqrt(2 * log_m / dim) * (1 - correction), 1.0)
