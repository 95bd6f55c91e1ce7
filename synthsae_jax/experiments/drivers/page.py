"""The page of drivers@1: effects, what of them goes through recovery, overlap in several ways."""

from __future__ import annotations

from synthsae_jax.experiments.drivers.measure import TRUTHS
from synthsae_jax.experiments.drivers.quantities import (
    BASE,
    CO_RECOVERY,
    CONVERGED,
    EXACT,
    EXCESS,
    EXPECTED,
    EXPLAINED,
    KIN,
    LAST_TENTH,
    MEAN_L0,
    OVERLAP,
    PLANTED,
    RATES_MISSED,
    RECOVERY,
    TERMS,
    TRUE,
    TRUE_LEAST,
    TRUE_MOST,
    beyond_recovery,
    both_recover,
    effect,
    from_base,
    size,
)
from synthsae_jax.experiments.drivers.worlds import DEEPEST, LEVELS, interventions
from synthsae_jax.report import tables
from synthsae_jax.report.block_plots import Curve, Dots, Mark
from synthsae_jax.report.block_tables import Grid, Listing
from synthsae_jax.report.blocks import Finding, Own, Reader, Telling
from synthsae_jax.report.design_page import Page, Section

WAYS = {
    "fewer dimensions": ("dim .10", "dim .15", BASE, "dim .30"),
    "coherence": (BASE, "coherence .25", "coherence .30"),
    "more features": (BASE, "twice the features"),
    "as many dimensions as those": (BASE, "dim of twice the features"),
}
DEPTHS = {BASE: 0, **{f"depth {d}": d for d in range(1, DEEPEST + 1)}}
_FACTORS = {name: f"{name}, {low:g} to {high:g}" for name, (low, high) in LEVELS.items()}
_SINGLES = [
    pair
    for arm in interventions()
    if not arm.block
    for pair in (arm.name, *([arm.beside_base] if arm.between else []))
]
_DEEP = max(LEVELS["depth"])
_FRACTION = {
    "without trees": {"block": True, "depth": 0},
    "with trees": {"block": True, "depth": _DEEP},
}
_OUTCOMES = (CO_RECOVERY, EXPECTED, EXCESS)


def _strongest(reader: Reader) -> str:
    totals = {name: reader.estimate(effect(CO_RECOVERY, name)) for name in LEVELS}
    totals = {name: e for name, e in totals.items() if e.known}
    if not totals:
        return "The fraction is not complete, so that no effect can be told."
    most = max(totals, key=lambda name: abs(totals[name].value))
    predicted = reader.estimate(effect(EXPECTED, most))
    return (
        f"Of the factors, {_FACTORS[most]}, moves what two SAEs recover in common most, by "
        f"{totals[most]:.3} of the features; what each SAE's own recovery predicts moves by "
        f"{predicted:.3}."
    )


_HELD = {
    "F": size("n_features"),
    "D": size("dim"),
    "width": size("width"),
    "overlap": OVERLAP,
    "expected L0": MEAN_L0,
    "rates off": RATES_MISSED,
    "EV": EXPLAINED,
    "last tenth": LAST_TENTH,
    "converged": CONVERGED,
}
_WORST = {RATES_MISSED, LAST_TENTH}  # over worlds; of the others the mean
_PRINT = {"F": ".0f", "D": ".0f", "width": ".0f", "overlap": ".3f", "expected L0": ".2f"}
_PRINT |= {"rates off": ".0f", "EV": ".3f", "last tenth": ".4f", "converged": ".0%"}


def _held(reader: Reader) -> tables.Table | None:
    records = []
    for arm in interventions():
        estimates = {head: reader.estimate(q, {"condition": arm.name}) for head, q in _HELD.items()}
        if all(e.absent for e in estimates.values()):
            continue
        record = {"arm": arm.name}
        for head, e in estimates.items():
            value = max(e.by_unit.values()) if _HELD[head] in _WORST and e.known else e.value
            record[head] = format(value, _PRINT[head]) if e.known else f"undefined: {e.reason}"
        records.append(record)
    return tables.plain(records) if records else None


PAGE = Page(
    title="Drivers of universality",
    asked="What makes features universal, and is it more than what makes them recoverable?",
    findings=(
        Telling(tuple(effect(q, n) for q in (CO_RECOVERY, EXPECTED) for n in LEVELS), _strongest),
        Finding(
            "The log odds ratio of co-recovery is {base} with nothing moved; over the arms of the "
            "fraction it is {flat} without trees and {deep} with trees.",
            base=EXCESS.at(condition=BASE),
            flat=EXCESS.at(block=True, depth=0),
            deep=EXCESS.at(block=True, depth=_DEEP),
        ),
        Finding(
            "{converged:alone} of the pairs had converged, by what the last tenth of training "
            "still added to explained variance.",
            converged=CONVERGED,
        ),
    ),
    not_shown="It does not show what moves features of real models, whose causes are not set one "
    "by one.",
    sections=(
        Section(
            "Effects",
            "Each factor from low to high, over a half fraction of 2^5 arms in every world: main "
            "effects and interactions of two are apart from each other. The effect on the share of "
            "features that both SAEs recover has two parts: that on what both would recover if "
            "they did so independently within tenths by frequency, which goes through recovery, "
            "and the rest. The two parts may pull in opposite directions. Last: what r > .1 "
            "declares of SAEs whose recovery is planted, equal in every arm.",
            Listing(
                "factor",
                ("both recover", "through recovery", "the rest", EXCESS.title, PLANTED.title),
                {
                    label: (
                        effect(CO_RECOVERY, name),
                        effect(EXPECTED, name),
                        beyond_recovery(name),
                        effect(EXCESS, name),
                        effect(PLANTED, name),
                    )
                    for name, label in _FACTORS.items()
                },
                title="Total effects and their parts, as shares (excess: in log odds)",
                digits=3,
            ),
            Dots(
                "effects",
                [
                    Mark(q.title, term, effect(q, term), no_effect=0.0)
                    for q in _OUTCOMES
                    for term in TERMS
                ],
                "Effects of factors and of two together, high less low.",
            ),
            Listing(
                "factor",
                (*(f"both recover, {t}" for t in TRUTHS), "universality", "strictest", "lenient"),
                {
                    label: [
                        *(effect(both_recover(truth), name) for truth in TRUTHS),
                        *(effect(q, name) for q in (TRUE, TRUE_LEAST, TRUE_MOST)),
                    ]
                    for name, label in _FACTORS.items()
                },
                title="By what recovered is taken to mean",
                note="Universality: the share of latents that could be matched rightly, by the "
                "default truth, and at its least and most over all truths and thresholds. An "
                "effect that changes its sign along a row depends on the notion of truth.",
                digits=3,
            ),
        ),
        Section(
            "Overlap, moved in several ways",
            "If it is the mean-max overlap that matters, the lines lie on each other.",
            Curve(
                "overlap",
                "overlap",
                [
                    Mark(q.title, way, q.at(condition=arm), OVERLAP.at(condition=arm))
                    for q in (RECOVERY, CO_RECOVERY, EXCESS)
                    for way, conditions in WAYS.items()
                    for arm in conditions
                ],
                "Against the mean-max overlap.",
            ),
        ),
        Section(
            "Depth, at a fixed number of features in trees",
            "Each tree has a root and five features below it: side by side at depth 1, a chain at "
            "depth 5. Realised rates are held.",
            Grid(
                "depth",
                {str(depth): {"condition": arm} for arm, depth in DEPTHS.items()},
                (RECOVERY, CO_RECOVERY, EXCESS, EXACT, KIN),
                title="From the base arm",
                note="Matches are those of r > .1 between SAEs of one arm, by the default truth, "
                "which takes no latent for a feature unless direction and firing agree.",
            ),
            Grid(
                "arms of the fraction",
                _FRACTION,
                (RECOVERY, *_OUTCOMES),
                title="Over the fraction",
            ),
            Curve(
                "depth",
                "depth",
                [
                    Mark(q.title, "topk", q.at(condition=arm), depth)
                    for q in (RECOVERY, CO_RECOVERY, EXCESS, EXACT)
                    for arm, depth in DEPTHS.items()
                ],
                "Against the depth of the trees.",
                least=3,
            ),
        ),
        Section(
            "One factor at a time",
            "Difference from the base arm, mean over worlds with interval. An arm with `/ base` "
            "is an SAE on its world beside an SAE on the base world.",
            Grid(
                "arm",
                {name: {"condition": name} for name in _SINGLES},
                tuple(from_base(q) for q in (RECOVERY, *_OUTCOMES)),
                digits=3,
            ),
        ),
        Section(
            "What was held",
            "Features whose realised rate is off by more than 2 % and what the last tenth of "
            "training still added to explained variance (converged: below .002) are the worst over "
            "worlds, the other numbers means.",
            Own(
                [q.at(condition=arm.name) for q in _HELD.values() for arm in interventions()], _held
            ),
        ),
    ),
    limits="- Small worlds with independent directions; a pair has every feature in common, so "
    "what differs between its SAEs is what they recover.\n"
    "- `more features` moves the width and every rate with the features: L0 and width per feature "
    "are held, rates are not.\n"
    "- Exclusion and scaling of children stand beside depth 3, not in the fraction.",
)
