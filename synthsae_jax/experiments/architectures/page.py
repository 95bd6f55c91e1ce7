"""The page of architectures@1: what pairs find together, single SAEs, and whether order holds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from synthsae_jax.experiments.architectures.matrices import (
    MATRICES,
    TOGETHER,
    matrix_of,
    merges_of,
)
from synthsae_jax.experiments.architectures.quantities import (
    ALIKE,
    ALIKE_CHANCE,
    ARTEFACTS,
    ARTEFACTS_LEAST,
    ARTEFACTS_MOST,
    CHANGED,
    CO_RECOVERY,
    EV,
    F1,
    KINDS,
    L0,
    LEAST,
    LIKE,
    MCC,
    MOST,
    PRECISION,
    PROBED,
    PURSUIT,
    RANKED,
    UNLIKE,
    among,
    first,
    level,
    of_matrix,
    steady,
    swapped,
)
from synthsae_jax.experiments.architectures.setting import SAME, SETTINGS, WIDE
from synthsae_jax.report import tables
from synthsae_jax.report.block_plots import Dots, Mark, Matrix
from synthsae_jax.report.block_tables import Grid, Listing, table_of
from synthsae_jax.report.blocks import Own, Reader, Telling
from synthsae_jax.report.design_page import Page, Section
from synthsae_jax.suite.encoders import ENCODERS
from synthsae_jax.suite.probes import VARIANT as PROBES
from synthsae_jax.suite.quantity import Estimate, Quantity, number
from synthsae_jax.suite.recipes import recipe_names

SAES = recipe_names()
NAMES = {
    "batchtopk": "BatchTopK",
    "topk": "TopK",
    "matryoshka": "Matryoshka",
    "lista_matryoshka": "LISTA-Matryoshka",
    "matching_pursuit": "matching pursuit",
    "standard": "L1",
    "gated": "gated",
    "jumprelu": "JumpReLU",
}
_KINDS = {
    "like": "two SAEs of one architecture",
    "unlike": "two architectures",
    "with pursuit": "matching pursuit and another",
    "without pursuit": "two others",
}
assert set(_KINDS) == set(KINDS)
_OF_PAIRS = {
    "co_recovery": CO_RECOVERY,
    "its least over truths": LEAST,
    "its most": MOST,
    "precision of r > .1": PRECISION,
    "artefacts shared": ARTEFACTS,
    "their least": ARTEFACTS_LEAST,
    "their most": ARTEFACTS_MOST,
}
_OWN = {"F1": F1, "MCC": MCC, "EV": EV, "L0": L0, "k = 1": PROBED[0], "k = 5": PROBED[1]}
_CHANCE_OF_PROBES = [
    number(q.needs[0].metric, f"{PROBES}/chance", title=q.title).at(setting=None) for q in PROBED
]
_CEILING_OF_PROBES = number("f1", f"{PROBES}/ceiling", title="supervised").at(setting=None)
_SWAPPED = {
    f"{what}, {encoder}": (metric, encoder)
    for what, metric in (("F1", "f1"), ("support", "support_jaccard"), ("kept", "tau_kept"))
    for encoder in ENCODERS
}
_SETTINGS = tuple(setting.name for setting in SETTINGS)


def _together(reader: Reader) -> str:
    like, unlike = reader.estimate(LIKE), reader.estimate(UNLIKE)
    if not (like.known and unlike.known):
        return "Too few pairs were scored to say."
    least, most = (reader.estimate(q.at(condition=SAME)) for q in (LEAST, MOST))
    return (
        f"Beyond what recovery predicts, unlike architectures share {unlike:alone} of what they "
        f"could, two SAEs of one architecture {like:alone} (over what may be called truth all "
        f"pairs range from {least:alone} to {most:alone})."
    )


_STEADY = {
    (name, *pair): steady(F1, (name,), *pair) for name in CHANGED for pair in combinations(SAES, 2)
}


def _order(reader: Reader) -> str:
    overall = reader.estimate(steady(F1))
    if not overall.known:
        return "Whether their order holds elsewhere was not asked."
    single = {at: reader.estimate(q) for at, q in _STEADY.items()}
    shares = {at: e.value for at, e in single.items() if e.known}
    setting, a, b = min(shares, key=lambda at: shares[at])
    return (
        f"Over settings and worlds, pairs of architectures keep their order in F1 in "
        f"{overall:alone} of cases, the least steady pair at one setting "
        f"({reader.name(a)} and {reader.name(b)}, {setting}) in "
        f"{single[setting, a, b]:alone}."
    )


def _first_by_setting(reader: Reader) -> tables.Table | None:
    """The order of means at each setting, and in how many worlds matching pursuit leads."""
    heads = ("by F1", "first in F1", "in MCC", "in EV", "PW-MCC", "of random rows")
    lines = {}
    for setting in _SETTINGS:
        scores = {s: reader.estimate(F1.at(setting=setting, sae=s)) for s in SAES}
        means = {s: e.value for s, e in scores.items() if e.known}
        ordered = sorted(means, key=lambda s: -means[s])
        lines[setting] = [
            ", ".join(f"{reader.name(s)} {means[s]:.2f}" for s in ordered),
            # none or all of five worlds would have an interval of no width
            *(_unbroken(reader.estimate(first(of, setting))) for of in RANKED),
            *(reader.estimate(of.at(setting=setting, sae=PURSUIT)) for of in (ALIKE, ALIKE_CHANCE)),
        ]
    return table_of(
        "setting",
        heads,
        lines,
        title="Matching pursuit at each setting",
        note="First: share of worlds. PW-MCC: mean |cosine| of the decoder rows of two SAEs, "
        "paired best.",
    )


def _unbroken(estimate: Estimate) -> str:
    return f"{estimate:alone}".replace(" ", "\u00a0")


def _order_kept(of: Quantity) -> Matrix:
    return Matrix(
        f"order-{of.needs[0].metric}",
        [
            Mark(f"{NAMES[a]} / {NAMES[b]}", name, steady(of, (name,), a, b))
            for a, b in combinations(SAES, 2)
            for name in CHANGED
        ],
        f"{of.title[:1].upper()}{of.title[1:]}: share of worlds in which a pair keeps the order it "
        "has at the base setting.",
    )


def _levels(of: Quantity) -> tuple[Quantity, Quantity]:
    return level(of, "chance"), level(of, "ceiling")


def _of_wide(of: Sequence[Quantity]) -> Grid:
    return Grid(
        "architecture",
        {NAMES[s]: {"setting": WIDE, "sae": s} for s in SAES},
        of,
        title="What runs agree on and what is true, at twice the width",
    )


PAGE = Page(
    title="Do architectures find the same features?",
    asked="Do SAEs of different architectures find the same features?",
    findings=(
        Telling((LIKE, UNLIKE, LEAST.at(condition=SAME), MOST.at(condition=SAME)), _together),
        Telling((steady(F1), *_STEADY.values()), _order),
    ),
    not_shown="It does not show that they would on a language model, whose features are not known.",
    names=NAMES,
    sections=(
        Section(
            "Which features pairs find together",
            "co_recovery is 1 where the features found by the one are among those of the other as "
            "far as numbers allow, and 0 where they agree no more than independent finds would; on "
            "the diagonal are two SAEs of one architecture, which is the ceiling to compare with. "
            "No two share a seed. True universality is the share of living latents with a partner "
            "that tracks the same feature. Declared is what a rule calls shared: cosines see "
            "nothing where directions are independent. Artefacts are living latents that track "
            "nothing; shared are those matched (codes correlate at .5 or more) with one of the "
            "other side.",
            Listing(
                "pairs on one model",
                tuple(_OF_PAIRS),
                {
                    words: [among(of.at(condition=SAME), kind) for of in _OF_PAIRS.values()]
                    for kind, words in _KINDS.items()
                },
                title="Pairs by kind",
            ),
            *(matrix_of(of, condition) for of, condition in MATRICES),
        ),
        Section(
            "Architectures by the features they find",
            "Average linkage of 1 - Jaccard of the features found (one model). Like pairs stand at "
            "what two runs of one architecture differ by: merges below that are no difference at "
            "all.",
            Own(tuple(TOGETHER.values()), merges_of),
        ),
        Section(
            "Each architecture",
            "Scores by the inference rule. k = 1 and k = 5: mean F1 of probes on that many "
            "latents. Then the dictionary under other encoders: F1 of a trained linear one and of "
            "a pursuit, how alike the active latents of each token are (support), and of the "
            "latents that track a feature the share that still tracks it (kept).",
            Listing(
                "architecture",
                tuple(_OWN),
                {
                    **{s: [of_matrix(of, s) for of in _OWN.values()] for s in SAES},
                    "(chance: untrained)": [
                        *(level(of, "chance") for of in RANKED),
                        None,
                        *_CHANCE_OF_PROBES,
                    ],
                    "(ceiling: true directions)": [
                        *(level(of, "ceiling") for of in RANKED),
                        None,
                        None,
                        _CEILING_OF_PROBES,
                    ],
                },
                title="At equal width and L0",
                note="The ceiling of probes is that of supervised ones on the whole input.",
            ),
            Listing(
                "architecture",
                ("F1, its own", *_SWAPPED),
                {
                    s: [
                        of_matrix(F1, s),
                        *(swapped(metric, e, "", s) for metric, e in _SWAPPED.values()),
                    ]
                    for s in SAES
                },
                title="The dictionary under other encoders",
                note="Its own F1 is that of all its SAEs, the others are of the first.",
            ),
            Dots(
                "scores",
                [
                    # its levels belong to all of them
                    Mark(of.title, NAMES[s], of_matrix(of, s), None, *_levels(of))
                    for of in RANKED
                    for s in SAES
                ],
                "At equal width and L0, one world each.",
            ),
        ),
        Section(
            "Does the order hold?",
            "Each setting changes one thing of a small world with trees. Order by means over "
            "worlds, and the share of worlds in which matching pursuit comes first.",
            Own(
                tuple(
                    q
                    for name in _SETTINGS
                    for q in (
                        F1.at(setting=name, sae=SAES),
                        *(first(of, name) for of in RANKED),
                        *(of.at(setting=name, sae=PURSUIT) for of in (ALIKE, ALIKE_CHANCE)),
                    )
                ),
                _first_by_setting,
            ),
            _of_wide((ALIKE, ALIKE_CHANCE, MCC)),
            *map(_order_kept, RANKED),
        ),
    ),
    limits="- Small worlds; the matrix on one without trees, the ranking on one with trees.\n"
    "- Equal width and L0 at one point each; penalties are steered to the L0.\n"
    "- Pairs read one SAE of each side: what a second pair would differ by shows in the diagonal.",
)
