"""The engine of the benchmarks: their registry, and what runs them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from synthsae_jax.io.names import file_name
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.base import SCALES, Benchmark, Cell, benchmarks, check_scale
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.context import Context, Trained
from synthsae_jax.suite.cost import Training
from synthsae_jax.suite.design import Arm, Design, register
from synthsae_jax.suite.families import FamilyPair, family_of, family_pairs, train_family
from synthsae_jax.suite.observation import Number, Observation, Side
from synthsae_jax.suite.pair import (
    Pair,
    measure_numbers,
    protocol_numbers,
    rule_numbers,
    truth_numbers,
)
from synthsae_jax.suite.quantity import Estimate, Observed, Quantity, combined, number, on_same
from synthsae_jax.suite.result import Result
from synthsae_jax.suite.runner import execute
from synthsae_jax.suite.runner import plan as _plan
from synthsae_jax.suite.scale import Scale, scales_of


def names() -> tuple[str, ...]:
    """The registered benchmarks, by versioned id."""
    return benchmarks.names()


def describe(name: str) -> str:
    """What a benchmark asks, its primary number, and what each scale takes."""
    benchmark = benchmarks[name]
    lines = [f"{name}: {benchmark.title}", f"  {benchmark.question}"]
    lines.append(f"  primary number: {benchmark.primary}")
    for scale in benchmark.sizes:
        cells = benchmark.cells(scale, "")
        size = benchmark.sizes[scale]
        cited = "pilot" if scale in ("smoke", "small") else "citable"
        lines.append(
            f"  {scale:<9} {cited:<8} preset {_presets(size)}: {_count(size['worlds'], 'world')}, "
            f"{_count(sum(c.runs for c in cells), 'SAE')} of {size['n_train']:,} samples"
        )
    return "\n".join(lines)


def _presets(size: Mapping[str, Any]) -> str:
    """The preset of a scale, or those of its arms."""
    return size["preset"] if "preset" in size else " and ".join(size["presets"].values())


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def run(
    name: str,
    scale: str = "smoke",
    out: str | os.PathLike[str] | None = None,
    salt: str = "",
    quiet: bool = False,
    accept_mixed: bool = False,
) -> Result:
    """Run a benchmark into a folder (default `runs/NAME-SCALE`) and return its result.

    What is finished there already is kept, so an interrupted run goes on; if another version or
    other canaries made it, only with `accept_mixed`. `salt` draws fresh report worlds.
    """
    benchmark = benchmarks[name]
    check_scale(scale)
    out = out or default_folder(name, scale)
    return execute(benchmark, scale, out, salt, quiet, accept_mixed)


def plan(name: str, scale: str = "smoke", salt: str = "") -> str:
    """What `run` would do: runs, compiles, memory, a rough time. Computes next to nothing."""
    return _plan(benchmarks[name], scale, salt)


def default_folder(name: str, scale: str) -> str:
    """Where a benchmark's result goes unless told otherwise."""
    return os.path.join("runs", file_name(f"{name.replace('@', '-')}-{scale}"))


__all__ = [
    "SCALES",
    "Arm",
    "Benchmark",
    "Cell",
    "Claim",
    "Context",
    "Design",
    "Estimate",
    "Explanation",
    "FamilyPair",
    "Number",
    "Observation",
    "Observed",
    "Pair",
    "Quantity",
    "Result",
    "Scale",
    "Side",
    "Trained",
    "Training",
    "benchmarks",
    "combined",
    "default_folder",
    "describe",
    "family_of",
    "family_pairs",
    "measure_numbers",
    "names",
    "number",
    "on_same",
    "plan",
    "protocol_numbers",
    "register",
    "rule_numbers",
    "run",
    "scales_of",
    "train_family",
    "truth_numbers",
]
