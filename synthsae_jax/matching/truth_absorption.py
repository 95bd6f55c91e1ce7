"""Truth by firing for latents of parents, which fall silent where a child's latent speaks."""

from __future__ import annotations

from typing import cast

import jax.numpy as jnp

from synthsae_jax.matching.truth_counts import TruthCounts
from synthsae_jax.matching.truth_methods import Candidate, TruthInputs, register_truth
from synthsae_jax.registry import Explanation


@register_truth(
    "absorption_aware",
    Explanation(
        what="As functional, without the tokens on which the feature and one of its children are "
        "both on: an absorbed parent still tracks its feature.",
        formula="argmax_g 2 n_ig' / (n_i' + n_g'), ' being tokens without z_g > 0 and a child on",
        undefined="none where the latent is dead",
    ),
    strength="f1",
    needs=("with_child",),
)
def _absorption_aware(inputs: TruthInputs) -> Candidate:
    plain, child = inputs.counts, cast(TruthCounts, inputs.with_child)
    # on the tokens left out the feature is on, so a latent's firings there are all joint ones
    fired = plain.fired[:, None] - child.joint
    total = fired + (plain.active - child.active)[None, :]
    detection = 2.0 * (plain.joint - child.joint) / jnp.maximum(total, 1)
    detection = jnp.where(inputs.present[None, :], detection, -1.0)
    first = jnp.max(detection, axis=1)
    best = jnp.argmax(detection, axis=1).astype(jnp.int32)
    return Candidate(best, jnp.where(first > 0, first, jnp.nan))
