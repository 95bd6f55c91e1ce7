"""Samples per second: codes and the float32 activations of a preset's model.

`samples_per_s` is that of `sample_codes` and `embed` in one compiled program; the row "eager" is
the same two public functions called as in a notebook, the check for overflow included. --peer:
`SyntheticModel.sample` of SAELens on the same model, in turn with ours.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import command
import harness
import inputs
import jax
import numpy as np
from ceilings import Work, measure_ceilings
from side_by_side import Peer, alternate

from synthsae_jax import io, keys, worlds

COLUMNS = (
    "what",
    "batch",
    "samples_per_s",
    "spread",
    "compile_seconds",
    "first_seconds",
    "l0",
    "expected_l0",
    "mean_norm",
    "roofline_fraction",
    "peak_bytes",
    "peak_bytes_so_far",
    "peer_ratio",
)
_TURN = 1.0  # seconds that each side works in its turn
_CHECKED = 65_536  # samples behind the mean L0


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, write."""
    parser = command.options(__doc__, peer=True)
    parser.add_argument("--batch", type=int, nargs="+", help="default: 1024, larger on a GPU")
    given = command.parse(parser, words)
    on_cpu = jax.default_backend() == "cpu"
    given.batch = given.batch or ([1024] if on_cpu or given.tiny else [1024, 16_384, 65_536])
    model = inputs.load(given.preset)
    ceilings = measure_ceilings(given.tiny)
    expected = float(worlds.expected_l0(model.world))
    samples = 2048 if given.tiny else _CHECKED
    rows: list[dict[str, Any]] = []
    timed: list[tuple[int, Callable[[], Any]]] = []
    for batch in given.batch:
        shown: dict[str, Any] = {"expected_l0": expected}
        for what, program in (("one program", compiled), ("eager", eager)):
            measured = program(model, batch, given)
            seconds = measured["seconds"]
            fraction = ceilings.fraction(needed(model, expected) * batch, seconds)
            timed.append((batch, measured.pop("call")))
            if "compiled" in measured:
                shown |= check(measured.pop("compiled"), model, samples)
            rows.append(
                {"what": what, "batch": batch, "samples_per_s": batch / seconds, **shown}
                | {"roofline_fraction": fraction, **measured}
            )
    best = max((row for row in rows if row["what"] == "one program"), key=rate)
    content = command.head("sampling", given) | {
        "samples_per_s": best["samples_per_s"],
        "batch": best["batch"],
        "roofline_fraction": best["roofline_fraction"],
        "ceilings": ceilings.record(),
        "rows": rows,
    }
    if given.peer:
        batch, call = timed[rows.index(best)]
        content |= beside_peer(model, batch, call, best, given)
        rows.append(content["peer"]["row"])
    return command.finish(content, COLUMNS, given.json)


def rate(row: dict[str, Any]) -> float:
    return row["samples_per_s"]


def needed(model: inputs.Model, l0: float) -> Work:
    """Of one sample: a multiply-add per number of each active row, which is read, and x written."""
    dim = model.instance.dictionary.shape[-1]
    return Work(flops=2 * l0 * dim, bytes=4 * (l0 + 1) * dim)


def compiled(model: inputs.Model, batch: int, given: Any) -> dict[str, Any]:
    """Codes and x in one program."""

    def draw(key, world, instance):
        codes = worlds.sample_codes(key, world, batch)
        return codes, worlds.embed(instance, codes)

    # where a world comes from is no array, so a compiled program cannot be handed it
    world = model.world.replace(config=None)
    key = keys.data_key(inputs.SEED, "report")
    calls = 1 if given.tiny or batch * 10 > 200_000 else 10
    measured = harness.measure(draw, key, world, model.instance, repeats=given.repeats, calls=calls)
    return {**measured.record(), "call": measured.call, "compiled": measured.compiled}


def eager(model: inputs.Model, batch: int, given: Any) -> dict[str, Any]:
    """The two public functions, called one after the other."""
    key = keys.data_key(inputs.SEED, "report")

    def call():
        codes = worlds.sample_codes(key, model.world, batch)
        return codes, worlds.embed(model.instance, codes)

    first = harness.seconds_of(call)
    times = harness.repeated(call, given.repeats, 1 if given.tiny else 5)
    return {"first_seconds": first, **times.record(), "call": call}


def check(draw: Callable, model: inputs.Model, samples: int) -> dict[str, Any]:
    """Mean L0, mean norm and overflowed samples of fresh batches of the compiled program."""
    world, l0, norms, lost = model.world.replace(config=None), [], [], 0
    while len(l0) < samples:
        key = jax.random.fold_in(keys.data_key(1, "report"), len(l0))
        codes, x = jax.device_get(draw(key, world, model.instance))
        l0 += (codes.values > 0).sum(1).tolist()
        norms += np.linalg.norm(x, axis=1).tolist()
        lost += int(codes.overflow.sum())
    return {"l0": float(np.mean(l0)), "mean_norm": float(np.mean(norms)), "overflowed": lost}


def beside_peer(
    model: inputs.Model, batch: int, call: Callable[[], Any], best: dict[str, Any], given: Any
) -> dict[str, Any]:
    """The peer's row and the ratio, both sides timed in turn."""
    with tempfile.TemporaryDirectory() as place, Peer() as peer:
        folder = str(Path(place) / "model")
        io.save_saelens_model(folder, model.world, model.instance)
        ask = {"folder": folder, "batch": batch}
        tried = peer.best_threads("sample", batches=1, **ask)
        turn = 0.01 if given.tiny else _TURN
        their_batches = max(1, round(turn / tried["seconds"]))
        our_calls = max(1, round(turn / best["seconds"]))
        answers: list[dict[str, Any]] = []

        def theirs() -> float:
            answers.append(peer.ask("sample", batches=their_batches, **ask))
            return answers[-1]["seconds"]

        ours = lambda: harness.seconds_of(call, our_calls)
        mine, other = alternate(ours, theirs, given.repeats)
        row = {
            "what": f"SAELens, {command.threads_of(peer.threads)}",
            "batch": batch,
            "samples_per_s": batch / other.median,
            **other.record(),
            "l0": float(np.mean([a["l0"] for a in answers])),
            "mean_norm": float(np.mean([a["mean_norm"] for a in answers])),
            "peer_ratio": other.median / mine.median,
        }
        record = peer.record() | {"threads": peer.threads, "tried": peer.tried, "row": row}
    in_turn = {"samples_per_s_in_turn": batch / mine.median, "in_turn": mine.record()}
    return {"peer_ratio": row["peer_ratio"], **in_turn, "peer": record}


if __name__ == "__main__":
    command.run(main)
