"""A cell of floors and ceilings: what no SAE should lose to, and what none can be asked for.

Beside the chance level and the oracle's ceiling that every SAE has: the true dictionary with an
encoder that sees x alone, supervised probes, and decompositions that are no SAEs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from synthsae_jax import keys, metrics, worlds
from synthsae_jax.io.rows import Row
from synthsae_jax.metrics.baselines import MissingLibrary
from synthsae_jax.suite import table
from synthsae_jax.suite.base import Tick

VARIANT = "bound"
BEST_K = "true dictionary, greedy encoder"
PROBES = "logistic probes"


def compute(
    shared: table.Shared, size: Mapping[str, Any], number: int, data_seed: int, tick: Tick
) -> list[Row]:
    """Rows of every bound on instance `number` of the world, variant "bound".

    What needs a library that is not installed is a row without a value that says so.
    """
    preset = worlds.preset(size["preset"])
    tick(0.0, "building the world")
    seed = shared.world_seed
    world = worlds.init_world(keys.world_key(seed), preset.world, seed=seed)
    instance = worlds.init_instance(keys.instance_key(seed + number), world, preset.instance)
    rows = []
    for name, level in _levels(world, instance, preset.d_sae, size, data_seed, tick):
        try:
            found = level()
        except MissingLibrary as error:
            rows += table.missing_rows(shared, name, number, str(error), VARIANT)
            continue
        rows += table.level_rows(shared, name, number, found, VARIANT)
    return rows


def _levels(
    world: Any, instance: Any, d_sae: int, size: Mapping[str, Any], seed: int, tick: Tick
) -> Iterator[tuple[str, Any]]:
    """Names, and functions without arguments that give the metrics."""
    k = max(1, round(size["target_l0"]))
    ids = metrics.most_frequent(worlds.expected_rates(world), instance, d_sae)
    bounds = size["bounds"]

    def baseline(name: str) -> dict[str, float]:
        width = min(d_sae, instance.dictionary.shape[-1]) if name in ("pca", "ica") else d_sae
        sae, params = metrics.fit_baseline(
            name, world, instance, width, k=k, n_samples=bounds["n_fit"], seed=seed
        )
        return metrics.evaluate(world, instance, sae, params, size["n_eval"], seed)

    tick(0.05, BEST_K)
    yield BEST_K, lambda: metrics.best_k_levels(world, instance, ids, k, size["n_eval"], seed)
    tick(0.2, PROBES)
    yield (
        PROBES,
        lambda: metrics.probe_levels(
            world,
            instance,
            ids,
            n_probes=bounds["n_probes"],
            n_train=bounds["n_fit"],
            n_test=size["n_eval"],
            seed=seed,
        ),
    )
    for i, name in enumerate(metrics.baselines.names()):
        tick(0.5 + 0.15 * i, name)
        yield name, lambda name=name: baseline(name)
