"""Run a benchmark into a result folder: cell by cell, resumable, never damaging what is there."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import numpy as np

from synthsae_jax import interrupts
from synthsae_jax.modes import fixed
from synthsae_jax.suite.base import PILOTS, Benchmark, Cell, Tick, check_scale
from synthsae_jax.suite.progress import Reporter, progress
from synthsae_jax.suite.result import Result
from synthsae_jax.suite.run_folder import RunFolder

_WAIT_SECONDS = 0.2  # between looks at what other processes finish
_COMPILE_SECONDS = 12.0  # of a typical training or evaluation program on a few cores
_EFFICIENCY = 0.25  # of a large matrix product's rate that training on small worlds reaches


@fixed
def execute(
    benchmark: Benchmark,
    scale: str,
    out: str | os.PathLike[str],
    salt: str = "",
    quiet: bool = False,
    accept_mixed: bool = False,
) -> Result:
    """Run what is not done yet and return the result; a finished folder is only read.

    A folder that holds anything else (another benchmark, scale, salt or version) is refused, and so
    is one whose finished cells have other canaries or versions than this process, unless
    `accept_mixed`. Several processes on one folder share its cells; each returns when all are done.
    """
    check_scale(scale)
    folder = RunFolder(Path(out), benchmark, scale, salt)
    if not folder.is_complete():
        with interrupts.as_exceptions(), folder.at_work(accept_mixed):
            _compute_missing(folder, benchmark.id, quiet)
    folder.tidy()
    return Result(folder.path)


def _compute_missing(folder: RunFolder, title: str, quiet: bool) -> None:
    """Compute cells until none is missing, and finish the folder."""
    weights = {cell.name: max(cell.flops, 1.0) for cell in folder.cells}
    with progress(title, quiet) as report:
        # a file may vanish while others are made, so what is done is looked up each time
        while (missing := folder.missing()) or not folder.finish():
            start = 1 - sum(weights[cell.name] for cell in missing) / sum(weights.values())
            for cell in missing:
                if (lock := folder.claim(cell)) is not None:
                    with lock:
                        share = weights[cell.name] / sum(weights.values())
                        _compute(folder, cell, _part(report, start, share, cell.name))
                    break
            else:
                if missing:
                    workers = folder.worker(missing[0])
                    report(start, f"waiting for {missing[0].name}: {workers}")
                    time.sleep(_WAIT_SECONDS)
        report(1.0, "done")


def _compute(folder: RunFolder, cell: Cell, tick: Tick) -> None:
    start = time.perf_counter()
    rows = cell.compute(tick)
    folder.store(cell, rows, round(time.perf_counter() - start, 1))


def _part(report: Reporter, start: float, share: float, name: str) -> Tick:
    """A cell's progress as a part of the whole run's."""
    return lambda done, what: report(start + done * share, f"{name}: {what}")


def plan(benchmark: Benchmark, scale: str, salt: str = "") -> str:
    """What `execute` would do, as text: runs, compiles, memory, and a rough time here."""
    check_scale(scale)
    cells = list(benchmark.cells(scale, salt))
    programs = sorted({name for cell in cells for name in cell.programs})
    flops = sum(cell.flops for cell in cells)
    rate = _matmul_rate()
    seconds = flops / (rate * _EFFICIENCY) + _COMPILE_SECONDS * len(programs)
    cited = "may not be cited (pilot)" if scale in PILOTS else "may be cited"
    lines = [
        f"{benchmark.id} at scale {scale}: {cited}; primary number: {benchmark.primary}",
        f"  cells      {len(cells)}",
        f"  runs       {sum(cell.runs for cell in cells)} SAEs",
        f"  samples    {sum(cell.runs * cell.samples for cell in cells):,} for training",
        f"  pairs      {sum(cell.pairs for cell in cells):,} of SAEs scored",
        f"  compiles   {len(programs)} programs: {', '.join(programs)}",
        f"  memory     about {_bytes(max(cell.memory for cell in cells))} for the largest cell",
        f"  time       about {_duration(seconds)} here: an estimate from a matrix product "
        f"({rate / 1e9:.0f} GFLOP/s) and {_COMPILE_SECONDS:.0f} s a compile",
    ]
    return "\n".join(lines)


def _matmul_rate() -> float:
    """FLOP/s of a float32 matrix product on JAX's default device."""
    import jax
    import jax.numpy as jnp

    size = 1024
    a = jnp.ones((size, size))
    product = jax.jit(lambda a: a @ a)
    product(a).block_until_ready()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        product(a).block_until_ready()
        times.append(time.perf_counter() - start)
    return 2 * size**3 / float(np.min(times))


def _bytes(n: float) -> str:
    return f"{n / 2**20:.0f} MiB" if n < 2**30 else f"{n / 2**30:.1f} GiB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{math.ceil(seconds / 10) * 10} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
