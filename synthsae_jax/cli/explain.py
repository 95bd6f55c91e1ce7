"""`synthsae explain`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from tyro.conf import Positional, arg

from synthsae_jax import registry
from synthsae_jax.cli.output import say


@dataclasses.dataclass(frozen=True)
class Explain:
    """Say what a metric, score, solver, measure, preset or benchmark is."""

    name: Positional[Annotated[str, arg(metavar="NAME")]]
    """Any name that 'synthsae list' or a result table shows."""

    def run(self) -> None:
        # imported for their entries in the registries
        from synthsae_jax import (  # noqa: F401
            matching,
            metrics,
            protocols,
            saes,
            similarity,
            suite,
            training,
            worlds,
        )

        for kind, explanation in registry.explain(self.name):
            say(f"{self.name} ({kind})")
            for field, text in dataclasses.asdict(explanation).items():
                if text:
                    say(f"  {field + ':':<11}{text}")
