"""How fast `training.train` goes once it goes: its own calls of `progress`, on the clock.

The configuration is that of a long run, so that the program is the one a long run compiles; the
run is stopped when enough of its chunks have been timed.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from harness import Times, clock
from inputs import Model
from memory import Peak

from synthsae_jax.saes import SAE
from synthsae_jax.training import TrainConfig, train

LEAST_STEPS = 4000  # of the run that is stopped: as long as SynthSAEBench's shortest


class _Enough(Exception):
    """Stops the training from inside `progress`."""


@dataclasses.dataclass(frozen=True)
class Steady:
    """A training's seconds per step, and what shows that it trained."""

    first_seconds: float  # compile and first chunk
    times: Times  # per step, of each chunk after the first
    mse_loss: float  # mean over the first chunk's steps, all runs
    last_mse_loss: float  # over the last chunk's
    l0: float  # over the last chunk's
    dead_latents: float
    memory: dict[str, int]

    def record(self) -> dict[str, Any]:
        """As one flat JSON object; `seconds` is per step."""
        return {
            "first_seconds": self.first_seconds,
            **self.times.record(),
            "mse_loss": self.mse_loss,
            "last_mse_loss": self.last_mse_loss,
            "l0": self.l0,
            "dead_latents": self.dead_latents,
            **self.memory,
        }


def time_training(
    model: Model,
    sae: SAE,
    runs: int,
    *,
    dtype: str,
    batch: int,
    steps: int,
    chunks: int,
    between: Callable[[], None] | None = None,
    **more: Any,
) -> Steady:
    """Time `chunks` chunks of `steps` steps of one training of `runs` runs that share a stream.

    The first chunk, which compiles, is kept apart. `between` is called after every timed chunk
    but the last, off the clock: a peer's turn. `more` goes to `TrainConfig`.
    """
    points = -(-LEAST_STEPS // steps)
    config = TrainConfig(
        n_samples=points * steps * batch,
        batch_size=batch,
        dtype=dtype,
        history_points=points,
        **more,
    )
    seconds: list[float] = []
    reports: list[dict[str, np.ndarray]] = []
    began = clock()

    def progress(done: int, total: int, report: dict[str, np.ndarray]) -> None:
        nonlocal began
        assert done == steps * (len(seconds) + 1), "chunks are of another length than asked for"
        seconds.append(clock() - began)
        reports.append(report)
        if len(seconds) > chunks:
            raise _Enough
        if between is not None and len(seconds) > 1:
            between()
        began = clock()

    seeds = np.arange(runs)
    with Peak() as peak, contextlib.suppress(_Enough):
        train(model.world, model.instance, sae, config, init_seeds=seeds, progress=progress)
    mean = lambda report, name: float(np.mean(report[name]))
    return Steady(
        first_seconds=seconds[0],
        times=Times(tuple(s / steps for s in seconds[1:])),
        mse_loss=mean(reports[0], "mse_loss"),
        last_mse_loss=mean(reports[-1], "mse_loss"),
        l0=mean(reports[-1], "l0"),
        dead_latents=mean(reports[-1], "dead_latents"),
        memory=peak.record(),
    )
