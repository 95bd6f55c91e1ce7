"""Samples per second of `metrics.evaluate`: every metric of SynthSAEBench, streamed.

Steady cost is the difference of two lengths; what is paid once (recovery from the decoder, its
assignment) stands apart as `fixed_seconds`. R runs are evaluated on the same samples. --peer:
SAELens' evaluation of the same SAE on the same model, in turn with ours.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import command
import inputs
import jax
import numpy as np
from ceilings import Work, measure_ceilings
from harness import Times, clock, differences
from memory import Peak
from side_by_side import Peer, alternate

from synthsae_jax import io, keys, metrics
from synthsae_jax.saes import SAE

COLUMNS = (
    "what",
    "runs",
    "samples_per_s",
    "sae_samples_per_s",
    "spread",
    "fixed_seconds",
    "first_seconds",
    "mcc",
    "f1",
    "explained_variance",
    "l0",
    "roofline_fraction",
    "peak_bytes",
    "peak_bytes_so_far",
    "peer_ratio",
)
_SHOWN = ("mcc", "f1", "explained_variance", "l0")


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, write."""
    parser = command.options(__doc__, runs=(1, 8), sae=("topk",), peer=True)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--batches", type=int, help="of the longer one; default: 60, 200 on a GPU")
    given = command.parse(parser, words)
    on_cpu = jax.default_backend() == "cpu"
    given.batches = given.batches or (60 if on_cpu else 200)
    if given.tiny:
        given.batch, given.batches = 64, 4
    model = inputs.load(given.preset)
    ceilings = measure_ceilings(given.tiny)
    rows = []
    for name in given.sae:
        sae = inputs.build_sae(name, model)
        for runs in sorted(given.runs):
            row = row_of(sae, runs, model, given)
            work = needed(model, sae) * (given.batch * runs)
            seconds = given.batch / row["samples_per_s"]
            rows.append(row | {"roofline_fraction": ceilings.fraction(work, seconds, given.dtype)})
    alone = next(row for row in rows if row["runs"] == min(given.runs))
    content = command.head("evaluation", given) | {
        "samples_per_s": alone["samples_per_s"],
        "sae_samples_per_s": max(row["sae_samples_per_s"] for row in rows),
        "roofline_fraction": alone["roofline_fraction"],
        "ceilings": ceilings.record(),
        "rows": rows,
    }
    if given.peer:
        content |= beside_peer(inputs.build_sae(given.sae[0], model), model, given, rows)
    return command.finish(content, COLUMNS, given.json)


def lengths(given: Any) -> tuple[int, int]:
    """Samples of the shorter and the longer evaluation."""
    return 2 * given.batch, given.batches * given.batch


def needed(model: inputs.Model, sae: SAE) -> Work:
    """Of one sample: encoder and decoder once, x read once, its latents against its features."""
    return Work(flops=4 * sae.d_in * sae.d_sae, bytes=4 * sae.d_in)


class Evaluation:
    """R fresh SAEs of one architecture, and `evaluate_runs` of them at some length."""

    def __init__(self, sae: SAE, runs: int, model: inputs.Model, given: Any) -> None:
        self.sae = sae.with_options(dtype=given.dtype) if given.dtype != "float32" else sae
        self.model, self.batch = model, given.batch
        params = jax.vmap(lambda seed: self.sae.init(keys.init_key(seed)))(np.arange(runs))
        # numbers of each run: [R], in the types that `build` gives them
        hyper = jax.tree.map(
            lambda v: np.broadcast_to(np.asarray(v), (runs, *np.shape(v))), sae.hyper
        )
        self.runs = params, hyper, None

    def __call__(self, samples: int) -> dict[str, np.ndarray]:
        world, instance = self.model.world, self.model.instance
        # fresh weights have no thresholds yet, so it is the training rule that they can follow
        options = {"rule": "train", "batch_size": self.batch}
        return metrics.evaluate_runs(
            world, instance, self.sae, self.runs, samples, inputs.SEED, **options
        )

    def seconds(self, samples: int) -> float:
        """Seconds of one evaluation; its results are on the host when it returns."""
        began = clock()
        self(samples)
        return clock() - began

    def one_sample(self, given: Any) -> float:
        """Seconds per sample by the difference of two lengths."""
        short, long = lengths(given)
        return (self.seconds(long) - self.seconds(short)) / (long - short)


def row_of(sae: SAE, runs: int, model: inputs.Model, given: Any) -> dict[str, Any]:
    """Fixed and steady cost for R runs."""
    evaluation = Evaluation(sae, runs, model, given)
    short, long = lengths(given)
    with Peak() as peak:
        first = evaluation.seconds(short)
        shorts, longs = zip(
            *((evaluation.seconds(short), evaluation.seconds(long)) for _ in range(given.repeats)),
            strict=True,
        )
    times = differences(longs, shorts)
    rate = (long - short) / times.median
    found = evaluation(long)
    return {
        "what": sae.name,
        "runs": runs,
        "samples_per_s": rate,
        "sae_samples_per_s": rate * runs,
        **times.record(),
        "fixed_seconds": Times(shorts).median - short / rate,
        "first_seconds": first,
        **{name: float(np.mean(found[name])) for name in _SHOWN},
        **peak.record(),
    }


def beside_peer(
    sae: SAE, model: inputs.Model, given: Any, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """The peer's evaluation of one SAE in turn with ours; its row goes into `rows`."""
    evaluation = Evaluation(sae, 1, model, given)
    evaluation(2 * given.batch)
    short, _ = lengths(given)
    answers: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place, Peer() as peer:
        folder, saved = Path(place) / "model", Path(place) / "sae"
        io.save_saelens_model(folder, model.world, model.instance)
        params = jax.tree.map(lambda leaf: leaf[0], evaluation.runs[0])
        io.save_saelens_sae(saved, sae, params)
        ask = {"folder": str(folder), "sae": str(saved), "samples": short, "batch": given.batch}
        peer.best_threads("evaluate", more_samples=short + given.batch, **ask)

        def theirs() -> float:
            answers.append(peer.ask("evaluate", more_samples=short + 2 * given.batch, **ask))
            return answers[-1]["seconds"]

        mine, other = alternate(lambda: evaluation.one_sample(given), theirs, given.repeats)
        record = peer.record() | {"threads": peer.threads, "tried": peer.tried}
        row = {
            "what": f"SAELens, {sae.name}, {command.threads_of(peer.threads)}",
            "runs": 1,
            "samples_per_s": 1 / other.median,
            "sae_samples_per_s": 1 / other.median,
            **other.record(),
            **{name: answers[-1][name] for name in _SHOWN},
            "peer_ratio": other.median / mine.median,
        }
        rows.append(row)
    return {"peer_ratio": row["peer_ratio"], "peer": record}


if __name__ == "__main__":
    command.run(main)
