"""universality@1: when rules say that two models share features, do they?"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from synthsae_jax import worlds
from synthsae_jax.experiments.recovery import train_config
from synthsae_jax.protocols import protocols
from synthsae_jax.registry import Explanation, explain_metric
from synthsae_jax.suite import family_cell, sharing
from synthsae_jax.suite.base import Benchmark, Cell, benchmarks
from synthsae_jax.suite.family_protocols import ProtocolPlan
from synthsae_jax.suite.family_truth import SETTINGS
from synthsae_jax.suite.seeds import world_seed
from synthsae_jax.worlds import family

ID = "universality@1"
ARCHITECTURES = ("topk", "batchtopk")
# geometry shared or not, crossed with all, half and none of the features; both zeros
GRID = (
    family.IDENTICAL,
    family.ROTATED,
    family.INDEPENDENT,
    family.HALF_ROTATED,
    family.HALF,
    family.DISJOINT_INDEPENDENT,
    family.DISJOINT_COUPLED,
)
SIZES: Mapping[str, Mapping[str, Any]] = {
    "smoke": {
        "preset": "mini",
        "target_l0": 3.6,
        "worlds": 1,
        "instances": 1,
        "seeds": 1,
        "n_train": 51_200,
        "n_match": 16_384,
        "batch_size": 256,
        "lr": 1e-2,
        "dead_window": 50,
        "architectures": ("topk",),
        "conditions": ("rotated", "disjoint_independent"),
        "protocols": {"n_tokens": 2048, "draws": 2, "level_draws": 4},
        "oracle_protocols": False,
    },
    "small": {
        "preset": "mini",
        "target_l0": 3.6,
        "worlds": 5,
        "instances": 1,
        "seeds": 2,
        "n_train": 512_000,
        "n_match": 98_304,
        "protocols": {"n_tokens": 8192, "draws": 19, "level_draws": 20},
        "batch_size": 512,
        "lr": 1e-2,
        "dead_window": 100,
    },
    "standard": {
        "preset": "1k",
        "target_l0": 5.6,
        "worlds": 10,
        "instances": 1,
        "seeds": 2,
        "n_train": 4_096_000,
        "n_match": 294_912,
        "protocols": {"n_tokens": 32_768, "draws": 19},
        "batch_size": 1024,
        "lr": 1e-3,
        "dead_window": 500,
    },
    "full": {
        "preset": "4k",
        "target_l0": 12.4,
        "worlds": 20,
        "instances": 1,
        "seeds": 2,
        "n_train": 20_480_000,
        "n_match": 999_424,
        "protocols": {"n_tokens": 65_536, "draws": 19},
        "batch_size": 1024,
        "lr": 5e-4,
        "dead_window": 1000,
    },
}


def cells(scale: str, salt: str) -> Sequence[Cell]:
    """One cell per family and architecture, and one for its oracles; worlds outermost."""
    size = SIZES[scale]
    return [
        cell
        for index in range(size["worlds"])
        for cell in family_cells(ID, size, world_seed(ID, salt, index), index)
    ]


def family_cells(benchmark: str, size: Mapping[str, Any], seed: int, index: int) -> Sequence[Cell]:
    """The cells of one family: an architecture each, then the oracle."""
    preset = worlds.preset(size["preset"])
    chosen = size.get("conditions", tuple(c.name for c in GRID))
    plan = family_cell.FamilyPlan(
        benchmark=benchmark,
        preset=size["preset"],
        world_seed=seed,
        number=index,
        conditions=tuple(c for c in GRID if c.name in chosen),
        seeds=size["seeds"],
        config=train_config(size),
        n_match=size["n_match"],
        target_l0=float(size["target_l0"]),
        every_truth=True,
        protocols=ProtocolPlan(**size["protocols"]) if size.get("protocols") else None,
    )
    weights = 2 * preset.d_sae * preset.instance.hidden_dim
    n_runs = plan.members * plan.seeds
    spec = {
        **size,
        "conditions": chosen,
        "world_seed": seed,
        "seeds": {"world": seed},
        "truths": [{"method": method, **rule._asdict()} for method, rule in SETTINGS],
        "asked": {name: protocols[name].version for name in protocols},
    }
    found = []
    for name in size.get("architectures", ARCHITECTURES):
        k = round(size["target_l0"]) if name == "topk" else size["target_l0"]
        found.append(
            Cell(
                name=f"family{index}/{name}",
                spec={**spec, "sae": name, "k": k},
                compute=functools.partial(family_cell.compute, plan, name, name, {"k": k}),
                runs=n_runs,
                samples=size["n_train"],
                flops=6.0 * weights * size["n_train"] * n_runs,
                memory=4.0 * (4 * weights + 6 * size["batch_size"] * preset.d_sae) * n_runs,
                programs=(
                    *(f"{name}: {what}" for what in ("training", "truth", "pairs")),
                    "protocols",
                    "sampling",
                ),
            )
        )
    bare = dataclasses.replace(plan, protocols=None)
    oracle = Cell(
        name=f"family{index}/oracle",
        spec={**spec, "sae": "oracle"},
        compute=functools.partial(
            family_cell.compute_oracle, plan if size.get("oracle_protocols", True) else bare
        ),
        runs=0,
        samples=0,
        flops=2.0 * weights * size["n_match"] * plan.members,
        memory=4.0 * 2 * preset.world.n_features * preset.d_sae * plan.members,
        programs=("oracle: pairs", "protocols", "sampling"),
    )
    return [*found, oracle]


benchmarks.register(
    ID,
    Explanation(
        what="Pairs of SAEs on two models whose features are shared in full, by half or not at "
        "all, with and without shared geometry; what published rules declare shared.",
        formula="primary number: mean |declared share - share of features in common| over the "
        "grid, per rule",
        range="[0, 1]",
        chance="both zeros (disjoint_independent, disjoint_coupled) are part of the grid",
        source="Feature Universality, arXiv 2410.06981; arXiv 2501.16615",
    ),
)(
    Benchmark(
        id=ID,
        title="Declared against true sharing",
        question="When two SAEs are said to share features, do their models?",
        primary="sharing_error",
        primary_variant="each rule",
        sizes=SIZES,
        cells=cells,
        by=("sae", "condition"),
        metrics=("declared_shared", "features_shared", "true_universality", "precision"),
    )
)

explain_metric(
    "declared_shared",
    Explanation(
        what="Share of latents that a rule calls shared between two SAEs.",
        formula="matched pairs / living latents of the smaller side (of B, for a many-to-one rule)",
        range="[0, 1]",
        chance="what the rule declares under disjoint_independent and disjoint_coupled",
        undefined="no latent of a side fires",
    ),
)
explain_metric(
    "features_shared",
    Explanation(
        what="Share of model A's features that model B has: set by the experiment, exact.",
        formula="|P_A n P_B| / |P_A|",
        range="[0, 1]",
    ),
)
explain_metric(
    "sharing_error",
    Explanation(
        what="How far a rule's declared share is from the share of features in common.",
        formula="|declared_shared - features_shared|",
        range="[0, 1]",
        undefined="where declared_shared is",
    ),
)
explain_metric(
    "median_firings",
    Explanation(
        what="Median number of firings of living latents in the tokens a rule read.",
        range=">= 1",
    ),
)
explain_metric(
    "protocol_number",
    Explanation(
        what="A published protocol's own number for the pair; the variant names the protocol.",
        formula="see the protocol (synthsae explain NAME)",
        chance="the mean of its first null, as variant NAME/chance",
        undefined="inputs that the protocol needs are missing, or nothing was matched",
    ),
)
explain_metric(
    "protocol_p",
    Explanation(
        what="The p-value of a protocol's own number under its first null.",
        formula="(1 + draws that reach it) / (1 + draws)",
        range="(0, 1]",
        undefined="the protocol has no null that is about its number",
    ),
)
for _name in sharing.BANDED:
    for _end, _word in (("least", "least"), ("most", "largest")):
        explain_metric(
            f"{_name}_{_end}",
            Explanation(
                what=f"The {_word} {_name} over ways of telling what a latent tracks.",
                formula="over all truth methods at thresholds .5, .6, .7, .8 and .9 and the "
                "default (universality); over geometric, functional and agreeing truth at .5, .7 "
                "and .9 (the main job)",
                undefined="where no way defines it",
            ),
        )
