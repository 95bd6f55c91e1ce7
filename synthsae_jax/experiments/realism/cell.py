"""A cell of realism@1: one setting of one world, and every number that was published of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy import sparse

from synthsae_jax import metrics, worlds
from synthsae_jax.experiments.realism import numbers
from synthsae_jax.experiments.realism.choice import share, simulated
from synthsae_jax.experiments.realism.readings import (
    MODELS,
    Stream,
    across_numbers,
    activations,
    carried_numbers,
    probe_numbers,
    swapped_numbers,
)
from synthsae_jax.experiments.realism.targets import FIT, JUDGE
from synthsae_jax.io.rows import Row, make_row
from synthsae_jax.numerics import firings
from synthsae_jax.suite import table
from synthsae_jax.suite.base import Tick
from synthsae_jax.suite.probes import probed
from synthsae_jax.suite.pursuit import PURSUIT
from synthsae_jax.suite.recipes import recipe
from synthsae_jax.suite.study import Study, Subject, family_of, read_codes
from synthsae_jax.worlds import World
from synthsae_jax.worlds.family import Family, plain_view

WIDE, TWICE_K, EARLY = "twice the width", "twice k", "an eighth of the training"
_FEW = 2  # SAEs of what is only compared with itself
_DIVERGED = "the training loss was not finite"
_OFF = 2.0  # factor by which an SAE's L0 may miss the setting's


@dataclasses.dataclass(frozen=True)
class Arm:
    """What a setting changes of the scale's world and training."""

    name: str
    scaled: bool = False  # children scaled by the parent, as on SynthSAEBench-16k
    trees: bool = True
    exponent: float | None = None  # of the firing law
    # relative to the scale's
    dimensions: float = 1.0
    k: float = 1.0
    length: float = 1.0
    width: float = 1.0
    verdicts: bool = False  # are there probes and all architectures, for the verdicts by name?


def compute(study: Study, size: Mapping[str, Any], arm: Arm, tick: Tick) -> list[Row]:
    """Rows of all numbers at one setting: TopK seeds first, then what is compared with them."""
    tick(0.0, "building the models")
    world = _world(study, arm)
    dim = round(arm.dimensions * study.instance_config.hidden_dim)
    config = dataclasses.replace(study.instance_config, hidden_dim=dim)
    models = family_of(study, world, MODELS, config)
    view, k = plain_view(models.reference), arm.k * study.target_l0
    width = round(arm.width * study.d_sae)
    rows = _Rows(study, arm.name)
    seeds = _train_topk(study, size["n_seeds"], models, width, k, tick)
    tick(0.4, "a wider SAE")
    wide = study.train("topk", world, [view] * _FEW, first=20, width=2 * width, target_l0=k)
    wider = [row[0] for i, row in enumerate(wide.subjects) if wide.ok(i, 0)]
    if seeds is None or len(wider) < _FEW:
        rows.add("topk", {"shared": math.nan}, reason=_DIVERGED)
        return rows.found
    codes = read_codes(view, world, study.n_match, study.number(0), "calibrate")
    stream = Stream(study, world, codes, activations(codes, view))
    first = stream.read(seeds.own[0])
    rows.add("topk", _of_seeds(seeds, first, np.asarray(view.dictionary)))
    rows.add("topk", stream.fit(seeds.own[0], first))
    rows.add(TWICE_K, _lost(seeds.own, seeds.twice_k))
    rows.add(EARLY, _lost(seeds.own, seeds.early))
    rows.add(WIDE, _lost(seeds.own, wider))
    rows.add(WIDE, {"novel": numbers.novel(wider[0].decoder, seeds.own[0].decoder)})
    read = {"topk": (seeds.own[0], first)}
    for place, name in enumerate(saes_of(size, arm)):
        tick(0.5 + 0.07 * place, f"training {name}")
        trained = study.train(
            name, world, [view] * _FEW, first=24 + _FEW * place, width=width, target_l0=k
        )
        if not all(trained.ok(i, 0) for i in range(_FEW)):
            rows.add(name, {"f1": math.nan}, reason=_DIVERGED)
            continue
        mine = [row[0] for row in trained.subjects]
        here = mine[0], stream.read(mine[0])
        found = {**stream.fit(*here), **_of_pair(mine)}
        if 1 / _OFF <= found["l0"] / k <= _OFF:
            read[name] = here
        else:
            # an SAE of another sparsity is no comparison: a penalty takes steps to be steered
            found = {v: found[v] if v == "l0" else math.nan for v in found}
        rows.add(name, found, reason=f"its L0 is further than a factor {_OFF:g} from {k:g}")
    if arm.verdicts:
        tick(0.8, "probes")
        ids = probed(world, view, width, size["n_probes"])
        for name, found in probe_numbers(stream, read, ids).items():
            rows.add(name, found)
    tick(0.85, "another encoder")
    rows.add(PURSUIT, swapped_numbers(stream, seeds.own[0], first, round(k)))
    tick(0.9, "other models")
    for condition, found in across_numbers(study, models, seeds.own[0], seeds.others):
        rows.add("", found, condition)
    for variant, found in carried_numbers(study, models, seeds.own[0], seeds.others).items():
        rows.add(variant, found)
    (of_world,) = simulated(rows.found).values()
    for setting in of_world:
        for half in (FIT, JUDGE):
            rows.add(half, {"agreement": share(of_world, setting, half)}, setting[1])
    return rows.found


def saes_of(size: Mapping[str, Any], arm: Arm) -> tuple[str, ...]:
    """Architectures that an arm trains besides TopK."""
    return (*size["saes"], *(size["verdict_saes"] if arm.verdicts else ()))


def _world(study: Study, arm: Arm) -> World:
    given = worlds.preset(study.preset).world
    changes: dict[str, Any] = {} if arm.trees else {"hierarchy": None, "slots": None}
    if arm.scaled and given.hierarchy is not None:
        tree = dataclasses.replace(given.hierarchy, scale_children_by_parent=True)
        changes["hierarchy"] = tree
    if arm.exponent is not None:
        changes["firing"] = dataclasses.replace(given.firing, exponent=arm.exponent)  # type: ignore
    return study.world(**changes)


@dataclasses.dataclass(frozen=True)
class _Seeds:
    """TopK SAEs of one program: on A at k and at twice k, early on, and one on each B."""

    own: list[Subject]
    early: list[Subject]
    twice_k: list[Subject]
    others: list[Subject]


def _train_topk(
    study: Study, n: int, models: Family, width: int, k: float, tick: Tick
) -> _Seeds | None:
    """None where one diverged."""
    views = [plain_view(instance) for instance in models.instances]
    members = [*[views[0]] * (n + _FEW), *views[1:]]
    made = recipe("topk", views[0].dictionary.shape[-1], width, k, study.config)
    whole = max(1, round(k))
    ks = np.array([[whole]] * n + [[2 * whole]] * _FEW + [[whole]] * len(MODELS))
    trained = study.train(
        "topk",
        models.base,
        members,
        sae=made.sae,
        config=dataclasses.replace(made.config, snapshots=(math.ceil(study.config.n_steps / 8),)),
        hyper=made.sae.hyper.replace(k=ks),
        tick=lambda done, what: tick(0.4 * done, what),
    )
    if not all(trained.ok(i, 0) for i in range(len(members))):
        return None
    found = [row[0] for row in trained.subjects]
    early = trained.result.snapshots[0]
    then = lambda s, i: dataclasses.replace(
        s, decoder=np.asarray(early.W_dec)[i, 0], encoder=np.asarray(early.W_enc)[i, 0].T
    )
    return _Seeds(
        own=found[:n],
        early=[then(s, i) for i, s in enumerate(found[:n])],
        twice_k=found[n : n + _FEW],
        others=found[n + _FEW :],
    )


def _of_pair(group: Sequence[Subject]) -> dict[str, float]:
    return numbers.pair_numbers([s.decoder for s in group], [s.encoder for s in group])


def _lost(group: Sequence[Subject], other: Sequence[Subject]) -> dict[str, float]:
    """What the others share less than the usual SAEs do, as a share of latents."""
    shared = _of_pair(other)["shared"]
    return {"shared": shared, "shared_lost": _of_pair(group)["shared"] - shared}


def _of_seeds(seeds: _Seeds, first: sparse.csr_matrix, features: np.ndarray) -> dict[str, float]:
    fired = firings(first)
    decoders = [s.decoder for s in seeds.own]
    encoders = [s.encoder for s in seeds.own if s.encoder is not None]
    found = numbers.seed_numbers(decoders, encoders, fired)
    true = float(np.mean([metrics.mcc(jnp.asarray(d), jnp.asarray(features)) for d in decoders]))
    return {
        **found,
        "mcc": true,
        "mcc_less_pw_mcc": true - found["pw_mcc"],
        "recovered": float(np.mean([numbers.recovered(d, features) for d in decoders])),
    }


class _Rows:
    """The rows of a cell, one per number: `variant` says of what, `condition` of which model."""

    def __init__(self, study: Study, setting: str):
        self.study, self.setting = study, setting
        self.found: list[Row] = []

    def add(
        self,
        variant: str,
        values: Mapping[str, float],
        condition: str = "",
        reason: str = "too few seeds, or nothing of this kind",
    ) -> None:
        for metric, value in values.items():
            self.found.append(
                make_row(
                    **self.study.shared.columns(),
                    run_id=f"{self.setting}-{condition}-{self.study.world_seed}",
                    instance=self.study.number(0),
                    condition=condition,
                    metric=metric,
                    variant=variant,
                    n_eval=self.study.n_match,
                    factor_setting=self.setting,
                    **table.valued(value, reason=reason),
                )
            )
