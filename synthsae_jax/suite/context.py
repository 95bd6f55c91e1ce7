"""Where one cell of a design stands: its world, its models, the SAEs it trains."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from synthsae_jax import keys, saes, worlds
from synthsae_jax.suite import table
from synthsae_jax.suite.base import Tick
from synthsae_jax.suite.cost import Training
from synthsae_jax.suite.observation import Side
from synthsae_jax.suite.reading import Subject, subjects
from synthsae_jax.suite.recipes import recipe
from synthsae_jax.suite.scale import Scale
from synthsae_jax.suite.seeds import run_seed
from synthsae_jax.training import TrainConfig, TrainResult, train
from synthsae_jax.worlds import Instance, InstanceConfig, World

# models that one cell may number for itself: no two cells of a benchmark share a seed
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

    def side(self, i: int, r: int = 0) -> Side:
        """This run as one side of an observation."""
        return Side(self.columns[i][r], str(self.result.status[i, r]))

    def after(self, step: int) -> Trained:
        """The same SAEs as they were after a step of `config.snapshots`; rows say which."""
        at = self.result.config.snapshots.index(step)
        weights = jax.tree.map(np.asarray, self.result.snapshots[at])
        subjects = [
            [
                subject.with_weights(jax.tree.map(lambda leaf, at=(i, r): leaf[at], weights))
                for r, subject in enumerate(of_model)
            ]
            for i, of_model in enumerate(self.subjects)
        ]
        columns = [[{**of_run, "step": step} for of_run in of_model] for of_model in self.columns]
        return dataclasses.replace(self, subjects=subjects, columns=columns)


@dataclasses.dataclass
class Ledger:
    """What a cell has really trained, to be held against its plan and its observations."""

    trainings: list[Training] = dataclasses.field(default_factory=list)
    sides: list[Side] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Context:
    """One cell: which design, scale, arm and world, and how its SAEs are trained."""

    design: str  # id of the benchmark
    scale: Scale
    arm: Any
    world_seed: int
    world_index: int
    cell: int  # its models are numbered PER_CELL * cell + i
    config: TrainConfig
    tick: Tick = lambda done, what: None
    ledger: Ledger = dataclasses.field(default_factory=Ledger)

    @property
    def shared(self) -> table.Shared:
        """What all rows of the cell have in common."""
        return table.Shared(
            self.design, self.scale.preset, self.world_seed, self.config, self.target_l0
        )

    @property
    def target_l0(self) -> float:
        """Active latents per sample that SAEs are trained to."""
        return self.scale.target_l0

    @property
    def n_match(self) -> int:
        """Tokens of each evaluation stream."""
        return self.scale.n_match

    @property
    def d_sae(self) -> int:
        """Latents of an SAE."""
        return self.scale.d_sae

    @property
    def instance_config(self) -> InstanceConfig:
        """The preset's, in the scale's dimensions."""
        config = worlds.preset(self.scale.preset).instance
        return dataclasses.replace(config, hidden_dim=self.scale.d_in)

    def with_config(self, **changes: Any) -> Context:
        """The same cell with another training."""
        return dataclasses.replace(self, config=dataclasses.replace(self.config, **changes))

    def part(self, first: float, last: float) -> Context:
        """The same cell, its progress told as from share `first` to `last` of the work."""
        tick = lambda done, what: self.tick(first + (last - first) * done, what)
        return dataclasses.replace(self, tick=tick)

    def number(self, i: int) -> int:
        """Number of model i of this cell within the benchmark."""
        return PER_CELL * self.cell + i

    def world(self, **changes: Any) -> World:
        """The preset's world of this seed, with fields of its config replaced."""
        config = dataclasses.replace(worlds.preset(self.scale.preset).world, **changes)
        return worlds.init_world(keys.world_key(self.world_seed), config, seed=self.world_seed)

    def models(self, world: World, n: int, config: InstanceConfig | None = None) -> list[Instance]:
        """`n` models that see the world with directions of their own. None: the preset's."""
        config = config or self.instance_config
        return [
            worlds.init_instance(keys.instance_key(self.number(i)), world, config) for i in range(n)
        ]

    def seeds(self, n_models: int, n_runs: int, first: int = 0) -> np.ndarray:
        """Init (and data) seeds [I, R] of models `first`, `first + 1`, ...; none is used twice."""
        numbers = [self.number(first + i) for i in range(n_models)]
        return np.array([[run_seed(n, r) for r in range(n_runs)] for n in numbers])

    def training(self, sae: str, models: int, **changes: Any) -> Training:
        """What a training at this scale takes, for `Design.train`."""
        sizes = {
            "samples": self.config.n_steps * self.config.batch_size,
            "batch_size": self.config.batch_size,
            "d_in": self.scale.d_in,
            "d_sae": self.d_sae,
            "runs": self.scale.seeds,
        }
        return Training(sae, models, **{**sizes, **changes})

    def train(
        self,
        name: str,
        world: World,
        views: Sequence[Instance],
        *,
        seen_as: Sequence[Instance] | None = None,
        runs: int | None = None,
        first: int = 0,
        numbers: Sequence[int] | None = None,
        label: str | None = None,
        sae: saes.SAE | None = None,
        config: TrainConfig | None = None,
        width: int | None = None,
        target_l0: float | np.ndarray | None = None,
        init_seeds: np.ndarray | None = None,
        data_seeds: np.ndarray | None = None,
        **options: Any,
    ) -> Trained:
        """Train `runs` SAEs (None: the scale's seeds) on each model, all in one program.

        `views` are instances of `world`; `seen_as` those in whose stream the SAEs are read later,
        where that is another (a twin registry). Without `sae` and `config` the architecture's
        recipe at the target L0 is taken; with an `sae` of a penalty it is what training steers to,
        [models, runs] if runs differ. Seeds None: own init and own stream for every run. Models
        are numbered from `first` among the cell's, or by `numbers`.
        `options` go to `training.train`.
        """
        runs = self.scale.seeds if runs is None else runs
        label = label or name
        dim = views[0].dictionary.shape[-1]
        if sae is None:
            l0 = self.target_l0 if target_l0 is None else float(target_l0)
            sae_recipe = recipe(name, dim, width or self.d_sae, l0, config or self.config)
            sae, config = sae_recipe.sae, sae_recipe.config
        elif target_l0 is not None:
            options["target_l0"] = target_l0
        config = config or self.config
        seeds = self.seeds(len(views), runs, first)
        result = train(
            world,
            worlds.stack(list(views)),
            sae,
            config,
            init_seeds=seeds if init_seeds is None else init_seeds,
            data_seed=seeds if data_seeds is None else data_seeds,
            progress=lambda done, total, _: self.tick(done / total, f"training {label}"),
            **options,
        )
        numbers = numbers or [self.number(first + i) for i in range(len(views))]
        columns = [
            [{**table.run_columns(self.shared, result, n, i, r), "sae": label} for r in range(runs)]
            for i, n in enumerate(numbers)
        ]
        trained = Trained(subjects(label, result, list(seen_as or views)), result, columns)
        samples = config.n_steps * config.batch_size
        done = Training(name, len(views), samples, config.batch_size, dim, sae.d_sae, runs)
        self.ledger.trainings.append(done)
        self.ledger.sides += [trained.side(*at) for at in np.ndindex(len(views), runs)]
        return trained


def flags(a: Mapping[str, Any], b: Mapping[str, Any], **known: bool) -> dict[str, bool]:
    """What two runs share, from their columns; `known` settles what the columns can't say.

    An SAE that was not trained has no seeds, and shares none.
    """
    shares = lambda name: a.get(name) is not None and a[name] == b.get(name)
    same = {
        "same_instance": shares("instance"),
        "same_init": shares("init_seed"),
        "same_data": shares("data_seed"),
        "same_dictionary": shares("instance"),
    }
    return {**same, **known}
