"""A benchmark of tiny numpy cells, for tests of what runs benchmarks."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from synthsae_jax.io import provenance
from synthsae_jax.io.rows import Row, make_row
from synthsae_jax.suite import run_folder
from synthsae_jax.suite.base import Benchmark, Cell
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.quantity import number

CANARIES = {"codes": [1.0, 2.0]}
VALUE = dataclasses.replace(number("f1", title="the value"), units=("instance",))
CLAIM = Claim("T1", "Ones.", VALUE, 0.5, 0.1, "zeros")
NAMES = ("first", "a/b", "a b", "last")  # not all are file names


def rows_of(number: int, value: float) -> list[Row]:
    """Two rows of a cell; equal whenever they are made."""
    draws = np.random.default_rng(number).normal(value, size=2)
    return [
        make_row(
            benchmark="toy@1",
            run_id=f"r{number}",
            step=1,
            metric=metric,
            value=float(draw),
            instance=number,
        )
        for metric, draw in zip(("f1", "mcc"), draws, strict=True)
    ]


def toy(
    log: str | os.PathLike[str] | None = None,
    seconds: float = 0.0,
    value: float = 1.0,
    names: tuple[str, ...] = NAMES,
    during: Callable[[int], None] = lambda number: None,
    claims: tuple[Claim, ...] = (CLAIM,),
) -> Benchmark:
    """Four cells of two rows; each appends its number to the file `log`, sleeps, calls `during`."""

    def compute(number: int, tick) -> list[Row]:
        tick(0.5, "half")
        if log is not None:
            with open(log, "a") as file:
                file.write(f"{number}\n")
        time.sleep(seconds)
        during(number)
        return rows_of(number, value)

    def cells(scale: str, salt: str) -> list[Cell]:
        return [
            Cell(
                name=name,
                spec={"number": i, "value": value, "scale": scale, "salt": salt},
                compute=lambda tick, i=i: compute(i, tick),
                runs=1,
                samples=10,
                flops=1e6,
                memory=1e6,
                programs=("toy",),
            )
            for i, name in enumerate(names)
        ]

    sizes = {"smoke": {}}
    return Benchmark("toy@1", "toy", "?", "f1", sizes, cells, claims)


def computed(log: Path) -> list[int]:
    """The numbers of the cells that were computed, in order."""
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def without_jax(patch: Callable[[object, str, object], object]) -> None:
    """Replace what a manifest asks JAX and git for, so that a run takes milliseconds."""
    patch(run_folder, "canaries", lambda: CANARIES)
    patch(provenance, "machine", lambda: {"platform": "toy", "threads": 1})
    patch(provenance, "versions", lambda: {"synthsae_jax": "1", "jax": "1", "jaxlib": "1"})
    patch(provenance, "git_state", lambda: {"commit": "c0ffee", "dirty": False})
