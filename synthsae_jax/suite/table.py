"""Rows of the tidy table from what benchmarks compute."""

from __future__ import annotations

import dataclasses
import datetime
import functools
from typing import Any

import jax
import numpy as np

from synthsae_jax.io import configs
from synthsae_jax.io.provenance import git_state
from synthsae_jax.training import TrainConfig
from synthsae_jax.training.runs import registered

PAIRED = ("run_id", "instance", "init_seed", "data_seed")


@dataclasses.dataclass(frozen=True)
class Shared:
    """What all rows of a cell have in common."""

    benchmark: str
    world: str
    world_seed: int
    config: TrainConfig
    target_l0: float | None = None

    def columns(self) -> dict[str, Any]:
        """Those columns."""
        return {
            "benchmark": self.benchmark,
            "world": self.world,
            "world_seed": self.world_seed,
            "target_l0": self.target_l0,
            "n_train": self.config.n_steps * self.config.batch_size,
            "step": self.config.n_steps,
            **_where(),
        }


def run_columns(shared: Shared, result: Any, instance: int, i: int, r: int) -> dict[str, Any]:
    """The columns that say which run this is."""
    numbers = {name: _item(v, i, r) for name, v in vars(result.hyper).items() if v is not None}
    entry = registered(result.sae)
    penalty = entry.penalty if entry else None
    if shared.target_l0 is not None and penalty:
        del numbers[penalty]  # steered: an outcome of the run, not a setting
    sparsity = next((numbers[n] for n in ("k", penalty) if n in numbers), None)
    identity = {
        "sae": result.sae.name,
        "instance": instance,
        "init_seed": int(result.init_seeds[i, r]),
        "data_seed": int(result.data_seeds[i, r]),
        "learning_rate": shared.config.lr,
        "sparsity_coef": sparsity,
    }
    described = {
        "sae": result.sae.name,
        "options": {n: v for n, v in vars(result.sae.options).items() if not callable(v)},
        "numbers": numbers,
        "train": dataclasses.asdict(result.config),
    }
    digest = configs.config_hash(described)
    where = {"benchmark": shared.benchmark, "world": shared.world, "seed": shared.world_seed}
    run_id = configs.config_hash({**where, **identity, "config": digest})[:16]
    return {**identity, "config_hash": digest[:16], "run_id": run_id}


@functools.cache
def _where() -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {
        "commit": git_state()["commit"],
        "jax_version": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "created_at": now,
    }


def _item(value: Any, i: int, r: int) -> float | int:
    return np.asarray(value)[i, r].item()
