"""Run a benchmark into a result folder: cell by cell, resumable, never damaging what is there."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from synthsae_jax.errors import ConfigError
from synthsae_jax.io import atomic, configs, results
from synthsae_jax.io import manifest as manifests
from synthsae_jax.suite.base import PILOTS, Benchmark, Cell, check_scale
from synthsae_jax.suite.canaries import canaries
from synthsae_jax.suite.claims import VERDICTS, judge, write_verdicts
from synthsae_jax.suite.progress import progress
from synthsae_jax.suite.result import Result

_COMPILE_SECONDS = 12.0  # of a typical training or evaluation program on a few cores
_EFFICIENCY = 0.25  # of a large matrix product's rate that training on small worlds reaches


def execute(
    benchmark: Benchmark,
    scale: str,
    out: str | os.PathLike[str],
    salt: str = "",
    quiet: bool = False,
) -> Result:
    """Run what is not done yet and return the result; a finished folder is only read.

    A folder that holds anything else (another benchmark, scale, salt or version) is refused.
    """
    check_scale(scale)
    out = Path(out)
    cells = list(benchmark.cells(scale, salt))
    spec = benchmark.spec(scale, salt)
    spec_hash = configs.config_hash(spec)
    done = _open(out, benchmark, scale, salt, spec, spec_hash, cells)
    manifest = manifests.read_manifest(out)
    todo = [cell for cell in cells if cell.name not in done]
    if not todo:
        if benchmark.claims and not (out / VERDICTS).exists():
            _judge(benchmark, scale, out)
        return Result(out)
    weights = {cell.name: max(cell.flops, 1.0) for cell in cells}
    total = sum(weights.values())
    base = sum(weights[name] for name in done)
    manifest = {**manifest, "state": "running"}
    try:
        with progress(benchmark.id, quiet) as report:
            for cell in todo:
                here, weight, start = base, weights[cell.name], time.perf_counter()
                rows = cell.compute(
                    lambda share, what, here=here, weight=weight, cell=cell: report(
                        (here + share * weight) / total, f"{cell.name}: {what}"
                    )
                )
                results.append_rows(out / results.RESULTS, rows)
                done.append(cell.name)
                base += weight
                took = {**manifest.get("cell_seconds", {}), cell.name: _since(start)}
                manifest = {**manifest, "cells_done": done, "cell_seconds": took}
                manifests.write_manifest(out, manifest)
            report(1.0, "done")
    except BaseException:
        # Ctrl-C too: what is finished stays, and the folder says that something is missing
        manifests.write_manifest(out, manifests.finish(manifest, "interrupted"))
        raise
    if benchmark.claims:
        _judge(benchmark, scale, out)
    manifests.write_manifest(out, manifests.finish(manifest, "completed"))
    return Result(out)


def _judge(benchmark: Benchmark, scale: str, out: Path) -> None:
    found = judge(benchmark.claims, results.read_rows(out / results.RESULTS))
    write_verdicts(out, benchmark.id, scale in PILOTS, found)


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


def _open(
    out: Path,
    benchmark: Benchmark,
    scale: str,
    salt: str,
    spec: dict[str, Any],
    spec_hash: str,
    cells: Sequence[Cell],
) -> list[str]:
    """The names of finished cells; makes the folder where it is new, refuses a foreign one."""
    if (out / manifests.MANIFEST).exists():
        manifest = manifests.read_manifest(out)
        if manifest["spec_hash"] != spec_hash:
            raise ConfigError(
                f"{out} holds {manifest['benchmark']} at scale {manifest['scale']}, made with "
                f"other settings; choose another --out than for {benchmark.id} at scale {scale}."
            )
        results.read_rows(out / results.RESULTS)  # a broken table stops here, unharmed
        return list(manifest.get("cells_done", []))
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty and holds no result of this suite; choose another.")
    out.mkdir(parents=True, exist_ok=True)
    digest = configs.store_config(out, spec)
    manifest = manifests.make_manifest(
        benchmark.id,
        scale,
        spec_hash,
        canaries(),
        seeds={cell.name: cell.spec.get("seeds", {}) for cell in cells},
        vmap_width=max(cell.runs for cell in cells),
        salt=salt,
        spec=digest,
        pilot=scale in PILOTS,
        cells_done=[],
    )
    atomic.write_text(out / results.RESULTS, "")
    manifests.write_manifest(out, manifest)
    return []


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 1)


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
