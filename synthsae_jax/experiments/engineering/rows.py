"""Rows of engineering@1: the quality of each SAE, pairs between groups, pairs within one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from synthsae_jax.experiments.engineering.methods import BETWEEN, WITHIN
from synthsae_jax.experiments.engineering.numbers import (
    apparent_numbers,
    quality,
    truth_of_latents,
)
from synthsae_jax.experiments.engineering.training import (
    DISJOINT,
    EQUAL,
    MODELS,
    A,
    Groups,
    Side,
    Workshop,
)
from synthsae_jax.io.rows import Row, make_row
from synthsae_jax.matching import TruthSweep
from synthsae_jax.numerics import firings, is_alive
from synthsae_jax.suite import table
from synthsae_jax.suite.joint import calls, relative
from synthsae_jax.suite.pair import TRUTH
from synthsae_jax.suite.study import (
    Pair,
    Reading,
    flags,
    read,
    read_latents,
    read_truth,
    rows_of_pair,
    truth_numbers,
)
from synthsae_jax.worlds.family import plain_view

DISJOINT_AS = {"independent": "disjoint_independent", "counts": "disjoint_coupled"}


def rows_of(shop: Workshop, groups: Groups, seed: int) -> list[Row]:
    """All rows of a method; `seed` numbers the tokens read, the same for all methods."""
    reader = _Reader(shop, seed)
    config = shop.config(groups.longer)
    shared = dataclasses.replace(shop.study.shared, config=config)
    given = {"factor_method": groups.name, "factor_samples": groups.samples}
    rows = []
    if groups.between:
        rows += _quality(shop, shared, groups, seed, {**given, "factor_group": BETWEEN})
        a, equal, disjoint = (groups.between[i] for i in (A, EQUAL, DISJOINT))
        for condition, one, other in (("identical", a, equal), ("disjoint", a, disjoint)):
            rows += _pair(shop, shared, reader, condition, one, other, given, BETWEEN)
        rows += _tracked(shop, shared, reader, groups, given)
    for condition, one, other in groups.within:
        rows += _pair(shop, shared, reader, condition, one, other, given, WITHIN)
    for condition, side in groups.joint:
        rows += _joint(shop, shared, condition, side, given, seed)
    return rows


class _Reader:
    """Readings of SAEs on the tokens of a world, the truth of each found once."""

    def __init__(self, shop: Workshop, seed: int):
        self._shop, self._seed = shop, seed
        self._truth: dict[int, TruthSweep] = {}
        self._read: dict[tuple[int, str], Reading] = {}
        self._kept: list[Side] = []  # an id stays taken as long as its object lives

    def __call__(self, side: Side, coupling: str = "factors") -> Reading:
        key = id(side)
        models, n = self._shop.models, self._shop.study.n_match
        if key not in self._truth:
            plain = models.registry("factors")
            self._truth[key] = read_truth(side.subject, plain, n, self._seed)
            self._kept.append(side)
        if (key, coupling) not in self._read:
            world = models.registry(coupling)
            found = read(side.subject, world, n, self._seed, truth=self._truth[key])
            self._read[key, coupling] = found
        return self._read[key, coupling]


def _pair(
    shop: Workshop,
    shared: table.Shared,
    reader: _Reader,
    condition: str,
    a: Side,
    b: Side,
    given: Mapping[str, Any],
    group: str,
) -> Iterator[Row]:
    """Two SAEs on models that share everything, or nothing and are read under each zero."""
    if not (a.ok and b.ok):
        return
    zeros = {DISJOINT_AS[coupling]: coupling for coupling in shop.size["zeros"]}
    for name, coupling in (zeros if condition == "disjoint" else {condition: "factors"}).items():
        pair = Pair(reader(a, coupling), reader(b, coupling), shop.models.base)
        same = flags(a.columns, b.columns, same_dictionary=name == "identical")
        yield from rows_of_pair(
            shared,
            [*truth_numbers(pair), *apparent_numbers(pair)],
            a.columns,
            b.columns,
            pair.a.latents.shape[0],
            condition=name,
            factor_group=group,
            **given,
            **same,
        )


def _quality(
    shop: Workshop, shared: table.Shared, groups: Groups, seed: int, given: Mapping[str, Any]
) -> Iterator[Row]:
    subjects = [side.subject for side in groups.between]
    views = [plain_view(shop.models.instances[i]) for i in MODELS]
    found = quality(shop.models.base, subjects, views, shop.size["n_eval"], seed)
    for i, side in enumerate(groups.between):
        for metric, values in found.items():
            if metric != "n_eval":
                value = float(values[i, 0]) if side.ok else math.nan
                n = int(found["n_eval"][i, 0])
                yield _row(shared, side, metric, "", value, n, given)


def _tracked(
    shop: Workshop, shared: table.Shared, reader: _Reader, groups: Groups, given: Mapping[str, Any]
) -> Iterator[Row]:
    """How many living latents are true, and of a pooled dictionary how many are stable."""
    for i, side in enumerate(groups.between):
        if not side.ok:
            continue
        # the disjoint model was read under its zeros
        reading = reader(side, shop.size["zeros"][0] if i == DISJOINT else "factors")
        numbers = truth_of_latents(reading)
        if groups.pooled_from:
            numbers["stable"] = float(np.mean(groups.pooled_from[i] > 1))
        for metric, value in numbers.items():
            n = reading.latents.shape[0]
            yield _row(shared, side, metric, TRUTH, value, n, {**given, "factor_group": BETWEEN})


def _joint(
    shop: Workshop,
    shared: table.Shared,
    condition: str,
    side: Side,
    given: Mapping[str, Any],
    seed: int,
) -> Iterator[Row]:
    """The overlap of two models that the decoder norms of their common SAE imply: see partial@1."""
    if not side.ok:
        return
    registry = shop.models.registry("factors")
    latents = read_latents(side.subject, registry, shop.study.n_match, seed, "match")
    alive = is_alive(firings(latents))
    called = calls(relative(side.subject))
    both, one = ((alive & called[name]).sum() for name in ("shared", "exclusive"))
    value = float(both / (both + one / 2)) if both + one else math.nan
    more = {**given, "factor_group": WITHIN, "condition": condition}
    yield _row(shared, side, "declared", "relative_norms", value, latents.shape[0], more)


def _row(
    shared: table.Shared,
    side: Side,
    metric: str,
    variant: str,
    value: float,
    n_eval: int,
    given: Mapping[str, Any],
) -> Row:
    why = "no latent lives, or none is read so"
    return make_row(
        **shared.columns(),
        **side.columns,
        metric=metric,
        variant=variant,
        n_eval=n_eval,
        **given,
        **table.valued(value, "ok" if side.ok else "diverged", why),
    )
