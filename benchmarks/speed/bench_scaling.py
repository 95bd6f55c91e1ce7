"""How cost grows: training with the runs of one program, sampling with the features of a world.

Lanes: SAE-samples per second of `training.train` for R runs that share a stream, R = 1, 4, 16, 64,
256 until memory or --most-seconds end it. Features: samples per second of `sample_codes` for
worlds of 1k to 1m features at one L0, all in trees or all free, and for presets as they are.
`samples_per_s` is of the largest world, `sae_samples_per_s` of the best number of runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import command
import growing
import harness
import inputs
import jax
import memory
import numpy as np
from bench_training import needed
from ceilings import measure_ceilings
from harness import clock
from steady import time_training

from synthsae_jax import keys, worlds
from synthsae_jax.worlds import World

COLUMNS = (
    "curve",
    "what",
    "runs",
    "features",
    "batch",
    "sae_samples_per_s",
    "samples_per_s",
    "to_first",
    "spread",
    "first_seconds",
    "world_seconds",
    "l0",
    "expected_l0",
    "overflowed",
    "last_mse_loss",
    "roofline_fraction",
    "peak_bytes",
    "peak_bytes_so_far",
    "ended",
)
CURVES = ("lanes", "features")
LANES = (1, 4, 16, 64, 256)
SIZES = tuple(2**power for power in (10, 12, 14, 16, 18, 20))


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, write."""
    parser = command.options(__doc__, runs=LANES)
    parser.add_argument("--curves", nargs="+", choices=CURVES, default=list(CURVES))
    parser.add_argument("--features", type=int, nargs="+", default=list(SIZES), metavar="F")
    parser.add_argument("--also", nargs="*", default=[], metavar="PRESET", help="sampled as it is")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument(
        "--most-seconds", type=float, default=90.0, help="a curve takes no more points after that"
    )
    given = command.parse(parser, words)
    on_cpu = jax.default_backend() == "cpu"
    if given.tiny:
        given.batch, given.runs, given.features = 64, given.runs[:2], [1024]
    elif on_cpu and given.preset == command.PRESET:
        given.preset = "1k"  # 256 runs at 16k are for an accelerator
    rows = [row for curve in given.curves for row in _CURVES[curve](given)]
    content = command.head("scaling", given) | {"rows": rows}
    lanes = [row for row in rows if row["curve"] == "lanes" and "sae_samples_per_s" in row]
    sizes = [row for row in rows if row["curve"] == "features" and "samples_per_s" in row]
    if lanes:
        best = max(lanes, key=lambda row: row["sae_samples_per_s"])
        names = ("sae_samples_per_s", "runs", "roofline_fraction")
        content |= {name: best[name] for name in names}
    if sizes:
        largest = max(sizes, key=lambda row: row["features"])
        content |= {name: largest[name] for name in ("samples_per_s", "features")}
    return command.finish(content, COLUMNS, given.json)


def lanes(given: Any) -> list[dict[str, Any]]:
    """Training for growing R; the last row says why there are no more."""
    model = inputs.load(given.preset)
    sae = inputs.build_sae(given.sae[0], model)
    ceilings = measure_ceilings(given.tiny)
    rows: list[dict[str, Any]] = []
    began = clock()
    for runs in sorted(given.runs):
        row: dict[str, Any] = {"curve": "lanes", "what": f"{sae.name}, {given.preset}"}
        row |= {"runs": runs, "batch": given.batch}
        reason = _too_much(rows, runs, sae, clock() - began, given.most_seconds)
        if reason:
            return [*rows, row | {"ended": reason}]
        steps = max(1, (1 if given.tiny else 16) // runs)
        try:
            found = time_training(
                model,
                sae,
                runs,
                dtype=given.dtype,
                batch=given.batch,
                steps=steps,
                chunks=given.repeats,
            )
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            return [*rows, row | {"ended": "memory"}]
        seconds = found.times.median
        row["sae_samples_per_s"] = runs * given.batch / seconds
        work = needed(sae, given.batch) * runs
        row["roofline_fraction"] = ceilings.fraction(work, seconds, given.dtype)
        row |= found.record()
        row["to_first"] = row["sae_samples_per_s"] / (rows or [row])[0]["sae_samples_per_s"]
        rows.append(row)
    return rows


def _too_much(
    rows: list[dict[str, Any]], runs: int, sae: Any, spent: float, most: float
) -> str | None:
    """Why not to try R runs: weights, gradients, moments and copies, or the time it would take."""
    left = memory.available()
    # weights, two moments, a gradient, and the new ones before the old are given up
    wanted = runs * 4 * 8 * 2 * sae.d_in * sae.d_sae
    if left is not None and wanted > left:
        return f"memory: {wanted / 2**30:.1f} GiB wanted, {left / 2**30:.1f} there"
    if rows:
        last = rows[-1]
        ahead = last["seconds"] * runs / last["runs"] * (1 + last["repeats"])
        if spent + ahead + last["first_seconds"] > most:
            return f"time: more than {most:g} s"
    return None


def features(given: Any) -> list[dict[str, Any]]:
    """Sampling for growing F, one curve per kind of world, then presets as they are."""
    rows: list[dict[str, Any]] = []
    for kind in growing.KINDS:
        first: dict[str, Any] | None = None
        began = clock()
        for size in sorted(given.features):
            spent = clock() - began
            if first is not None and spent > given.most_seconds:
                named = {"curve": "features", "what": kind, "features": size}
                rows.append(named | {"ended": f"time: more than {given.most_seconds:g} s"})
                break
            make = lambda kind=kind, size=size: growing.world_of(kind, size)
            row = feature_row(kind, make, growing.L0, given)
            first = first or row
            rows.append(row | {"to_first": row["samples_per_s"] / first["samples_per_s"]})
    for name in given.also:
        make = lambda name=name: worlds.init_world(
            keys.world_key(inputs.SEED), worlds.preset(name).world, seed=inputs.SEED
        )
        rows.append(feature_row(name, make, None, given))
    return rows


def feature_row(
    what: str, make: Callable[[], World], expected: float | None, given: Any
) -> dict[str, Any]:
    """Time `sample_codes` of one world."""
    began = clock()
    world = make().replace(config=None)
    made = clock() - began

    def draw(key, world):
        return worlds.sample_codes(key, world, given.batch)

    key = keys.data_key(inputs.SEED, "report")
    measured = harness.measure(draw, key, world, repeats=given.repeats)
    l0, lost = _checked(measured.compiled, world, 2 if given.tiny else 16)
    record = measured.record()
    return {
        "curve": "features",
        "what": what,
        "features": world.n_features,
        "batch": given.batch,
        "samples_per_s": given.batch / measured.times.median,
        "world_seconds": made,
        "l0": l0,
        "expected_l0": expected,
        "overflowed": lost,
        **record,
    }


def _checked(draw: Callable, world: World, batches: int) -> tuple[float, int]:
    """Mean L0 and overflowed samples of fresh batches."""
    key = keys.data_key(1, "report")
    codes = [draw(jax.random.fold_in(key, i), world) for i in range(batches)]
    l0 = np.mean([np.sum(np.asarray(c.values) > 0, axis=1).mean() for c in codes])
    return float(l0), int(sum(np.sum(c.overflow) for c in codes))


_CURVES = {"lanes": lanes, "features": features}

if __name__ == "__main__":
    command.run(main)
