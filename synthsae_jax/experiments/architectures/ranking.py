"""A cell of the ranking: a few architectures in a world with one thing changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from synthsae_jax import worlds
from synthsae_jax.experiments.architectures.matrix import models, score_rows, train_on
from synthsae_jax.experiments.architectures.numbers import direction_numbers
from synthsae_jax.io.rows import Row
from synthsae_jax.suite.base import Tick
from synthsae_jax.suite.study import Study, rows_of_pair

BASE = "base"


@dataclasses.dataclass(frozen=True)
class Setting:
    """What differs from the preset. `shape`: settings of equal shape share compiled programs."""

    hierarchy: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    overlap: float = 0.0  # added to the mean-max overlap of random directions
    width: float = 1.0
    l0: float = 1.0
    shape: str = ""


SETTINGS: Mapping[str, Setting] = {
    BASE: Setting(),
    "scaled children": Setting(hierarchy={"scale_children_by_parent": True}),
    "no exclusion": Setting(hierarchy={"mutually_exclusive_portion": 0.0}),
    "more overlap": Setting(overlap=0.15),
    "twice the width": Setting(width=2.0, shape="wide"),
    "twice the L0": Setting(l0=2.0),
}


def compute(study: Study, size: Mapping[str, Any], name: str, tick: Tick) -> list[Row]:
    """Scores of two SAEs of each architecture, and how alike their decoder rows are."""
    setting = SETTINGS[name]
    tick(0.0, "building the world")
    preset = worlds.preset(study.preset).world
    tree = preset.hierarchy
    changed: dict[str, Any] = {}
    if tree:
        changed["hierarchy"] = dataclasses.replace(tree, **setting.hierarchy)
    if preset.slots:
        # without exclusion more children fire at once; equal room in all settings compiles once
        changed["slots"] = tuple(3 * n for n in preset.slots)
    world = study.world(**changed)
    dim = study.instance_config.hidden_dim
    overlap = {}
    if setting.overlap:
        random = worlds.overlap_of(world.n_features, dim)
        overlap = {"overlap": round(random + setting.overlap, 4)}
    (model,) = models(study, world, 1, **overlap)
    rows: list[Row] = []
    for place, sae in enumerate(size["saes"]):
        tick(place / len(size["saes"]), f"training {sae}")
        trained = train_on(
            study,
            sae,
            world,
            [model],
            [0],
            first=place,
            runs=2,
            width=round(setting.width * study.d_sae),
            target_l0=setting.l0 * study.target_l0,
        )
        more = {"condition": name, "factor_setting": name}
        rows += score_rows(study, world, [model], [0], trained, size["n_eval"], **more)
        if not (trained.ok(0, 0) and trained.ok(0, 1)):
            continue
        one, other = (trained.subjects[0][r].decoder for r in (0, 1))
        numbers = direction_numbers(one, other, study.number(0))
        same = {"same_instance": True, "same_dictionary": True}
        same |= {"same_init": False, "same_data": False}
        first, second = trained.columns[0]
        n = size["n_eval"]
        rows += rows_of_pair(study.shared, numbers, first, second, n, **more, **same)
    return rows
