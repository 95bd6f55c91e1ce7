"""Another encoder on a dictionary that stays: what of an SAE is its dictionary, what its encoder.

A pursuit needs no training; the linear encoder (saes.frozen: BatchTopK with its decoder frozen) is
trained on the same model, beginning at the decoder's transpose.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax import matching, metrics, saes, worlds
from synthsae_jax.experiments.architectures.numbers import found_numbers, support_jaccard
from synthsae_jax.metrics.evaluate import Reconstructor
from synthsae_jax.saes import SAEParams
from synthsae_jax.suite.pursuit import PURSUIT, dictionary
from synthsae_jax.suite.reading import subjects
from synthsae_jax.suite.recipes import recipe
from synthsae_jax.suite.study import Number, Pair, Study, Subject, Trained
from synthsae_jax.worlds import World

LINEAR = "linear"
ENCODERS = (LINEAR, PURSUIT)
VARIANT = "swapped"
SCORES = ("f1", "explained_variance", "l0")


@dataclasses.dataclass(frozen=True)
class Swapped:
    """SAEs with the dictionaries of others: subject i has that of source i."""

    encoder: str
    subjects: list[Subject]
    scores: dict[str, np.ndarray]  # metric -> [sources]
    trained: Trained | None = None


def pursuit(study: Study, world: World, sources: Sequence[Subject], n: int, k: float) -> Swapped:
    """The sources' dictionaries with matching pursuit as encoder, k latents per token."""
    rows, bias = (np.stack(parts)[:, None] for parts in zip(*map(dictionary, sources)))
    dim, width = rows.shape[-1], rows.shape[-2]
    sae = recipe("matching_pursuit", dim, width, k, study.config).sae
    params = SAEParams(W_dec=jnp.asarray(rows), b_dec=jnp.asarray(bias))
    spread = lambda leaf: jnp.broadcast_to(jnp.asarray(leaf), rows.shape[:2])
    runs = (params, jax.tree.map(spread, sae.hyper), sae.init_state())
    scores = _scores(study, world, sources, sae, runs, n)
    reconstruct = Reconstructor(sae.static, "inference")
    made = [
        Subject(
            f"{s.label}, {PURSUIT}",
            reconstruct,
            jax.tree.map(lambda leaf, i=i: np.asarray(leaf)[i, 0], runs),
            s.instance,
            rows[i, 0],
            None,
        )
        for i, s in enumerate(sources)
    ]
    return Swapped(PURSUIT, made, scores)


def linear(
    study: Study,
    world: World,
    sources: Sequence[Subject],
    n: int,
    k: float,
    first: int,
) -> Swapped:
    """The sources' dictionaries with a trained linear encoder, k latents per token."""
    rows, bias = (np.stack(parts)[:, None] for parts in zip(*map(dictionary, sources)))
    sae = saes.build("frozen", d_in=rows.shape[-1], d_sae=rows.shape[-2], k=k)
    weights = SAEParams(
        W_enc=np.swapaxes(rows, -1, -2).copy(),
        b_enc=np.zeros(rows.shape[:-1], np.float32),
        W_dec=rows,
        b_dec=bias,
    )
    trained = study.train(
        "frozen",
        world,
        [s.instance for s in sources],
        sae=sae,
        first=first,
        weights=weights,
    )
    result = trained.result
    runs = (result.params, result.hyper, result.state.carried)
    scores = _scores(study, world, sources, sae, runs, n)
    made = [
        dataclasses.replace(row[0], label=f"{s.label}, {LINEAR}")
        for row, s in zip(subjects(LINEAR, result, [s.instance for s in sources]), sources)
    ]
    return Swapped(LINEAR, made, scores, trained)


def _scores(
    study: Study, world: World, sources: Sequence[Subject], sae: Any, runs: Any, n: int
) -> dict[str, np.ndarray]:
    stacked = worlds.stack([s.instance for s in sources])
    found = metrics.evaluate_runs(world, stacked, sae, runs, n, study.number(0))
    return {name: found[name][:, 0] for name in SCORES}


def swap_numbers(pair: Pair, scores: dict[str, float]) -> list[Number]:
    """A: an SAE, B: its dictionary under another encoder; latent i is latent i.

    `tau_kept`: of the latents that track a feature under A's encoder, the share that tracks the
    same under B's. `support_jaccard` is over all latents. `scores` are B's own.
    """
    n = pair.a.latents.shape[1]
    found = {
        **scores,
        "support_jaccard": support_jaccard(
            pair, matching.solve("assignment", np.eye(n, dtype=np.float32), 0.5)
        ),
        "tau_kept": _kept(pair.a.tracked, pair.b.tracked),
        "features_jaccard": next(
            v.value for v in found_numbers(pair) if v.metric == "features_jaccard"
        ),
    }
    every = [_kept(a, b) for a, b in zip(pair.a.truth.maps, pair.b.truth.maps)]
    band = matching.bands({"tau_kept": np.array(every)})["tau_kept"]
    found |= {"tau_kept_least": band.lo, "tau_kept_most": band.hi}
    why = "no latent tracks a feature"
    return [Number(VARIANT, name, float(value), why) for name, value in found.items()]


def _kept(a: np.ndarray, b: np.ndarray) -> float:
    tracked = a >= 0
    return float((a == b)[tracked].mean()) if tracked.any() else float("nan")
