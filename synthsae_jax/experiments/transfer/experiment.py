"""transfer@1: what of an SAE on one model serves on another, and how many samples it saves."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax import keys, worlds
from synthsae_jax.experiments.recovery import train_config
from synthsae_jax.experiments.transfer.claims import CLAIMS
from synthsae_jax.experiments.transfer.models import (
    BOTH,
    DEALT,
    FEATURES,
    GEOMETRY,
    NEITHER,
    models_of,
    plain,
)
from synthsae_jax.experiments.transfer.plan import FROZEN, JOBS, Setup, lines
from synthsae_jax.experiments.transfer.rows import alignment_rows, rows_of
from synthsae_jax.experiments.transfer.starts import (
    ALIGNED,
    DISJOINT,
    KNOWN,
    NONE,
    PROCRUSTES,
    Both,
    all_starts,
    fit_both,
    known_rotation,
    no_map,
    paired_activations,
)
from synthsae_jax.io.rows import Row
from synthsae_jax.registry import Explanation
from synthsae_jax.saes import SAE, SAEParams
from synthsae_jax.suite.base import Benchmark, Cell, Tick, benchmarks
from synthsae_jax.suite.recipes import recipe
from synthsae_jax.suite.seeds import world_seed
from synthsae_jax.suite.study import Study
from synthsae_jax.training import TrainResult

ID = "transfer@1"
SOURCE = 32  # of the numbers of a cell's models: the first source's

_EVERY = (BOTH, FEATURES, GEOMETRY, DEALT, NEITHER)

SIZES: Mapping[str, Mapping[str, Any]] = {
    "smoke": {
        "preset": "micro",
        "target_l0": 4.7,
        "worlds": 1,
        "targets": (BOTH, NEITHER),
        "in_parts": (),
        "budgets": (0.05, 1.0),
        "n_train": 25_600,
        "n_paired": 1_024,
        "n_eval": 8_192,
        "n_match": 8_192,
        "batch_size": 128,
        "lr": 1e-2,
        "dead_window": 1_000,
    },
    "small": {
        "preset": "micro",
        "target_l0": 4.7,
        "worlds": 5,
        "targets": _EVERY,
        "in_parts": (BOTH, FEATURES),
        "budgets": (0.01, 0.05, 0.2, 1.0),
        "n_train": 51_200,
        "n_paired": 1_024,
        "n_eval": 8_192,
        "n_match": 8_192,
        "batch_size": 128,
        "lr": 1e-2,
        "dead_window": 1_000,
    },
    "standard": {
        "preset": "1k",
        "target_l0": 5.6,
        "worlds": 10,
        "targets": _EVERY,
        "in_parts": _EVERY,
        "budgets": (0.01, 0.05, 0.2, 1.0),
        "n_train": 4_096_000,
        "n_paired": 16_384,
        "n_eval": 98_304,
        "n_match": 98_304,
        "batch_size": 1024,
        "lr": 1e-3,
        "dead_window": 4_000,
    },
    "full": {
        "preset": "4k",
        "target_l0": 12.4,
        "worlds": 20,
        "targets": _EVERY,
        "in_parts": _EVERY,
        "budgets": (0.01, 0.05, 0.2, 1.0),
        "n_train": 20_480_000,
        "n_paired": 65_536,
        "n_eval": 196_608,
        "n_match": 196_608,
        "batch_size": 1024,
        "lr": 5e-4,
        "dead_window": 20_000,
    },
}


def cells(scale: str, salt: str) -> Sequence[Cell]:
    """One cell per world."""
    size = SIZES[scale]
    return [_cell(size, world_seed(ID, salt, w), w) for w in range(size["worlds"])]


def _cell(size: Mapping[str, Any], seed: int, number: int) -> Cell:
    preset = worlds.preset(size["preset"])
    weights = 2 * preset.d_sae * preset.instance.hidden_dim
    at_once = (len(size["targets"]) + len(size["in_parts"])) * len(JOBS)
    runs = 3 + at_once * len(size["budgets"])
    samples = size["n_train"] * (3 + at_once * sum(size["budgets"]))
    study = Study(
        ID, size["preset"], seed, number, train_config(size), size["target_l0"], size["n_match"]
    )
    return Cell(
        name=f"world{number}",
        spec={**size, "world_seed": seed, "seeds": {"world": seed}},
        compute=functools.partial(compute, study, size),
        runs=runs,
        samples=round(samples / runs),  # a mean: budgets differ
        flops=6.0 * weights * samples,
        memory=4.0 * (4 * weights + 6 * size["batch_size"] * preset.d_sae) * at_once,
        programs=("sources: training", "transfers: training", "reading", "truth", "sampling"),
        pairs=at_once,
    )


def compute(study: Study, size: Mapping[str, Any], tick: Tick) -> list[Row]:
    """Rows of one world: alignments, curves over budgets, savings, what stays and is inherited."""
    tick(0.0, "building the models")
    models = models_of(
        study.world(), study.instance_config, tuple(size["targets"]), study.number(0)
    )
    here = lines(size, models)
    made = recipe(
        "topk", study.instance_config.hidden_dim, study.d_sae, study.target_l0, study.config
    )
    sources = study.train(
        "topk",
        models.family.base,
        [plain(source) for source in models.sources],
        first=SOURCE,
        sae=made.sae,
        config=made.config,
        tick=lambda done, what: tick(0.1 * done, f"{what}: sources"),
    )
    seeds = study.seeds(len(here), len(JOBS))
    setup = Setup(study, size, models, sources, here, made.sae, seeds)
    tick(0.1, "alignments")
    rows, maps = [], []
    for i in range(len(models.targets)):
        fitted, held_out = _maps(setup, i)
        maps.append(fitted)
        rows += alignment_rows(setup, i, fitted, held_out)
    begun = _begun(setup, maps)
    trained = [_trained(setup, begun, budget, tick) for budget in size["budgets"]]
    return rows + rows_of(setup, begun, trained, tick)


def _maps(setup: Setup, i: int) -> tuple[dict[str, Both], tuple[jax.Array, jax.Array]]:
    """How each start gets into target i's space, and paired tokens that no fit has seen."""
    models, target = setup.models, setup.models.targets[i]
    n = setup.size["n_paired"]

    def paired(source: int):
        world = models.registry(target, control=source > 0)
        ends = models.sources[source], models.target(i)
        a, b = paired_activations(world, *ends, 2 * n, setup.study.number(i))
        return (a[:n], b[:n]), (a[n:], b[n:])

    seen, held_out = paired(0)
    view = plain(models.target(i))
    return {
        NONE: no_map(view.dictionary.shape[1]),
        KNOWN: known_rotation(plain(models.family.reference), view, models.places[i]),
        DISJOINT: fit_both(PROCRUSTES, *paired(models.control(target))[0]),
        **{name: fit_both(name, *seen) for name in ALIGNED},
    }, held_out


def _begun(setup: Setup, maps: Sequence[Mapping[str, Both]]) -> SAEParams:
    """The raw weights that all runs begin with, [I, R]."""
    # from scratch as `train` would draw them
    drawn = _drawn(setup.sae.static, jnp.asarray(setup.seeds.ravel()))
    raw = setup.sources.result.state.params
    of_sources = [jax.tree.map(lambda leaf, i=i: leaf[i, 0], raw) for i in range(3)]
    found = []
    for at, line in enumerate(setup.lines):
        control = setup.models.control(line.target)
        seed = setup.study.number(line.number)
        starts = all_starts(of_sources, control, maps[line.number], seed)
        for r, (start, *_) in enumerate(line.jobs):
            p = at * len(JOBS) + r
            own = jax.tree.map(lambda leaf, p=p: leaf[p], drawn)
            found.append(starts.get(start, own))
    shape = setup.seeds.shape
    return jax.tree.map(lambda *leaves: np.stack(leaves).reshape(*shape, *leaves[0].shape), *found)


@functools.partial(jax.jit, static_argnums=0)
def _drawn(sae: SAE, seeds: jax.Array) -> SAEParams:
    return jax.vmap(lambda seed: sae.init(keys.init_key(seed)))(seeds)


def _trained(setup: Setup, begun: SAEParams, budget: float, tick: Tick) -> TrainResult:
    """All runs with a share of the samples, each budget with a decay of its own."""
    size, study = setup.size, setup.study
    names = ("W_enc", "b_enc", "W_dec", "b_dec")
    jobs = [line.jobs for line in setup.lines]
    over = lambda what: np.array([[what(*job) for job in of] for of in jobs])
    frozen = {name: over(lambda start, mode, rate, n=name: n in FROZEN[mode]) for name in names}
    rates = over(lambda start, mode, rate: rate)
    budgets = size["budgets"]
    before, total = (sum(b for b in budgets if b < top) for top in (budget, np.inf))
    share = lambda done: 0.15 + 0.65 * (before + budget * done) / total
    # runs on one target read one stream, so that they differ by where they begin
    data = np.array([study.seeds(1, 1, first=line.number)[0, 0] for line in setup.lines])
    return study.train(
        "topk",
        setup.models.family.base,
        setup.views,
        runs=len(JOBS),
        sae=setup.sae,
        config=train_config({**size, "n_train": round(budget * size["n_train"])}),
        init_seeds=setup.seeds,
        data_seeds=data,
        weights=begun,
        frozen=frozen,
        lr=rates * size["lr"],
        tick=lambda done, what: tick(share(done), f"training with {budget:.0%} of the samples"),
    ).result


benchmarks.register(
    ID,
    Explanation(
        what="An SAE of one model carried to another that has its features, its geometry, both or "
        "neither: unaligned, by Procrustes, by a ridge map, by the rotation that is known; as it "
        "is and fine-tuned with 1 to 100 % of the samples, beside training from scratch and four "
        "controls.",
        formula="primary number: saving = 1 - samples to target / those from scratch; target: the "
        "explained variance from scratch with all samples less one seed's sd; paired tokens count "
        "as samples; a target that is not reached is taken as reached after the last budget",
        range="(-inf, 1]",
        chance="the saving of an SAE from a model without a common feature",
        source="the transfer question of Feature Universality, arXiv 2410.06981; model stitching",
    ),
)(
    Benchmark(
        id=ID,
        title="Transfer between models",
        question="What of an SAE on one model serves on another, and what does it take?",
        primary="saving",
        primary_variant="explained_variance",
        sizes=SIZES,
        cells=cells,
        by=("condition", "factor_start", "factor_mode", "factor_rate"),
        metrics=("saving", "reached", "identity_kept", "shared_artefacts"),
        claims=CLAIMS,
    )
)
