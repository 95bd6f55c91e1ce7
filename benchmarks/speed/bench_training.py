"""SAE-samples per second of `training.train`: runs x samples / s, in its steady state.

Timed is `train` itself, from one call of `progress` to the next, in a run that is configured as a
long one (4,000 steps, dead after 1,000 steps without firing, auxiliary loss on) and stopped after
some chunks. In its first chunks no latent is dead yet, which is what most of a long run is like;
--dead-window 1 makes latents die at once, so that every step pays for the auxiliary loss.
--peer: the synthetic SAE runner of SAELens, one SAE, in turn with ours.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import command
import inputs
import jax
from ceilings import Ceilings, Work, measure_ceilings
from harness import Times
from side_by_side import Peer
from steady import time_training

from synthsae_jax import io
from synthsae_jax.saes import SAE

COLUMNS = (
    "sae",
    "runs",
    "sae_samples_per_s",
    "spread",
    "first_seconds",
    "mse_loss",
    "last_mse_loss",
    "l0",
    "dead_latents",
    "roofline_fraction",
    "peak_bytes",
    "peak_bytes_so_far",
    "peer_sae_samples_per_s",
    "peer_mse_loss",
    "peer_ratio",
)
SAES = ("batchtopk", "matching_pursuit")


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, write."""
    parser = command.options(__doc__, runs=(1, 8), sae=SAES, peer=True)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--steps", type=int, help="of a chunk; default: 8, 50 on a GPU")
    parser.add_argument("--dead-window", type=int, default=1000)
    given = command.parse(parser, words)
    if given.tiny:
        given.batch, given.steps = min(given.batch, 64), given.steps or 2
    model = inputs.load(given.preset)
    ceilings = measure_ceilings(given.tiny)
    rows: list[dict[str, Any]] = []
    peers: dict[str, Any] = {}
    for name in given.sae:
        rows += rows_of(name, model, ceilings, given, peers)
    head = next(row for row in rows if row["runs"] == max(given.runs))
    content = command.head("training", given) | {
        "sae_samples_per_s": head["sae_samples_per_s"],
        "sae": head["sae"],
        "runs": head["runs"],
        "roofline_fraction": head["roofline_fraction"],
        "ceilings": ceilings.record(),
        "rows": rows,
    }
    if given.peer:
        content |= {"peer_ratio": head["peer_ratio"], "peer": peers}
    return command.finish(content, COLUMNS, given.json)


def rows_of(
    name: str, model: inputs.Model, ceilings: Ceilings, given: Any, peers: dict[str, Any]
) -> list[dict[str, Any]]:
    """One row per number of runs of an architecture; what the peer is goes into `peers`."""
    sae = inputs.build_sae(name, model)
    if not given.peer:
        return [row_of(sae, runs, model, ceilings, given) for runs in sorted(given.runs)]
    with tempfile.TemporaryDirectory() as place, Peer() as peer:
        folder = str(Path(place) / "model")
        io.save_saelens_model(folder, model.world, model.instance)
        turn = PeerTurn(peer, sae, model.preset, folder, given)
        rows = [row_of(sae, runs, model, ceilings, given, turn) for runs in sorted(given.runs)]
        peers[name] = peer.record() | {"threads": peer.threads, "tried": peer.tried}
    return rows


class PeerTurn:
    """The peer trains a few steps whenever it is its turn."""

    def __init__(self, peer: Peer, sae: SAE, preset: Any, folder: str, given: Any):
        options = inputs.sae_options(sae.name, preset)
        self.peer, self.answers = peer, []
        self.question: dict[str, Any] = {
            "folder": folder,
            "architecture": THEIR_NAMES.get(sae.name, sae.name),
            "options": options,
            "batch": given.batch,
            "dead_window": given.dead_window,
            "bfloat16": given.dtype == "bfloat16",
        }
        tried = peer.best_threads("train", steps=1, **self.question)
        # as many steps as we time: the mean loss over them is then of the same steps
        self.steps = given.steps or steps_of_turn(tried["seconds"])

    def __call__(self) -> None:
        self.answers.append(self.peer.ask("train", steps=self.steps, **self.question))

    def taken(self) -> list[dict[str, Any]]:
        """The answers since the last time."""
        answers, self.answers = self.answers, []
        return answers


THEIR_NAMES = {"matryoshka": "matryoshka_batchtopk"}


def steps_of_turn(seconds: float) -> int:
    """Steps of about six seconds, at most 8."""
    return max(1, min(8, round(6 / seconds)))


def row_of(
    sae: SAE,
    runs: int,
    model: inputs.Model,
    ceilings: Ceilings,
    given: Any,
    turn: PeerTurn | None = None,
) -> dict[str, Any]:
    """One row: our times, and the peer's where it takes its turns in between."""
    on_cpu = jax.default_backend() == "cpu"
    steps = given.steps or (turn.steps if turn else 8 if on_cpu else 50)
    found = time_training(
        model,
        sae,
        runs,
        dtype=given.dtype,
        batch=given.batch,
        steps=steps,
        chunks=given.repeats + (turn is not None),
        between=turn,
        dead_window=given.dead_window,
    )
    work = needed(sae, given.batch) * runs
    row = {"sae": sae.name, "runs": runs, "dtype": given.dtype, "batch": given.batch}
    row |= {"steps": steps, "sae_samples_per_s": runs * given.batch / found.times.median}
    row["roofline_fraction"] = ceilings.fraction(work, found.times.median, given.dtype)
    row["dense_flops_per_sample"] = work.flops / given.batch / runs
    row |= found.record()
    if turn is not None:
        answers = turn.taken()
        theirs = Times(tuple(answer["seconds"] for answer in answers))
        row |= {
            "peer_sae_samples_per_s": given.batch / theirs.median,
            "peer_spread": theirs.record()["spread"],
            "peer_mse_loss": answers[-1]["mse_loss"],
            "peer_ratio": row["sae_samples_per_s"] * theirs.median / given.batch,
        }
    return row


def needed(sae: SAE, batch: int) -> Work:
    """Of one step of one run, in dense-equivalent FLOPs: encoder and decoder, three products each.

    Matching pursuit takes one product with the dictionary per iteration. Bytes: weights and Adam's
    two moments read and written once.
    """
    weights = 2 * sae.d_in * sae.d_sae
    iterations = getattr(sae.options, "max_iterations", None) or 1
    flops = batch * (6 * weights + (iterations - 1) * weights)
    return Work(flops=flops, bytes=4 * 3 * 2 * weights)


if __name__ == "__main__":
    command.run(main)
