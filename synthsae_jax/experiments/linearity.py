"""linearity@1: what of recovery, truth and scores rests on features being linear?

Features turn with magnitude, lie on circles or in planes, mix with their parents' or pass a
nonlinearity, at several strengths. The models, runs and tokens of a departure are the same at every
strength: nothing else differs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from synthsae_jax import worlds
from synthsae_jax.experiments.registration import register
from synthsae_jax.registry import Explanation
from synthsae_jax.report.blocks import Curve, Grid, Mark, Matrix, Reader, Telling, along
from synthsae_jax.report.design_page import Page, Section
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.context import Context
from synthsae_jax.suite.cost import Training
from synthsae_jax.suite.design import Arm, Design
from synthsae_jax.suite.explained import explained_variance
from synthsae_jax.suite.families import family_of, family_pairs
from synthsae_jax.suite.observation import Number, Observation
from synthsae_jax.suite.pair import Pair, protocol_numbers, rule_numbers, truth_numbers
from synthsae_jax.suite.quantity import Quantity, combined, number
from synthsae_jax.suite.scale import Scale, scales_of
from synthsae_jax.suite.seeds import run_seed
from synthsae_jax.worlds import World, family
from synthsae_jax.worlds.family import Family

# rotated, so that scores of aligned directions have something to find; and the zero
CONDITIONS = (family.ROTATED, family.DISJOINT_INDEPENDENT)
SHARED, DISJOINT = (condition.name for condition in CONDITIONS)
_MEMBERS = 1 + len(CONDITIONS)
DEPARTURES = {
    "turning": "directions turn with magnitude",
    "circle": "features lie on circles",
    "plane": "features have two dimensions",
    "family": "children's directions are mixed with their parents'",
    "squash": "activations pass a pointwise nonlinearity",
}
HALF, WHOLE = 0.5, 1.0
RULES = ("best_correlation_0.1", "decoder_cosine_0.7_aligned")
TRUTHS = ("agree", "geometric", "functional", "code", "causal")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearityScale(Scale):
    """With the strengths of a departure, and the roots of the one world that has trees."""

    roots: int
    slots: tuple[int, ...] = (16, 40, 40)
    strengths: tuple[float, ...] = (0.0, 0.25, HALF, WHOLE)


_SMALL = {
    "n_features": 128,
    "hidden_dim": 64,
    "width": 64,
    "roots": 8,
    "mean_l0": 4.0,
    "target_l0": 3.0,
    "batch_size": 256,
    "dead_window": 100,
    "protocols": ("mppc2024", "song2025"),
}
_LARGE = {
    "preset": "1k",
    "n_features": 1024,
    "hidden_dim": 128,
    "width": 256,
    "roots": 64,
    "mean_l0": 8.0,
    "target_l0": 6.0,
    "slots": (32, 96, 72),
    "protocols": ("mppc2024", "song2025"),
    "dead_window": 500,
}
SCALES = scales_of(
    LinearityScale,
    smoke={**_SMALL, "arms": ("turning",), "strengths": (0.0, HALF, WHOLE)},
    small=_SMALL,
    standard=_LARGE,
    full={
        **_LARGE,
        "n_features": 4096,
        "hidden_dim": 256,
        "width": 1024,
        "roots": 256,
        "mean_l0": 12.0,
        "target_l0": 9.0,
        "slots": (64, 160, 120),
        "n_match": 294_912,
    },
)


@dataclasses.dataclass(frozen=True)
class Departure(Arm):
    """One departure from linear features, at all strengths."""

    def columns(self) -> dict[str, str]:
        """Its factor."""
        return {"departure": self.name}


def train(context: Context) -> Sequence[Training]:
    """One program: every member of the families of all strengths."""
    return [context.training("topk", _MEMBERS * len(context.scale.strengths))]


def measure(context: Context, arm: Departure) -> Iterator[Observation]:
    """Families of equal seeds at every strength, trained together; then their pairs."""
    strengths = context.scale.strengths
    context.tick(0.0, "building the families")
    world = departed_world(context, arm.name)
    families = [_family(context, world, arm.name, s) for s in strengths]
    members = [instance for f in families for instance in f.instances]
    numbers = [context.number(i) for i in range(_MEMBERS)] * len(families)
    seeds = np.array([[run_seed(i, 0)] for i in numbers])
    trained = context.part(0.0, 0.5).train(
        "topk",
        world,
        [family.plain_view(instance) for instance in members],
        seen_as=members,
        init_seeds=seeds,
        data_seeds=seeds,
    )
    for j, (strength, members_of) in enumerate(zip(strengths, families, strict=True)):
        part = context.part(0.5 + 0.5 * j / len(families), 0.5 + 0.5 * (j + 1) / len(families))
        for pair in family_pairs(part, members_of, trained, first=j * _MEMBERS):
            yield pair.observe(
                lambda both, of=members_of: _numbers(context, of, both),
                strength=strength,
                shared=pair.condition.shared,
            )


def departed_world(context: Context, departure: str) -> World:
    """The world of a departure: with trees at equal rates where it is about parents.

    Three children below each of the most frequent features.
    """
    scale = context.scale
    assert scale.slots is not None  # each scale of this experiment has its own
    root, top, code = scale.slots
    law = worlds.ScaledZipf(exponent=0.7, mean_l0=scale.mean_l0)
    plain = context.world(n_features=scale.n_features, firing=law, slots=scale.slots)
    if departure != "family":
        return plain
    trees = worlds.HierarchyConfig(total_root_nodes=scale.roots, branching_factor=3, max_depth=1)
    return worlds.variant(
        plain, hierarchy=trees, seed=context.world_seed, slots=(root, top, code, code)
    )


def _family(context: Context, world: World, departure: str, strength: float) -> Family:
    config = worlds.InstanceConfig(
        hidden_dim=context.scale.d_in,
        bias_norm=0.5,
        orthogonalize_steps=0,
        departure=departure,
        strength=strength,
    )
    return family_of(context, world, CONDITIONS, config)


def _numbers(context: Context, members: Family, pair: Pair) -> Iterator[Number]:
    yield from truth_numbers(pair)
    sides = pair.a, pair.b
    for method in TRUTHS:
        tracked = np.mean([(s.truth.of(method, 0.7)[s.alive] >= 0).mean() for s in sides])
        yield Number(method, "tracked", float(tracked), "all latents of a side are dead")
    yield from rule_numbers(pair, RULES)
    key = jax.random.key(context.number(0))
    yield from protocol_numbers(pair, context.scale.protocols, key=key, draws=0)
    subject, world = pair.a.subject, members.registry("factors")
    explained = explained_variance(subject, world, context.number(0))
    yield Number("held", "explained_variance", explained, "the activations do not vary")
    linear = np.asarray(worlds.linear_share(subject.instance))
    linear = linear[np.asarray(subject.instance.present)] if linear.size else linear
    share = float(linear.mean()) if linear.size else math.nan
    yield Number("held", "linear_share", share, "the nonlinearity acts on the sum of features")


def tracked_by(method: str) -> Quantity:
    """Share of living latents that track a feature, by a truth."""
    title = f"latents that track a feature ({method})"
    return number("tracked", method, title=title, unit="share of latents")


TRACKED = tracked_by("agree")
TRULY_SHARED = number(
    "true_universality", "truth", title="truly shared", unit="share of the smaller side's latents"
)
DECLARED = number("declared", RULES[0], title="r > .1, declared", unit="share of latents")
SCORES = (
    DECLARED,
    number("declared", RULES[1], title="decoder cosine > .7, aligned", unit="share of latents"),
    number("score", "mppc2024", title="mean best correlation", unit="correlation"),
    number("score", "song2025", title="mean assigned decoder cosine", unit="cosine"),
)
EXPLAINED = number("explained_variance", "held", title="explained variance", unit="variance")
LINEAR = number("linear_share", "held", title="linear share of a feature", unit="variance")


def change(
    of: Quantity, strength: float, departure: str | None = None, condition: str = SHARED
) -> Quantity:
    """A number at this strength less at strength 0; None: mean over departures.

    Undefined where a departure lacks either end.
    """
    departed = of.at(condition=condition)
    kinds = DEPARTURES if departure is None else (departure,)
    single = [
        departed.at(departure=d, strength=strength) - departed.at(departure=d, strength=0)
        for d in kinds
    ]
    where = "mean over departures" if departure is None else departure
    return combined(
        lambda *values: float(np.mean(values)),
        *single,
        name=f"change of {of.name}, {where}, {condition}, {strength:g}",
        title=f"{of.title}: strength {strength:g} less 0, {where}",
    )


_SAID = {
    RULES[0]: "r > .1",
    RULES[1]: "decoder cosine > .7 after alignment",
    "mppc2024": "the mean best correlation",
    "song2025": "the mean assigned decoder cosine",
}
CLAIMS = (
    *(
        Claim(
            f"L1 {departure}",
            f"Recovery falls where {words}.",
            change(TRACKED, HALF, departure).called(
                "share of living latents that track a feature, strength .5 less 0"
            ),
            smallest_effect=-0.1,
            margin=0.02,
            changes="Other strengths: see the curves; width and training are held.",
        )
        for departure, words in DEPARTURES.items()
    ),
    *(
        Claim(
            f"L2 {score.needs[0].variant}",
            f"At half strength {_SAID[score.needs[0].variant]} keeps its value.",
            change(score, HALF).called(
                "score at strength .5 less 0, mean over departures, models that share everything"
            ),
            smallest_effect=0.05,
            margin=0.05,
            kind="equivalent",
            changes="Single departures: a mean over five hides one that breaks it.",
            family="scores",
        )
        for score in SCORES
    ),
    Claim(
        "L3",
        "Truth by direction breaks before truth by firing.",
        (change(tracked_by("functional"), HALF) - change(tracked_by("geometric"), HALF)).called(
            "change of the share of latents that track a feature, functional less geometric, at "
            "strength .5, mean over departures"
        ),
        smallest_effect=0.05,
        margin=0.02,
        changes="Effective directions: with the drawn ones geometric truth would break sooner.",
        family="truth",
    ),
    Claim(
        "L4",
        "What r > .1 declares falls less than what is truly shared.",
        (change(DECLARED, WHOLE) - change(TRULY_SHARED, WHOLE)).called(
            "change of declared less change of true universality, strength 1, mean over departures"
        ),
        smallest_effect=0.05,
        margin=0.02,
        changes="Another notion of truth for features that are no directions.",
        family="truth",
    ),
    Claim(
        "L5",
        "Departures make no false sharing: r > .1 stays where it is without a common feature.",
        change(DECLARED, WHOLE, condition=DISJOINT).called(
            "declared at strength 1 less 0, disjoint models, mean over departures"
        ),
        smallest_effect=0.05,
        margin=0.05,
        kind="equivalent",
        changes="Coupled models without a common feature, where there is more to find.",
        family="scores",
    ),
)
NAMES = {
    "turning": "turning with magnitude",
    "circle": "circles",
    "plane": "planes",
    "family": "mixed with parents",
    "squash": "pointwise nonlinearity",
}


def _extremes(reader: Reader) -> str:
    falls = {d: reader.estimate(change(TRACKED, WHOLE, d)) for d in DEPARTURES}
    falls = {d: e.value for d, e in falls.items() if e.known}
    if not falls:
        return "No departure has both ends of its strength, so that nothing can be compared."
    most, least = min(falls, key=lambda d: falls[d]), max(falls, key=lambda d: falls[d])
    declared, true = (reader.estimate(change(q, WHOLE, most)) for q in (DECLARED, TRULY_SHARED))
    text = (
        f"At full strength the share of latents that track a feature changes most with "
        f"{NAMES[most]} ({falls[most]:+.2f})"
    )
    if len(falls) > 1:
        text += f" and least with {NAMES[least]} ({falls[least]:+.2f})"
    return (
        f"{text}. With {NAMES[most]}, what r > .1 declares changes by {declared.value:+.2f}, what "
        f"is truly shared by {true.value:+.2f}."
    )


_ENDS = tuple(change(q, WHOLE, d) for d in DEPARTURES for q in (TRACKED, DECLARED, TRULY_SHARED))
_STRENGTHS = LinearityScale.strengths
_PANELS = {NAMES[d]: {"departure": d} for d in DEPARTURES}


def _scores(name: str, condition: str) -> Curve:
    numbers = [q.at(condition=condition) for q in (TRULY_SHARED, *SCORES)]
    marks = along("strength", _STRENGTHS, numbers, panels=_PANELS)
    return Curve(name, "strength", marks, "Scores by strength.")


PAGE = Page(
    title="What rests on features being linear",
    asked="What of recovery, truth and scores of universality rests on features being linear?",
    findings=(Telling(_ENDS, _extremes),),
    not_shown="It does not show how linear the features of real models are.",
    sections=(
        Section(
            "What latents track",
            "Share of the living latents that track a feature, by what tracking is taken to mean.",
            Grid(
                "departure, strength",
                {
                    f"{NAMES[d]}, {s:g}": {"departure": d, "strength": s}
                    for d in DEPARTURES
                    for s in _STRENGTHS
                },
                (LINEAR, EXPLAINED, TRACKED, TRULY_SHARED.at(condition=SHARED)),
            ),
            Curve(
                "truths",
                "strength",
                along(
                    "strength",
                    _STRENGTHS,
                    [tracked_by(m).called(m).at(condition=SHARED) for m in TRUTHS],
                    panels=_PANELS,
                ),
                "What latents track, by strength.",
            ),
        ),
        Section(
            "Scores beside what is truly shared",
            "Models that share all features and their directions, up to a rotation. A score that "
            "stays where it is while the truth falls does not notice.",
            _scores("scores", SHARED),
        ),
        Section(
            "Scores where nothing is shared",
            "Models without a common feature, firing independently.",
            _scores("zeros", DISJOINT),
        ),
        Section(
            "Change at half strength",
            "Each number at strength .5 less at strength 0, mean over worlds.",
            Matrix(
                "changes",
                [
                    Mark(q.title, NAMES[d], change(q, HALF, d))
                    for q in (*(tracked_by(m) for m in TRUTHS), TRULY_SHARED, *SCORES)
                    for d in DEPARTURES
                ],
                "Change at strength .5 against 0.",
                limits=(-0.5, 0.5),
            ),
        ),
    ),
    limits="- Effective directions stand for a feature's direction: the best that a linear method "
    "can find. They are those of the features, not of the SAE's inputs.\n"
    "- Trees only where the departure is about parents; SAEs of one architecture (TopK).\n"
    "- Strengths of different departures are not on one scale; the linear share is printed for "
    "those that have one.",
)

DESIGN = register(
    Design(
        id="linearity@1",
        title="What rests on features being linear",
        question="What of recovery, truth and scores rests on features being linear?",
        explanation=Explanation(
            what="Features that turn with magnitude, lie on circles or in planes, mix with their "
            "parents or pass a nonlinearity, at four strengths, all else equal: what SAEs recover, "
            "what two of them share, and what rules and protocols say of it.",
            formula="primary number: share of living latents that track a feature (agree)",
            range="[0, 1]",
            chance="strength 0, where each departure equals linear features",
            source="linear representations and their limits: arXiv 2405.14860",
        ),
        scales=SCALES,
        arms=lambda scale: [Departure(name) for name in DEPARTURES],
        train=train,
        measure=measure,
        quantities=(TRACKED,),
        claims=CLAIMS,
        page=PAGE,
        levels=lambda scale: {
            "condition": (SHARED, DISJOINT),
            "strength": scale.strengths,
            "shared": (1.0, 0.0),
        },
        pairs=lambda context: len(CONDITIONS) * len(context.scale.strengths),
    )
)
