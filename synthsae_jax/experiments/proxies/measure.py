"""A cell of proxies@1: groups of seeds on one model, and one on another; what is seen, and true."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from synthsae_jax.experiments.proxies.latents import Seen, of_saes, seed_proxies, witnessed
from synthsae_jax.experiments.proxies.numbers import (
    Counted,
    Proxies,
    areas,
    histogram_entries,
    histograms,
    quadrant_entries,
    quadrants,
    without,
)
from synthsae_jax.experiments.proxies.setting import (
    AGREE,
    ANY,
    BY_ARCHITECTURES,
    BY_MODELS,
    F1,
    FROM_SEEDS,
    MODEL,
    OF_SAES,
    RUNS,
    TOGETHER,
    Entry,
    Plan,
    Worlds,
)
from synthsae_jax.metrics import latent_targets
from synthsae_jax.suite.context import Context, Trained
from synthsae_jax.suite.cost import Training
from synthsae_jax.suite.families import family_of
from synthsae_jax.suite.observation import Number, Observation, Side
from synthsae_jax.suite.reading import Subject, read_codes, read_latents, read_truth
from synthsae_jax.worlds import family
from synthsae_jax.worlds.family import Family, plain_view


def train(context: Context) -> Sequence[Training]:
    """A program per group of seeds."""
    return [
        context.training(plan.sae, 1, runs=RUNS, d_sae=_width(context, plan))
        for plan in context.scale.plans().values()
    ]


def measure(context: Context, arm: Worlds) -> Iterator[Observation]:
    """By setting its SAEs, by architecture its latents, and the latents of all architectures."""
    context.tick(0.0, "building two models")
    world = context.world(**({} if arm.trees else {"hierarchy": None}))
    models = family_of(context, world, (family.INDEPENDENT,))
    plans, architectures = context.scale.plans(), context.scale.architectures
    trained = {
        label: _train(context.part(0.8 * j / len(plans), 0.8 * (j + 1) / len(plans)), models, j)
        for j, label in enumerate(plans)
    }
    context.tick(0.8, "proxies")
    groups = _Groups(context, models, trained)
    for label in plans:
        if label == MODEL:
            continue
        sides = groups.sides(label)
        entries = [Entry("sae", name) for name in (*OF_SAES, F1)]
        yield from _observe(context, label, sides, entries, groups.of_sae)
        if label not in architectures:
            continue
        others = [groups.sides(other)[0] for other in architectures if other != label]
        for names, witnesses in (
            (FROM_SEEDS, ()),
            ((BY_ARCHITECTURES,), others),
            ((BY_MODELS,), groups.sides(MODEL)),
        ):
            entries = [*(Entry("auroc", name) for name in names), *quadrant_entries(names)]
            of_latents = functools.partial(groups.of_latents, names=names)
            yield from _observe(context, label, (*sides, *witnesses), entries, of_latents)
    every = tuple(side for label in architectures for side in groups.sides(label))
    yield from _observe(context, TOGETHER, every, list(histogram_entries()), groups.of_all)


def _train(context: Context, models: Family, j: int) -> Trained:
    """Plan j of the scale."""
    label, plan = list(context.scale.plans().items())[j]
    instance = models.instances[plan.member]
    seeds = context.seeds(1, RUNS, first=2 + j)  # no two groups share a seed
    return context.with_config(lr=plan.setting.lr * context.config.lr).train(
        plan.sae,
        models.base,
        [plain_view(instance)],
        seen_as=[instance],
        runs=RUNS,
        first=plan.member,
        label=label,
        width=_width(context, plan),
        target_l0=plan.setting.k * context.target_l0,
        init_seeds=seeds,
        data_seeds=seeds,
    )


def _width(context: Context, plan: Plan) -> int:
    return round(plan.setting.width * context.d_sae)


def _observe(
    context: Context,
    label: str,
    sides: tuple[Side, ...],
    entries: Sequence[Entry],
    count: Callable[[str], Counted],
) -> Iterator[Observation]:
    """A group of SAEs for each entry; `count(label)` counts all of them at once."""
    counted = functools.cache(lambda: count(label))
    group = {
        "run_id": f"{label}-{context.arm.name}-{context.world_seed}",
        "sae": label,
        "instance": context.number(0),
        "condition": label,
    }

    def numbers(entry: Entry) -> list[Number]:
        value, why = counted()[entry]
        return [Number(entry.variant, entry.metric, value, why)]

    for entry in entries:
        yield Observation(
            sides,
            functools.partial(numbers, entry),
            {**group, **entry.columns()},
            context.n_match,
            ((entry.metric, entry.variant),),
        )


class _Groups:
    """The groups of seeds of a cell; each SAE is read when it is first asked for, and once."""

    def __init__(self, context: Context, models: Family, trained: Mapping[str, Trained]):
        self._context, self._models, self._trained = context, models, trained
        self._world = models.registry("factors")
        self._codes = functools.cache(self._read_codes)
        self._seen = functools.cache(self._see)
        self._proxies = functools.cache(lambda label: seed_proxies(self._group(label)))

    def sides(self, label: str) -> tuple[Side, ...]:
        """The runs of a group."""
        return tuple(self._trained[label].side(0, r) for r in range(RUNS))

    def of_sae(self, label: str) -> Counted:
        """What is said of the group's SAEs."""
        values = of_saes(self._group(label), self._proxies(label))
        return {Entry("sae", name): (value, without(name)) for name, value in values.items()}

    def of_latents(self, label: str, names: Sequence[str]) -> Counted:
        """What proxies say of the group's latents, by who is asked."""
        group = self._group(label)
        proxies: Proxies
        if BY_MODELS in names:
            proxies = {BY_MODELS: witnessed(group, self._group(MODEL))}
        elif BY_ARCHITECTURES in names:
            others = [o for o in self._context.scale.architectures if o != label]
            proxies = {BY_ARCHITECTURES: witnessed(group, [self._seen(o, 0) for o in others])}
        else:
            proxies = self._proxies(label)
        return {**areas(group, proxies), **quadrants(group, proxies)}

    def of_all(self, _: str) -> Counted:
        """The latents of all architectures by value of their proxies."""
        architectures = self._context.scale.architectures
        return histograms([(self._group(label), self._proxies(label)) for label in architectures])

    def _group(self, label: str) -> list[Seen]:
        return [self._seen(label, r) for r in range(RUNS)]

    def _read_codes(self) -> Any:
        n, seed = self._context.n_match, self._context.number(0)
        return read_codes(self._models.reference, self._world, n, seed, "match")

    def _see(self, label: str, r: int) -> Seen:
        """Read an SAE; what is true of it only where that is wanted."""
        subject = self._trained[label].subjects[0][r]
        n, seed = self._context.n_match, self._context.number(0)
        latents = read_latents(subject, self._world, n, seed, "match")
        if label == MODEL:
            return Seen(subject, latents, {}, {})
        sweep = read_truth(subject, self._world, n, seed)
        true = {AGREE: sweep.of("agree", 0.7) >= 0, ANY: (sweep.maps >= 0).any(0)}
        return Seen(subject, latents, true, _quality(subject, latents, self._codes()))


def _quality(subject: Subject, latents: Any, codes: Any) -> dict[str, float]:
    """F1 of detecting the feature of the nearest direction (mean over latents), EV and L0."""
    instance = subject.instance
    features = np.asarray(instance.dictionary)
    on_a, on_b = (latents != 0).astype(np.float64), (codes != 0).astype(np.float64)
    # an absent feature's row of zeros is nearest to nothing
    present = features * np.asarray(instance.present)[:, None]
    target = np.asarray(latent_targets(subject.decoder, present))
    fired, active = (np.asarray(v.sum(0)).ravel() for v in (on_a, on_b))
    joint = np.asarray((on_a.T @ on_b).todense())[np.arange(target.size), target]
    f1 = 2 * joint / np.maximum(fired + active[target], 1)
    x = codes @ features
    params = subject.run[0]
    x_hat = latents @ subject.decoder + np.asarray(params.b_dec) - np.asarray(instance.bias)
    lost = ((x - x_hat) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    return {
        "f1": float(f1.mean()),
        "explained_variance": float(1 - lost),
        "l0": float(fired.sum() / latents.shape[0]),
    }
