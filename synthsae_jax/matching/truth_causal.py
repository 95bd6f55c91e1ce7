"""What latents do when one true feature is switched on and off: counts, fed by the caller."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.errors import require

Array = jax.Array


@struct.dataclass
class CausalCounts:
    """Responses of L latents to switching F features, summed over tokens; streamed, and merged.

    `CausalCounts.init(L, F)`, then `.update(feature, on, off)` for each feature and batch: the
    latents on the same tokens with that feature's activation present and removed.
    """

    n: Array  # int32 [F]: tokens on which the feature was switched
    response: Array  # float32 [L, F]: sum of f(on) - f(off)
    switched: Array  # int32 [L, F]: tokens with f(on) != 0 less those with f(off) != 0

    @classmethod
    def init(cls, n_latents: int, n_features: int) -> CausalCounts:
        """The counts of no tokens."""
        shape = (n_latents, n_features)
        return cls(
            n=jnp.zeros(n_features, jnp.int32),
            response=jnp.zeros(shape, jnp.float32),
            switched=jnp.zeros(shape, jnp.int32),
        )

    def update(self, feature: int | Array, on: Array, off: Array) -> CausalCounts:
        """These counts with `on [n, L]`, `off [n, L]` added: one feature, whose id may be traced.

        An id outside of 0..F-1 is not counted.
        """
        response, switched = _change(on, off)
        add_at = lambda total, part: total.at[..., feature].add(part, mode="drop")
        return CausalCounts(
            n=add_at(self.n, on.shape[0]),
            response=add_at(self.response, response),
            switched=add_at(self.switched, switched),
        )

    def merge(self, other: CausalCounts) -> CausalCounts:
        """The counts of both sets of tokens together."""
        return jax.tree.map(jnp.add, self, other)


def causal_counts(
    respond: Callable[[Array], Array], feature_acts: Array, level: Array
) -> CausalCounts:
    """The responses to switching each of F features on the tokens of `feature_acts [n, F]`.

    `respond`: feature activations [n, F] -> latents [n, L], a pure JAX function such as
    `lambda acts: sae.encode(params, acts @ dictionary + bias)`. A feature that fires on a token
    keeps its value there when on, else it takes `level[g]` (`[F]`, e.g. its mean magnitude); off
    it is 0. Nothing else is touched, neither its parent nor its children, so tokens may be such as
    the world does not make. Costs 2 F passes over n tokens, one feature at a time; some dozens of
    tokens do.
    """
    feature_acts, level = jnp.asarray(feature_acts), jnp.asarray(level)
    require(
        feature_acts.ndim == 2 and level.shape == feature_acts.shape[1:],
        "causal_counts needs feature_acts [n, F] and level [F]; given "
        f"{feature_acts.shape} and {level.shape}.",
    )

    def switch(g: Array) -> tuple[Array, Array]:
        switched_acts = feature_acts[:, g]
        on = feature_acts.at[:, g].set(jnp.where(switched_acts > 0, switched_acts, level[g]))
        off = feature_acts.at[:, g].set(0.0)
        return _change(respond(on), respond(off))

    n_samples, n_features = feature_acts.shape
    # One feature at a time: all F at once would hold [F, n, L].
    response, switched = jax.lax.map(switch, jnp.arange(n_features))
    return CausalCounts(jnp.full(n_features, n_samples, jnp.int32), response.T, switched.T)


def _change(on: Array, off: Array) -> tuple[Array, Array]:
    count = lambda latents: jnp.sum(latents != 0, axis=0, dtype=jnp.int32)
    return jnp.sum(on - off, axis=0, dtype=jnp.float32), count(on) - count(off)
