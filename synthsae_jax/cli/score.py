"""`synthsae score`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from synthsae_jax.cli.arguments import MOST, File, Folder, existing_folder, writable_file
from synthsae_jax.cli.output import say, write_numbers
from synthsae_jax.errors import check_range, require


@dataclasses.dataclass(frozen=True)
class Score:
    """Evaluate an SAE folder of SAELens against a synthetic model's true features."""

    sae: Positional[Annotated[Path, arg(metavar="SAE_DIR")]]
    """Folder with the SAE's cfg.json and weights."""
    model: Folder = None
    """Folder of the synthetic model; the packaged artefact saelens-1k if not given."""
    samples: int = 100_000
    """How many samples the numbers rest on."""
    seed: int = 0
    """Which samples."""
    json: File = None
    """Also write the numbers to this file."""

    def run(self) -> None:
        check_range("--samples", self.samples, 1, MOST)
        check_range("--seed", self.seed, 0, MOST)
        existing_folder(self.sae)
        writable_file(self.json)
        from synthsae_jax import io, metrics
        from synthsae_jax.io.artefacts import reference_artefact

        sae, params = io.load_saelens_sae(self.sae)
        world, instance = io.load_saelens_model(self.model or reference_artefact())
        width = params.W_dec.shape[-1]
        require(
            width == instance.hidden_dim,
            f"{self.sae} reads {width} dimensions, but the model has {instance.hidden_dim}: "
            "name the model it was trained on with --model.",
        )
        scores = metrics.evaluate(world, instance, sae, params, self.samples, self.seed)
        numbers = {name: float(value) for name, value in scores.items()}
        write_numbers(self.json, numbers)
        for name, value in numbers.items():
            say(f"{name:<24} {value:.4f}")
