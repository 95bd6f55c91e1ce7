"""Several models that read the same tokens, as one instance: their activations side by side."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.worlds.records import Instance


class _Needs(NamedTuple):
    """The randomness that a joined instance needs a key for, read like a config."""

    noise: float
    drop: float = 0.0
    rate_jitter: float = 0.0


def join(instances: Sequence[Instance]) -> Instance:
    """One instance of hidden dimension `sum D_m` whose activations are those of all, in order.

    For SAEs of several models (crosscoder, universal and mutual SAEs), which then train and are
    evaluated like any other. A feature's row is its rows in the models one after the other, each
    times that model's gain, and zero where the model lacks the feature: rows have no unit norm,
    `gain` is 1, and `present` means present in some model. So `embed(join(i), codes)` puts
    `embed(i_m, observe(i_m, codes))` side by side. With noise the law is kept, not the draw.

    Instances of one world, with any hidden dimensions; stacks of equally many are joined one by
    one. Raises `ConfigError` where a single instance can't do the same: firings that each model
    drops by itself, noise of different sizes, or a departure from linearity. Not inside a trace.
    """
    require(len(instances) > 0, "join needs at least one instance.")
    first = instances[0]
    for i, instance in enumerate(instances):
        require(
            instance.present.shape == first.present.shape,
            f"join: instance {i} has features {list(instance.present.shape)}, instance 0 "
            f"{list(first.present.shape)}; all must see one world.",
        )
        require(
            bool(np.all(np.asarray(instance.keep) >= 1)),
            f"join: instance {i} drops firings at random by itself (drop, rate_jitter), which one "
            f"instance can't do for a part of its dimensions.",
        )
        require(
            instance.departure is None,
            f"join: instance {i} departs from linearity, which a joined dictionary can't hold.",
        )
        require(
            np.array_equal(instance.noise, first.noise),
            f"join: noise must be equal in all instances, got {np.asarray(first.noise).tolist()} "
            f"in instance 0 and {np.asarray(instance.noise).tolist()} in instance {i}.",
        )
    one = jnp.ones_like(first.gain)
    nan = jnp.full_like(first.cosine, jnp.nan)
    return Instance(
        dictionary=jnp.concatenate([_block(i) for i in instances], axis=-1),
        present=functools.reduce(jnp.logical_or, [i.present for i in instances]),
        bias=jnp.concatenate([i.bias for i in instances], axis=-1),
        keep=one,
        gain=one,
        noise=first.noise,
        cosine=nan,
        gram_correlation=nan,
        # any mixture in which each member and its place count
        stream=functools.reduce(
            lambda mixed, i: mixed * jnp.uint32(31) + i.stream,
            instances,
            jnp.zeros_like(jnp.asarray(first.stream, jnp.uint32)),
        ),
        config=_Needs(noise) if (noise := getattr(first.config, "noise", 0.0)) else None,
    )


def _block(instance: Instance) -> jnp.ndarray:
    """A member's rows as it sees them, [..., F, D_m]."""
    weight = jnp.where(instance.present, instance.gain, 0.0)
    return instance.dictionary * weight[..., None]
