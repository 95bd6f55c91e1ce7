"""`synthsae list`."""

from __future__ import annotations

import dataclasses

from synthsae_jax.cli.arguments import PROGRAM


@dataclasses.dataclass(frozen=True)
class List:
    """Show the benchmarks, and every name that a benchmark or a script can be built from."""

    def run(self) -> None:
        from synthsae_jax import matching, saes, similarity, suite, worlds

        for name in suite.names():
            print(suite.describe(name))
        others = {
            "presets": worlds.preset_names(),
            "saes": saes.names(),
            "scores": matching.score_names(),
            "solvers": matching.solver_names(),
            "nulls": matching.null_names(),
            "similarity measures": similarity.names(),
        }
        print()
        for kind, names in others.items():
            print(f"{kind}: {', '.join(names)}")
        print(f"\n'{PROGRAM} explain NAME' says what a name means.")
