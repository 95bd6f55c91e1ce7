"""The page of leakage@1: what a common start or order of data fakes, by length of the training."""

from __future__ import annotations

from synthsae_jax.experiments.leakage.claims import (
    ALIKE,
    BY_NUMBER,
    BY_ORDER,
    FAKED,
    NEAR_START,
    SHARE,
    TRULY_SHARED,
    faked,
)
from synthsae_jax.experiments.leakage.setting import (
    ARMS,
    BOTH,
    END,
    FRESH,
    GROUPS,
    NAMES,
    ON_ONE,
    RULES,
    SAME_INIT,
    SAME_ORDER,
    SHARED,
    STAGES,
)
from synthsae_jax.report.block_plots import Curve, Dots, Mark
from synthsae_jax.report.block_tables import Grid
from synthsae_jax.report.blocks import Reader, Telling
from synthsae_jax.report.design_page import Page, Section
from synthsae_jax.suite.quantity import number

_BY_ARM = {arm.name: {"arm": arm.name} for arm in ARMS}
_EVERY = tuple(_BY_ARM)


def _which(reader: Reader) -> str:
    ends = {arm: reader.estimate(FAKED, at) for arm, at in _BY_ARM.items()}
    known = {arm: e for arm, e in ends.items() if e.known}
    if not known:
        return "No pair without a common feature was scored."
    much = sorted((a for a, e in known.items() if e.value > 0.1), key=lambda a: -known[a].value)
    listed = ", ".join(f"{known[arm]} ({arm})" for arm in much[:3])
    rest = [e.value for arm, e in known.items() if arm not in much]
    return (
        "On two models without a common feature a common start leaves more than a tenth of the "
        f"latents alike at the end of {len(much)} of {len(known)} kinds of training"
        + (f", the most {listed}" if much else "")
        + (f"; the most that any other keeps is {100 * max(rest):.0f} %." if rest else ".")
    )


def _order(reader: Reader) -> str:
    for arm, at in _BY_ARM.items():
        order, alike = (reader.estimate(q, at) for q in (BY_ORDER, _ON_ONE_MODEL))
        if order.known and alike.known:
            return (
                f"A common order of the data adds {order} ({arm}); SAEs that read one model, with "
                f"nothing else in common, have {alike} of their latents alike."
            )
    return "What a common order adds is not known yet."


_ON_ONE_MODEL = ALIKE.at("alike, nothing else in common", condition=SHARED, stage=END)
_STAGES = [(f"after {stage:.0%}", stage) for stage in STAGES]


def _over_training() -> list[Mark]:
    return [
        Mark(arm, NAMES[c], ALIKE.at(arm=arm, condition=c, stage=stage), f"{stage:.0%}")
        for arm in _EVERY
        for c in (FRESH, SAME_ORDER, SAME_INIT, BOTH, SHARED)
        for stage in STAGES
    ]


def _by_rate() -> list[Mark]:
    panels = {
        "latents above .7 from a common start": ("above_0.7", {"condition": SAME_INIT}),
        "latents still near their own start": ("near_start", {}),
    }
    return [
        Mark(
            panel,
            f"{arm}: {words}",
            number(metric, group, unit=SHARE).at(arm=arm, stage=END, **where),
        )
        for panel, (metric, where) in panels.items()
        for arm in ("topk", "topk, short, slow", "topk, short, few dimensions", "topk, worst")
        for group, words in GROUPS.items()
    ]


PAGE = Page(
    title="Leakage of initialisation and data order",
    asked="How much universality can a shared initialisation or a shared order of data fake?",
    findings=(
        Telling(tuple(FAKED.at(**at) for at in _BY_ARM.values()), _which),
        Telling((BY_ORDER, _ON_ONE_MODEL), _order),
    ),
    not_shown="It does not show what leaks in trainings of other lengths and learning rates, nor "
    "through a start that was fitted to data.",
    sections=(
        Section(
            "What a start can fake",
            "Two models without a common feature, SAEs from the same start in different orders of "
            "data: the share of latents whose partner under the optimal assignment has a raw "
            "decoder cosine of .7 or more, less the same share from different starts. That is "
            "what a start alone can fake; 0 is right. Short trainings are runs of an eighth of "
            "the samples with a decay of their own; a unit start has decoder rows of norm 1, few "
            "dimensions are a quarter of the preset's, slow is .03 of the learning rate, and the "
            "worst has a unit start in few dimensions.",
            Grid(
                "SAEs",
                _BY_ARM,
                [faked(title, stage=stage) for title, stage in _STAGES],
                title="Faked, by share of the training",
            ),
            Grid(
                "SAEs",
                _BY_ARM,
                [NEAR_START.at(title, stage=stage) for title, stage in _STAGES],
                title="Latents that still point to where they started, cosine .7 or more",
            ),
            Grid(
                "SAEs",
                _BY_ARM,
                (
                    ALIKE.at("same start", condition=SAME_INIT, stage=END),
                    ALIKE.at("nothing in common (chance)", condition=FRESH, stage=END),
                    BY_NUMBER.at("same start, by number alone", condition=SAME_INIT, stage=END),
                ),
                title="Latents above .7 at the end of the training",
                note="By number alone: latent i beside latent i, without a matching.",
            ),
            Grid(
                "SAEs",
                _BY_ARM,
                [
                    q.at(f"{title}, {words}", condition=condition, stage=END)
                    for condition, words in zip(ON_ONE, ("fresh", "same order", "same start"))
                    for q, title in ((ALIKE, "above .7"), (TRULY_SHARED, "true"))
                ],
                title="Beside it: one model that is read twice",
                note="True: latents of the whole dictionary that track the same feature.",
            ),
        ),
        Section(
            "Over the training",
            "The same share before any difference is taken, after none, 1 %, 10 % and all of the "
            "training. The share of SAEs on one model from other starts and other orders stands "
            "beside it: these latents are alike because the features are the same.",
            Curve(
                "curves",
                "share of the training",
                _over_training(),
                "Share of latents with a raw decoder cosine above .7.",
                limits={arm: (-0.03, 1.03) for arm in _EVERY},
            ),
        ),
        Section(
            "Which latents",
            "Latents of the first SAE by how often they fire, at the end: how many have a partner "
            "above .7 on the disjoint model from a common start, and how many still point to "
            "where they started.",
            Dots(
                "where",
                _by_rate(),
                "By how often latents fire; no row where there is no such latent.",
            ),
        ),
        Section(
            "What rules declare",
            "Living latents declared shared at the end of the training, on models without a "
            "common feature. r > .1 has a floor of its own, since each latent takes the best of "
            "many.",
            *(
                Grid(
                    "SAEs",
                    _BY_ARM,
                    [
                        number("declared", rule, unit=SHARE).at(NAMES[c], condition=c, stage=END)
                        for c in (FRESH, SAME_ORDER, SAME_INIT, BOTH)
                    ],
                    title=f"Declared shared by {words}",
                )
                for rule, words in RULES.items()
            ),
        ),
    ),
    limits="- Small worlds without trees; one learning rate for each scale. A start is forgotten "
    "at the speed at which weights move, so larger or slower trainings keep more of it.\n"
    "- In the same order a feature and its twin on the other model fire on the same training "
    "tokens: the most that a common text could couple them. Pairs are read on tokens where they "
    "fire apart.\n"
    "- Runs on one model from one start in one order are one run, and left out.",
    names=NAMES,
)
