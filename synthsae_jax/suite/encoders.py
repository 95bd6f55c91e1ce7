"""Another encoder on a dictionary that stays: what of an SAE is its dictionary, what its encoder.

A pursuit needs no training; the linear encoder (saes.frozen: BatchTopK with its decoder frozen) is
trained on the same model, beginning at the decoder's transpose.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from synthsae_jax import matching, metrics, saes, worlds
from synthsae_jax.saes import SAEParams
from synthsae_jax.suite import pairs
from synthsae_jax.suite.agreement import support_jaccard, together
from synthsae_jax.suite.context import Context, Trained, flags
from synthsae_jax.suite.observation import Number, Observation, Side
from synthsae_jax.suite.pair import Pair
from synthsae_jax.suite.pursuit import PURSUIT, dictionary, pursued
from synthsae_jax.suite.reading import Reading, Subject, read
from synthsae_jax.suite.scores import UNDEFINED
from synthsae_jax.worlds import World

LINEAR = "linear"
ENCODERS = (LINEAR, PURSUIT)
VARIANT = "swapped"
SCORES = ("f1", "explained_variance", "l0")


@dataclasses.dataclass(frozen=True)
class Source:
    """An SAE whose dictionary is put under other encoders."""

    side: Side
    subject: Subject
    reading: Callable[[], Reading]  # asked only of runs that have not diverged


@dataclasses.dataclass(frozen=True)
class Swapped:
    """SAEs with the dictionaries of others: subject i has that of source i."""

    encoder: str
    subjects: list[Subject]
    scores: dict[str, np.ndarray]  # metric -> [sources]
    trained: Trained | None = None


def condition_of(encoder: str) -> str:
    """The condition of observations of an SAE beside its dictionary under another encoder."""
    return f"encoder: {encoder}"


def swapped_observations(
    context: Context,
    world: World,
    sources: Sequence[Source],
    n_eval: int,
    first: int,
    **columns: Any,
) -> Iterator[Observation]:
    """Each SAE beside its dictionary under a trained linear encoder, then under a pursuit.

    Both with as many latents per token as the cell's SAEs; seeds of the linear encoders are those
    of models `first`, `first + 1`, ... of the cell. A diverged SAE has no dictionary to swap.
    """
    at = [i for i, source in enumerate(sources) if source.side.status == "ok"]
    subjects = [sources[i].subject for i in at]
    swapped_of: dict[str, Swapped] = {}
    if subjects:
        seeds = context.seeds(len(sources), 1, first)[at]
        numbers = [sources[i].side.columns["instance"] for i in at]
        swapped_of[LINEAR] = linear(context, world, subjects, n_eval, seeds, numbers)
        swapped_of[PURSUIT] = pursuit(context, world, subjects, n_eval)
    for encoder in ENCODERS:
        for i, source in enumerate(sources):
            swapped, j = (swapped_of[encoder], at.index(i)) if i in at else (None, 0)
            side = _second(source.side, encoder, swapped, j)
            same = flags(source.side.columns, side.columns, same_dictionary=True)
            yield Observation(
                (source.side, side),
                functools.partial(_numbers, context, world, source, swapped, j),
                {"condition": condition_of(encoder), **same, **columns},
                pairs.tokens(context.n_match),
            )


def _second(first: Side, encoder: str, swapped: Swapped | None, j: int) -> Side:
    trained = swapped.trained if swapped else None
    other = trained.side(j) if trained else Side(first.columns)
    columns = {
        **other.columns,
        "run_id": f"{first.columns['run_id']}+{encoder}",
        "sae": f"{first.columns['sae']}, {encoder}",
    }
    return Side(columns, other.status)


def _numbers(
    context: Context, world: World, source: Source, swapped: Swapped | None, j: int
) -> list[Number]:
    assert swapped is not None  # of a diverged SAE nothing is measured
    other = read(swapped.subjects[j], world, context.n_match, context.number(0))
    scores = {name: float(values[j]) for name, values in swapped.scores.items()}
    return swap_numbers(Pair(source.reading(), other, world), scores)


def _dictionaries(sources: Sequence[Subject]) -> tuple[np.ndarray, np.ndarray]:
    """Those of several, with the axes of runs: [sources, 1, L, D] and [sources, 1, D]."""
    rows, bias = zip(*map(dictionary, sources), strict=True)
    return np.stack(rows)[:, None], np.stack(bias)[:, None]


def pursuit(context: Context, world: World, sources: Sequence[Subject], n: int) -> Swapped:
    """The sources' dictionaries with matching pursuit as encoder."""
    pursuits = [pursued(source, context.target_l0, context.config) for source in sources]
    runs = jax.tree.map(lambda *leaves: np.stack(leaves)[:, None], *(s.run for s in pursuits))
    scores = _scores(context, world, sources, pursuits[0].reconstruct.sae, runs, n)
    return Swapped(PURSUIT, pursuits, scores)


def linear(
    context: Context,
    world: World,
    sources: Sequence[Subject],
    n: int,
    seeds: np.ndarray,
    numbers: Sequence[int],
) -> Swapped:
    """The sources' dictionaries with a trained linear encoder.

    `seeds [sources, 1]` are init and data seeds, `numbers` those of the sources' models.
    """
    rows, bias = _dictionaries(sources)
    dim, width = rows.shape[-1], rows.shape[-2]
    sae = saes.build("frozen", d_in=dim, d_sae=width, k=context.target_l0)
    weights = SAEParams(
        W_enc=np.swapaxes(rows, -1, -2).copy(),
        b_enc=np.zeros(rows.shape[:-1], np.float32),
        W_dec=rows,
        b_dec=bias,
    )
    trained = context.train(
        "frozen",
        world,
        [s.instance for s in sources],
        runs=1,
        numbers=numbers,
        sae=sae,
        init_seeds=seeds,
        data_seeds=seeds,
        weights=weights,
    )
    result = trained.result
    runs = (result.params, result.hyper, result.state.carried)
    scores = _scores(context, world, sources, sae, runs, n)
    fits = [
        dataclasses.replace(row[0], label=f"{s.label}, {LINEAR}")
        for row, s in zip(trained.subjects, sources, strict=True)
    ]
    return Swapped(LINEAR, fits, scores, trained)


def _scores(
    context: Context, world: World, sources: Sequence[Subject], sae: Any, runs: Any, n: int
) -> dict[str, np.ndarray]:
    models = worlds.stack([s.instance for s in sources])
    values = metrics.evaluate_runs(world, models, sae, runs, n, context.number(0))
    return {name: values[name][:, 0] for name in SCORES}


def swap_numbers(pair: Pair, scores: dict[str, float]) -> list[Number]:
    """A: an SAE, B: its dictionary under another encoder; latent i is latent i.

    `tau_kept`: of the latents that track a feature under A's encoder, the share that tracks the
    same under B's, with its band over what may be called truth. `support_jaccard` is over all
    latents. `scores` are B's own.
    """
    n = pair.a.latents.shape[1]
    itself = matching.solve("assignment", np.eye(n, dtype=np.float32), 0.5)
    every = [_still_tracked(a, b) for a, b in zip(pair.a.truth.maps, pair.b.truth.maps)]
    band = matching.bands({"tau_kept": np.array(every)})["tau_kept"]
    none = "no latent of the SAE tracks a feature"
    values = {
        **{name: (value, UNDEFINED) for name, value in scores.items()},
        "support_jaccard": (
            support_jaccard(pair, itself),
            "no latent fires on the first tokens",
        ),
        "tau_kept": (_still_tracked(pair.a.tracked, pair.b.tracked), none),
        "features_jaccard": (
            together(pair, pair.a.tracked, pair.b.tracked).jaccard,
            "neither recovers a feature",
        ),
        "tau_kept_least": (band.lo, none),
        "tau_kept_most": (band.hi, none),
    }
    return [Number(VARIANT, name, v, why, standard=True) for name, (v, why) in values.items()]


def _still_tracked(a: np.ndarray, b: np.ndarray) -> float:
    tracked = a >= 0
    return float((a == b)[tracked].mean()) if tracked.any() else math.nan
