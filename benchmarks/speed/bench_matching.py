"""Seconds to score and assign one pair of SAEs: activation Pearson and firing counts, then exact.

`pair_seconds` is for 500,000 tokens and two SAEs of the preset's width, k latents on each token, by
the fastest of our ways on all tokens. The dense ways (two products over all tokens, in numpy, in
our `PairCounts.update`, and with --peer in torch) are timed on fewer tokens, dense already, and
scaled: their cost is proportional to tokens. Every way ends with the same exact assignment.
--runs is taken as by the other scripts and changes nothing: it is one pair.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import command
import jax
import numpy as np
from ceilings import Work, measure_ceilings
from harness import Times, clock
from memory import Peak
from pairs import Pair, make_pair
from scipy.optimize import linear_sum_assignment
from side_by_side import Peer, alternate

from synthsae_jax import matching, worlds

COLUMNS = (
    "what",
    "tokens",
    "seconds_per_500k",
    "spread",
    "assignment_seconds",
    "pair_seconds",
    "mean_pearson",
    "true_pairs",
    "pearson_error",
    "roofline_fraction",
    "peak_bytes",
    "ratio",
)
_TOKENS = 500_000
_BATCH = 2048


class Scored(NamedTuple):
    """One way's answer on some tokens."""

    pearson: np.ndarray  # [L, L]
    fired: np.ndarray  # [L]: firings of A
    joint: np.ndarray  # [L, L]


class Way(NamedTuple):
    """A way to score a pair: its name, its tokens, and the call that is timed."""

    what: str
    tokens: int
    score: Callable[[], Scored]


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, write."""
    parser = command.options(__doc__, peer=True)
    parser.add_argument("--tokens", type=int, default=_TOKENS)
    parser.add_argument("--dense-tokens", type=int, help="default: 8192, all of them on a GPU")
    given = command.parse(parser, words)
    on_cpu = jax.default_backend() == "cpu"
    if given.tiny:
        given.tokens = min(given.tokens, 8192)
    fewer = min(given.tokens, 4096 if given.tiny else 8192)
    given.dense_tokens = min(given.dense_tokens or fewer, given.tokens)
    preset = worlds.preset(given.preset)
    pair = make_pair(preset.d_sae, int(preset.k), given.tokens)
    ceilings = measure_ceilings(given.tiny)

    reference = dense_numpy(pair, given.dense_tokens)
    right = reference.score()
    rows = []
    ways = our_ways(pair, given.dense_tokens, on_cpu)
    for way in (reference, *ways):
        repeats = given.repeats if way.tokens == pair.tokens else 2
        row, times, found = row_of(way, pair, repeats)
        if way is not reference and way.tokens == reference.tokens:
            row["pearson_error"] = worst_difference(found, right)
        work = needed(pair, way.tokens)
        row["roofline_fraction"] = ceilings.fraction(work, times.median)
        rows.append(row)
    best = min((r for r in rows[1:] if r["tokens"] == pair.tokens), key=lambda r: r["pair_seconds"])
    content = command.head("matching", given) | {
        "pair_seconds": best["pair_seconds"],
        "way": best["what"],
        "width": preset.d_sae,
        "tokens": pair.tokens,
        "ratio_to_numpy": rows[0]["pair_seconds"] / best["pair_seconds"],
        "roofline_fraction": best["roofline_fraction"],
        "ceilings": ceilings.record(),
        "rows": rows,
    }
    if given.peer:
        way = next(way for way in ways if way.what == best["what"])
        content |= beside_torch(pair, way, best, given, rows)
    for row in rows:
        row["ratio"] = row["pair_seconds"] / best["pair_seconds"]
    return command.finish(content, COLUMNS, given.json)


def needed(pair: Pair, tokens: int) -> Work:
    """Two multiply-adds per pair of firings of a token, slots read once."""
    k = float((pair.value_a != 0).sum() / pair.tokens)
    return Work(flops=4 * k * k * tokens, bytes=16 * k * tokens)


def row_of(way: Way, pair: Pair, repeats: int) -> tuple[dict[str, Any], Times, Scored]:
    """Time a way, assign its scores, and hold the pairs against the truth."""
    with Peak() as peak:
        began = clock()
        way.score()
        first = clock() - began
        seconds = []
        for _ in range(repeats):
            began = clock()
            found = way.score()
            seconds.append(clock() - began)
    times = Times(tuple(seconds))
    began = clock()
    pairs = matching.solve("assignment", found.pearson)
    assignment = clock() - began
    scale = pair.tokens / way.tokens
    total = scale * times.median + assignment
    row = {
        "what": way.what,
        "tokens": way.tokens,
        "first_seconds": first,
        **times.record(),
        "seconds_per_500k": times.median / way.tokens * _TOKENS,
        "assignment_seconds": assignment,
        "pair_seconds": total,
        **checked(found, pairs, pair),
        **peak.record(),
    }
    return row, times, found


def checked(found: Scored, pairs: matching.Matching, pair: Pair) -> dict[str, Any]:
    """The assignment against SciPy's on the same scores, and against the known partners."""
    filled = np.nan_to_num(found.pearson.astype(np.float64), nan=-1.0)
    rows, columns = linear_sum_assignment(filled, maximize=True)
    valid = np.asarray(pairs.valid)
    row, col = np.asarray(pairs.row)[valid], np.asarray(pairs.col)[valid]
    finite = np.isfinite(found.pearson[rows, columns])
    return {
        "mean_pearson": float(found.pearson[row, col].mean()),
        "scipy_mean_pearson": float(filled[rows, columns][finite].mean()),
        "true_pairs": float((pair.partner[row] == col).mean()),
        "firings": int(found.fired.sum()),
    }


def worst_difference(found: Scored, reference: Scored) -> float:
    """Largest difference of Pearson; infinite where a count differs."""
    same = np.array_equal(found.joint, reference.joint)
    same &= np.array_equal(found.fired, reference.fired)
    difference = np.abs(found.pearson - reference.pearson)
    return float(np.nanmax(difference)) if same else float("inf")


def our_ways(pair: Pair, fewer: int, on_cpu: bool) -> list[Way]:
    """Ours: sparse products on the host, slots on the device, and the dense update."""
    few_slots = min(pair.tokens, 8 * fewer) if on_cpu else pair.tokens
    return [
        Way("sparse, host", pair.tokens, lambda: host_counts(pair, pair.tokens)),
        Way("sparse, host", fewer, lambda: host_counts(pair, fewer)),
        slots_way(pair, few_slots),
        slots_way(pair, fewer),
        dense_way(pair, fewer),
    ]


def host_counts(pair: Pair, tokens: int) -> Scored:
    """`matching.pair_counts_from_codes`, from slots."""
    return read(matching.pair_counts_from_codes(*pair.matrices(tokens)))


def slots_way(pair: Pair, tokens: int) -> Way:
    """`PairCounts.update_slots`, batch by batch; slots lie on the device."""
    whole = max(1, tokens // _BATCH)
    parts = [slice(i * _BATCH, (i + 1) * _BATCH) for i in range(whole)]
    batches = jax.device_put([pair.sides(part) for part in parts])
    step = jax.jit(matching.PairCounts.update_slots, donate_argnums=0)
    return Way("slots, device", min(tokens, whole * _BATCH), lambda: streamed(step, batches, pair))


def dense_way(pair: Pair, tokens: int) -> Way:
    """`PairCounts.update` of dense latents that lie on the device."""
    batches = jax.device_put(pair.dense(tokens, _BATCH))
    step = jax.jit(matching.PairCounts.update, donate_argnums=0)
    return Way("dense, device", tokens, lambda: streamed(step, batches, pair))


def streamed(step: Callable, batches: list, pair: Pair) -> Scored:
    """Counts of all batches, then what they say."""
    # donation needs buffers of one's own, and zeros of one shape may share theirs
    counts = jax.tree.map(
        lambda leaf: leaf.copy(), matching.PairCounts.init(pair.width, pair.width)
    )
    for batch in batches:
        counts = step(counts, *batch)
    return read(counts)


def read(counts: matching.PairCounts) -> Scored:
    """Pearson and counts, on the host."""
    pearson = counts.score("activation_pearson")
    return Scored(*(np.asarray(v) for v in (pearson, counts.fired_a, counts.joint)))


def dense_numpy(pair: Pair, tokens: int) -> Way:
    """Two float32 products over dense latents in numpy, written out here."""
    batches = pair.dense(tokens, _BATCH)

    def score() -> Scored:
        width = pair.width
        cross, joint = np.zeros((2, width, width), np.float32)
        sums = np.zeros((4, width))
        fired = np.zeros(width, np.int32)
        for a, b in batches:
            cross += a.T @ b
            on_a, on_b = a != 0, b != 0
            joint += on_a.T.astype(np.float32) @ on_b.astype(np.float32)
            fired += on_a.sum(0, dtype=np.int32)
            sums += [v.sum(0, dtype=np.float64) for v in (a, b, a * a, b * b)]
        sum_a, sum_b, square_a, square_b = sums
        covariance = cross - np.outer(sum_a, sum_b) / tokens
        spread_a, spread_b = square_a - sum_a**2 / tokens, square_b - sum_b**2 / tokens
        scale = np.sqrt(np.outer(spread_a, spread_b))
        with np.errstate(invalid="ignore"):
            pearson = np.where(scale > 0, covariance / scale, np.nan)
        return Scored(pearson.astype(np.float32), fired, joint.astype(np.int32))

    return Way("numpy, dense", tokens, score)


def beside_torch(
    pair: Pair, way: Way, best: dict[str, Any], given: Any, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """The dense way in torch, in turn with our best way; its row goes into `rows`."""
    tokens = given.dense_tokens
    answers: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place, Peer() as peer:
        file = Path(place) / "pair.npz"
        pair.save(file, tokens)
        ask = {"latents": str(file), "tokens": tokens}
        peer.best_threads("match", **ask)

        def theirs() -> float:
            answers.append(peer.ask("match", **ask))
            return answers[-1]["seconds"] * pair.tokens + answers[-1]["assignment_seconds"]

        def ours() -> float:
            began = clock()
            matching.solve("assignment", way.score().pearson)
            return clock() - began

        mine, other = alternate(ours, theirs, 2)
        row = {
            "what": f"torch, dense, {command.threads_of(peer.threads)}",
            "tokens": tokens,
            "seconds_per_500k": answers[-1]["seconds"] * _TOKENS,
            "assignment_seconds": answers[-1]["assignment_seconds"],
            "spread": other.record()["spread"],
            "pair_seconds": other.median,
            "mean_pearson": answers[-1]["mean_pearson"],
        }
        rows.append(row)
        record = peer.record() | {"threads": peer.threads, "tried": peer.tried}
    return {"peer_ratio": other.median / mine.median, "peer": record}


if __name__ == "__main__":
    command.run(main)
