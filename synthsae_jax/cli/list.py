"""`synthsae list`."""

from __future__ import annotations

import dataclasses

from synthsae_jax.cli.arguments import PROGRAM
from synthsae_jax.cli.output import say


@dataclasses.dataclass(frozen=True)
class List:
    """Show the benchmarks, and every name that a benchmark or a script can be built from."""

    def run(self) -> None:
        from synthsae_jax import matching, saes, similarity, suite, worlds

        for name in suite.names():
            say(suite.describe(name))
        others = {
            "presets": worlds.preset_names(),
            "saes": saes.names(),
            "scores": matching.score_names(),
            "solvers": matching.solver_names(),
            "nulls": matching.null_names(),
            "similarity measures": similarity.names(),
        }
        say()
        for kind, names in others.items():
            say(f"{kind}: {', '.join(names)}")
        say(f"\n'{PROGRAM} explain NAME' says what a name means.")
