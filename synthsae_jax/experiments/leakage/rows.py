"""The numbers of leakage@1: decoder cosines of two runs, by how often the latents fire."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from synthsae_jax import matching
from synthsae_jax.io.rows import Row, make_row
from synthsae_jax.matching import TruthSweep
from synthsae_jax.protocols.rules import PairView, rules
from synthsae_jax.suite import table
from synthsae_jax.suite.reading import DEFAULT_TRUTH
from synthsae_jax.suite.study import Number, Study, Subject, Trained, flags, rows_of_pair
from synthsae_jax.training import TrainConfig

Csr = sparse.csr_matrix
SAME = 0.7  # of decoder cosines: the published threshold
GROUPS = ("dead", "q1", "q2", "q3", "q4")  # q1: the quarter of the living that fires least
RULES = ("best_correlation_0.1", "decoder_cosine_0.7_raw")


def condition_of(universe: str, init: bool, data: bool) -> str:
    """The name of a cell of the 2 x 2 x 2."""
    said = lambda same: "same" if same else "other"
    return f"{universe}, {said(init)} init, {said(data)} order"


def stage_rows(
    study: Study,
    trained: Trained,
    here: list[list[Subject]],
    latents: list[list[Csr]],
    config: TrainConfig,
    given: Mapping[str, Any],
) -> list[Row]:
    """Run 0 of the model beside all other runs on it, and all on the disjoint model."""
    step = _step(config, given["factor_stage"])
    rows = list(_kept(study, trained, here, latents, step, given))
    a, codes_a = here[0][0], latents[0][0]
    for i, r in np.ndindex(2, len(here[0])):
        if (i, r) == (0, 0) or not (trained.ok(0, 0) and trained.ok(i, r)):
            continue
        b, codes_b = here[i][r], latents[i][r]
        numbers = cosine_numbers(a.decoder, b.decoder, _fired(codes_a), by_rate=i == 1)
        numbers += _declared(a, b, codes_a, codes_b)
        rows += _pair(study, trained, i, r, numbers, step, given)
    return rows


def true_rows(
    study: Study,
    trained: Trained,
    r: int,
    truth_a: TruthSweep,
    truth_b: TruthSweep,
    given: Mapping[str, Any],
) -> list[Row]:
    """What run r of the model truly shares with its run 0, by latents of the whole dictionary."""
    sides = [t.of(*DEFAULT_TRUTH) for t in (truth_a, truth_b)]
    true = matching.largest_true_matching(*sides) / len(sides[0])
    numbers = [Number("truth", "true_universality", true)]
    step = _step(trained.result.config, given["factor_stage"])
    return _pair(study, trained, 0, r, numbers, step, given)


def cosine_numbers(
    rows_a: np.ndarray, rows_b: np.ndarray, fired: np.ndarray, by_rate: bool = True
) -> list[Number]:
    """Raw decoder cosines under the optimal assignment of all latents, living or dead.

    `fired` int [L]: how often each latent of A does; groups of A's latents by it, on request.
    """
    scores = np.asarray(matching.score("decoder_cosine", rows_a, rows_b))
    m = matching.solve("assignment", scores)
    matched = np.full(len(rows_a), np.nan)
    matched[np.asarray(m.row)] = np.asarray(m.score)
    above = matched >= SAME
    # the same latent by number: no matching in between that could do the finding
    in_place = np.diagonal(scores) >= SAME
    found = [
        Number("all", "above_0.7", float(above.mean())),
        Number("all", "matched_cosine", float(np.nanmean(matched))),
        Number("in place", "above_0.7", float(in_place.mean())),
    ]
    if by_rate:
        found += [
            Number(name, "above_0.7", _mean(above[which]), f"no latent of A is {name}")
            for name, which in groups(fired).items()
        ]
    return found


def groups(fired: np.ndarray) -> dict[str, np.ndarray]:
    """Latents by how often they fire, bool [L] each: the dead, and quarters of the living."""
    living = np.flatnonzero(fired > 0)
    order = living[np.argsort(fired[living], kind="stable")]
    masks = [fired == 0]
    for quarter in np.array_split(order, 4):
        mask = np.zeros(fired.shape, bool)
        mask[quarter] = True
        masks.append(mask)
    return dict(zip(GROUPS, masks, strict=True))


def _kept(
    study: Study,
    trained: Trained,
    here: list[list[Subject]],
    latents: list[list[Csr]],
    step: int,
    given: Mapping[str, Any],
) -> Iterator[Row]:
    """How far the first run of each model has gone from its own start."""
    start = np.asarray(trained.result.snapshots[0].W_dec)
    for i in range(len(here)):
        if not trained.ok(i, 0):
            continue
        a, b = here[i][0].decoder, start[i, 0]
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        near = (a * b).sum(1) / np.maximum(norms, 1e-12) >= SAME
        parts = {"all": np.ones(near.shape, bool), **groups(_fired(latents[i][0]))}
        for name, which in parts.items():
            yield make_row(
                **{**study.shared.columns(), "step": step},
                **trained.columns[i][0],
                metric="near_start",
                variant=name,
                n_eval=latents[i][0].shape[0],
                **given,
                **table.valued(_mean(near[which]), reason=f"no latent is {name}"),
            )


def _declared(a: Subject, b: Subject, codes_a: Csr, codes_b: Csr) -> list[Number]:
    counts = matching.pair_counts_from_codes(codes_a, codes_b)
    view = PairView(counts, a.decoder, b.decoder, b.decoder)
    alive = [int(np.asarray(v).sum()) for v in (counts.alive_a, counts.alive_b)]
    found = []
    for name in RULES:
        base = alive[1] if rules[name].many_to_one else min(alive)
        share = math.nan
        if min(alive):
            share = float(np.asarray(rules[name].match(view).valid).sum()) / base
        found.append(Number(name, "declared", share, "all latents of a side are dead"))
    return found


def _pair(
    study: Study,
    trained: Trained,
    i: int,
    r: int,
    numbers: Sequence[Number],
    step: int,
    given: Mapping[str, Any],
) -> list[Row]:
    columns = trained.columns[0][0], trained.columns[i][r]
    same = flags(*columns)
    universe = "shared" if i == 0 else "disjoint"
    condition = condition_of(universe, same["same_init"], same["same_data"])
    made = rows_of_pair(
        study.shared, numbers, *columns, study.n_match, condition=condition, **given, **same
    )
    return [{**row, "step": step} for row in made]


def _step(config: TrainConfig, stage: float) -> int:
    return math.ceil(config.n_steps * stage)


def _fired(codes: Csr) -> np.ndarray:
    return np.asarray((codes != 0).sum(0)).ravel()


def _mean(mask: np.ndarray) -> float:
    return float(mask.mean()) if mask.size else math.nan
