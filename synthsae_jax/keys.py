"""Where randomness comes from: one root, one key per id, one stream per purpose.

A key depends on exactly one id (DESIGN: seeds come as a triple of instance, data, init), never on
a position in a batch, so a result does not depend on what else was computed beside it. Changing a
number here changes every benchmark's version.
"""

from __future__ import annotations

import jax

from synthsae_jax.modes import IMPL

ROOT = 0
_KINDS = {"world": 1, "instance": 2, "data": 3, "init": 4, "noise": 5, "null": 6}
# Disjoint uses of one data seed: what is trained on is never evaluated on, and truth, matching,
# calibration and reporting never see each other's samples.
STREAMS = {
    "train": 1,
    "evaluate": 2,
    "truth": 3,
    "match": 4,
    "calibrate": 5,
    "report": 6,
    "pilot": 7,
    "observe": 8,
}


def world_key(seed: int) -> jax.Array:
    """Key of a world."""
    return _key("world", seed)


def instance_key(seed: int) -> jax.Array:
    """Key of an instance (dictionary, presence, bias)."""
    return _key("instance", seed)


def init_key(seed) -> jax.Array:
    """Key of an SAE's initial weights. The seed may be traced."""
    return _key("init", seed)


def data_key(seed, stream: str) -> jax.Array:
    """Key of a stream of samples; `stream` is one of `STREAMS`. The seed may be traced."""
    return jax.random.fold_in(_key("data", seed), STREAMS[stream])


def null_key(seed) -> jax.Array:
    """Key for null draws and other randomness of an analysis."""
    return _key("null", seed)


def _key(kind: str, seed) -> jax.Array:
    root = jax.random.key(ROOT, impl=IMPL)  # whatever the default is
    # The kind first, so that seed 7 of a world and of an init have nothing in common.
    return jax.random.fold_in(jax.random.fold_in(root, _KINDS[kind]), seed)
