"""What cells of experiments have in common: a world, models, SAEs trained on them, their rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from synthsae_jax import keys, saes, worlds
from synthsae_jax.suite import table
from synthsae_jax.suite.base import Cell, Tick
from synthsae_jax.suite.reading import Subject, subjects
from synthsae_jax.suite.recipes import recipe
from synthsae_jax.suite.seeds import run_seed, world_seed
from synthsae_jax.training import TrainConfig, TrainResult, train
from synthsae_jax.worlds import Instance, World

# instances that one cell may number as its own: no two cells of a benchmark share a seed
PER_CELL = 64


@dataclasses.dataclass(frozen=True)
class Trained:
    """SAEs of one architecture on some models: `subjects[i][r]` is run r on model i."""

    subjects: list[list[Subject]]
    result: TrainResult
    columns: list[list[dict[str, Any]]]

    def ok(self, i: int, r: int) -> bool:
        """Did this run train without its loss going to infinity?"""
        return self.result.status[i, r] == "ok"


@dataclasses.dataclass(frozen=True)
class Study:
    """Where one cell of an experiment stands, and how it trains."""

    benchmark: str
    preset: str
    world_seed: int
    cell: int  # number of the cell: its models are numbered PER_CELL * cell + i
    config: TrainConfig
    target_l0: float
    n_match: int

    @property
    def shared(self) -> table.Shared:
        """What all rows have in common."""
        return table.Shared(
            self.benchmark, self.preset, self.world_seed, self.config, self.target_l0
        )

    @property
    def d_sae(self) -> int:
        """The preset's width."""
        return worlds.preset(self.preset).d_sae

    @property
    def instance_config(self) -> worlds.InstanceConfig:
        """The preset's."""
        return worlds.preset(self.preset).instance

    def number(self, i: int) -> int:
        """Number of model i of this cell within the benchmark."""
        return PER_CELL * self.cell + i

    def world(self, **changes: Any) -> World:
        """The preset's world of this seed, with fields of its config replaced."""
        config = dataclasses.replace(worlds.preset(self.preset).world, **changes)
        return worlds.init_world(keys.world_key(self.world_seed), config, seed=self.world_seed)

    def seeds(self, n_models: int, n_runs: int, first: int = 0) -> np.ndarray:
        """Init (and data) seeds [I, R] of models `first`, `first + 1`, ...; none is used twice."""
        numbers = [self.number(first + i) for i in range(n_models)]
        return np.array([[run_seed(n, r) for r in range(n_runs)] for n in numbers])

    def train(
        self,
        name: str,
        world: World,
        views: Sequence[Instance],
        *,
        seen_as: Sequence[Instance] | None = None,
        runs: int = 1,
        first: int = 0,
        label: str | None = None,
        sae: saes.SAE | None = None,
        config: TrainConfig | None = None,
        width: int | None = None,
        target_l0: float | None = None,
        init_seeds: np.ndarray | None = None,
        data_seeds: np.ndarray | None = None,
        tick: Tick | None = None,
        **options: Any,
    ) -> Trained:
        """Train `runs` SAEs on each model, all in one program.

        `views` are instances of `world`; `seen_as` those in whose stream the SAEs are read later,
        where that is another (a twin registry). Without `sae` and `config` the architecture's
        recipe at the target L0 is taken. Seeds None: own init and own stream for every run.
        `options` go to `training.train`.
        """
        dim = views[0].dictionary.shape[-1]
        if sae is None:
            l0 = target_l0 or self.target_l0
            made = recipe(name, dim, width or self.d_sae, l0, config or self.config)
            sae, config = made.sae, made.config
        own = self.seeds(len(views), runs, first)
        init_seeds = own if init_seeds is None else init_seeds
        data_seeds = own if data_seeds is None else data_seeds
        told = tick or (lambda done, what: None)
        result = train(
            world,
            worlds.stack(list(views)),
            sae,
            config or self.config,
            init_seeds=init_seeds,
            data_seed=data_seeds,
            progress=lambda done, total, _: told(done / total, f"training {label or name}"),
            **options,
        )
        label = label or name
        found = subjects(label, result, list(seen_as or views))
        columns = [
            [
                {
                    **table.run_columns(self.shared, result, self.number(first + i), i, r),
                    "sae": label,
                }
                for r in range(runs)
            ]
            for i in range(len(views))
        ]
        return Trained(found, result, columns)


def balanced(groups: Sequence[Sequence[Any]]) -> list[Any]:
    """The cells of several groups (worlds), one of each in turn, so that a prefix is balanced."""
    longest = max(map(len, groups), default=0)
    return [group[i] for i in range(longest) for group in groups if i < len(group)]


def cells_by_arm(
    benchmark: str,
    salt: str,
    n_worlds: int,
    arms: Sequence[Any],
    cell: Callable[[int, int, int, Any], Cell],
) -> list[Cell]:
    """A cell for each world and arm, worlds taking turns: `cell(seed, world, number, arm)`.

    `number` counts the cells of the benchmark, so that no two share the seeds of their models.
    """
    return balanced(
        [
            [
                cell(world_seed(benchmark, salt, w), w, w * len(arms) + i, arm)
                for i, arm in enumerate(arms)
            ]
            for w in range(n_worlds)
        ]
    )


def train_config(size: Mapping[str, Any]) -> TrainConfig:
    """Training as all benchmarks do it: constant rate, linear decay over the last third."""
    n_steps = -(-size["n_train"] // size["batch_size"])
    return TrainConfig(
        n_samples=size["n_train"],
        batch_size=size["batch_size"],
        lr=size["lr"],
        lr_decay_steps=n_steps // 3,
        dead_window=size["dead_window"],
    )
