"""A cell of realism@1: one setting of one world, and every number that was published of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax.numpy as jnp
import numpy as np

from synthsae_jax import metrics
from synthsae_jax.experiments.realism import numbers
from synthsae_jax.experiments.realism.readings import (
    Beside,
    Stream,
    Valued,
    activations,
    undefined,
    valued,
)
from synthsae_jax.experiments.realism.setting import (
    ASKED,
    FIT_OF_SAE,
    MODELS,
    SPARSE_PROBES,
    SUPERVISED,
    TOPK,
    Setting,
)
from synthsae_jax.experiments.realism.targets import EARLY, TARGETS, TWICE_K, WIDE
from synthsae_jax.experiments.realism.training import Group, Members, train_group
from synthsae_jax.numerics import firings
from synthsae_jax.suite.context import Context
from synthsae_jax.suite.families import family_of
from synthsae_jax.suite.observation import Number, Observation
from synthsae_jax.suite.probes import probed
from synthsae_jax.suite.pursuit import PURSUIT
from synthsae_jax.suite.reading import Csr, read_codes
from synthsae_jax.worlds import World
from synthsae_jax.worlds.family import Family, plain_view

_OFF = 2.0  # factor by which an SAE's L0 may miss the setting's


def pairs(context: Context) -> int:
    """All pairs of seeds, A with each B, and one of each that is compared with itself."""
    n = context.scale.n_seeds
    return n * (n - 1) // 2 + len(MODELS) + 3 + len(context.scale.saes_of(context.arm))


def measure(context: Context, arm: Setting) -> Iterator[Observation]:
    """What was published of seeds, of one SAE, of two architectures, encoders and models."""
    context.tick(0.0, "building the models")
    world = arm.world(context)
    models = family_of(context, world, MODELS)
    cell = _Cell(context, world, models, train_group(context.part(0.0, 0.8), models))
    context.tick(0.8, "seeds")
    yield from cell.seeds()
    for name in dict.fromkeys((TOPK, *ASKED, *context.scale.saes_of(arm))):
        yield from cell.architecture(name)
    if arm.verdicts:
        context.tick(0.83, "probes")
        yield from cell.probes()
    context.tick(0.88, "another encoder")
    yield cell.swapped()
    context.tick(0.9, "other models")
    yield from cell.across()


class _Cell:
    """What the SAEs of a cell do on tokens is read when it is first asked for, and once."""

    def __init__(self, context: Context, world: World, models: Family, saes: Group):
        self._context, self._world, self._models, self._saes = context, world, models, saes
        self._view = plain_view(models.reference)
        self._latents = functools.cache(self._read)
        self._fits = functools.cache(self._fit_of)

    @functools.cached_property
    def _stream(self) -> Stream:
        context, view = self._context, self._view
        codes = read_codes(view, self._world, context.n_match, context.number(0), "calibrate")
        return Stream(context, self._world, codes, activations(codes, view))

    def seeds(self) -> Iterator[Observation]:
        """What the seeds say together, and what SAEs of another kind share less than they do."""
        saes, metrics = self._saes, _metrics_of(TOPK)
        yield self._observe(saes.seeds, TOPK, metrics, self._of_seeds)
        for variant, others in ((TWICE_K, saes.twice_k), (EARLY, saes.early), (WIDE, saes.wide)):
            lost = functools.partial(self._lost, others)
            yield self._observe([*saes.seeds, *others], variant, ["shared_lost"], lost)
        both = [saes.wide[0], saes.seeds[0]]
        novel = lambda: numbers.novel(*(sae.subject.decoder for sae in both))
        yield self._observe(both, WIDE, ["novel"], lambda: valued({"novel": novel()}))

    def _of_seeds(self) -> Valued:
        subjects = [sae.subject for sae in self._saes.seeds]
        decoders = [s.decoder for s in subjects]
        encoders = [s.encoder for s in subjects if s.encoder is not None]
        values = numbers.seed_numbers(decoders, encoders, firings(self._latents(TOPK)))
        features = self._view.dictionary
        mcc = np.mean([metrics.mcc(jnp.asarray(d), jnp.asarray(features)) for d in decoders])
        recovered = np.mean([numbers.recovered(d, np.asarray(features)) for d in decoders])
        values |= {"mcc_less_pw_mcc": float(mcc) - values["pw_mcc"], "recovered": float(recovered)}
        return valued(values)

    def _lost(self, others: Members) -> Valued:
        usual, other = (_pair_numbers(group)["shared"] for group in (self._saes.seeds, others))
        return valued({"shared_lost": usual - other})

    def architecture(self, name: str) -> Iterator[Observation]:
        """How well an architecture fits, and what two of its SAEs share."""
        both = self._saes.by_name.get(name, ())
        yield self._observe(both[:1], name, FIT_OF_SAE, lambda: self._fit(name))
        shared = _metrics_of(name)
        if name != TOPK and shared:
            yield self._observe(both, name, shared, lambda: self._of_pair(name, shared))

    def _fit(self, name: str) -> Valued:
        why = self._missed(name)
        if name not in self._saes.by_name:
            return undefined(FIT_OF_SAE, why)
        values = valued(self._fits(name))
        return {**values, **undefined(("f1", "explained_variance"), why)} if why else values

    def _of_pair(self, name: str, asked: Iterable[str]) -> Valued:
        why = self._missed(name)
        return undefined(asked, why) if why else valued(_pair_numbers(self._saes.by_name[name]))

    def probes(self) -> Iterator[Observation]:
        """Probes on a few latents of each architecture, and on all dimensions of the model."""
        context = self._context
        ids = probed(self._world, self._view, context.d_sae, context.scale.n_probes)
        asked = [f"probe_k{k}" for k in SPARSE_PROBES]

        def of(name: str) -> Valued:
            why = self._missed(name)
            if why:
                return undefined(asked, why)
            scores = (self._stream.probe(self._latents(name), ids, k) for k in SPARSE_PROBES)
            return valued(dict(zip(asked, scores, strict=True)))

        for name, saes in self._saes.by_name.items():
            yield self._observe(saes[:1], name, asked, functools.partial(of, name))
        supervised = lambda: valued({"probe": self._stream.supervised(ids)})
        yield self._observe((), SUPERVISED, ["probe"], supervised)

    def swapped(self) -> Observation:
        """The first SAE's dictionary with matching pursuit as encoder."""
        first, k = self._saes.seeds[:1], round(self._context.target_l0)
        values = lambda: self._stream.swapped(first[0].subject, self._latents(TOPK), k)
        return self._observe(first, PURSUIT, ["support_jaccard", "linear_r2"], values)

    def across(self) -> Iterator[Observation]:
        """The first SAE beside the one on each B."""
        first, others = self._saes.seeds[0], self._saes.on_others
        on_others = [sae.subject for sae in others]
        beside = Beside(self._context, self._models, first.subject, on_others)
        metrics = [target.metric for target in TARGETS if target.across]
        for i, (condition, other) in enumerate(zip(MODELS, others, strict=True)):
            of_pair = functools.partial(beside.numbers, i)
            yield self._observe([first, other], "", metrics, of_pair, condition.name)
        yield self._observe([first], "raw", ["ev_across"], beside.raw)
        rotated = others[beside.rotated]
        yield self._observe([first, rotated], "turned", ["ev_lost"], beside.turned)

    def _observe(
        self,
        saes: Members,
        variant: str,
        asked: Sequence[str],
        values: Callable[[], Valued],
        condition: str = "",
    ) -> Observation:
        """A group of SAEs, and of its values those that are asked for."""
        context = self._context

        def measured() -> list[Number]:
            of_metric = values()
            return [Number(variant, metric, *of_metric[metric]) for metric in asked]

        columns = {
            "run_id": f"{context.arm.name}-{condition}-{context.world_seed}",
            "instance": context.number(0),
            "condition": condition,
        }
        names = tuple((metric, variant) for metric in asked)
        sides = tuple(sae.side for sae in saes)
        return Observation(sides, measured, columns, context.n_match, names)

    def _read(self, name: str) -> Csr:
        return self._stream.read(self._saes.by_name[name][0].subject)

    def _fit_of(self, name: str) -> dict[str, float]:
        return self._stream.fit(self._saes.by_name[name][0].subject, self._latents(name))

    def _missed(self, name: str) -> str:
        """Why an architecture's SAE is no comparison; empty where it is one."""
        if name not in self._saes.by_name:
            return f"no SAE of {name} is trained at this scale"
        # by construction as sparse as the setting
        return "" if name == TOPK else missed(self._fits(name)["l0"], self._context.target_l0)


def missed(l0: float, k: float) -> str:
    """Why an SAE of this L0 is no comparison at the target k; empty where it is one.

    One of another sparsity is none: a penalty takes steps to be steered.
    """
    near = 1 / _OFF <= l0 / k <= _OFF
    return "" if near else f"its L0 is further than a factor {_OFF:g} from {k:g}"


def _metrics_of(variant: str) -> list[str]:
    """Published numbers of some SAEs, but for how well one of them fits."""
    return [t.metric for t in TARGETS if t.variant == variant and t.metric not in FIT_OF_SAE]


def _pair_numbers(saes: Members) -> dict[str, float]:
    subjects = [sae.subject for sae in saes]
    return numbers.pair_numbers([s.decoder for s in subjects], [s.encoder for s in subjects])
