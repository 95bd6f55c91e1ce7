"""The page of realism@1: published numbers, what worlds give, and at which settings they agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from synthsae_jax.experiments.realism.choice import SETTINGS, At
from synthsae_jax.experiments.realism.quantities import (
    CARRIED,
    MATRYOSHKA_LAGS,
    MATRYOSHKA_LEADS,
    MATRYOSHKA_ORDER,
    NEAREST,
    PROBES_BELOW,
    PURSUIT_LAGS,
    PURSUIT_LEADS,
    PURSUIT_ORDER,
    UNFITTED,
    agreement,
    l0,
    mismatch,
    value_at,
)
from synthsae_jax.experiments.realism.setting import ARCHITECTURES, ARMS, AS_PUBLISHED, ASKED, TOPK
from synthsae_jax.experiments.realism.targets import FIT, JUDGE, LEFT_OUT, TARGETS, Target
from synthsae_jax.report import marks, tables
from synthsae_jax.report.block_tables import Grid, Listing, table_of
from synthsae_jax.report.blocks import Figure, Finding, Own, Reader, Telling
from synthsae_jax.report.canvas import Plot
from synthsae_jax.report.design_page import Page, Section
from synthsae_jax.report.published import published_plot
from synthsae_jax.suite.quantity import Estimate

_VALUES = tuple(value_at(target, at) for at in SETTINGS for target in TARGETS)
_FITS = tuple(mismatch(at) for at in SETTINGS)
_SHARES = tuple(agreement(half, at) for at in SETTINGS for half in (FIT, JUDGE))
_CHOICE = (*_FITS, *_SHARES)


def in_words(at: At) -> str:
    """A setting as text."""
    arm, model = at
    return f"{arm}; second model: {model}"


def settings(reader: Reader) -> list[At]:
    """The settings that all worlds have, best fit first; the first of equals is the earlier one."""
    estimate = reader.observed.estimate
    worlds = {at: len(estimate(agreement(FIT, at)).by_unit) for at in SETTINGS}
    complete = [at for at in SETTINGS if worlds[at] and worlds[at] == max(worlds.values())]
    return sorted(complete, key=lambda at: estimate(mismatch(at)).value)


def _estimate(reader: Reader, target: Target, at: At) -> Estimate:
    return reader.observed.estimate(value_at(target, at))


def _means(reader: Reader, target: Target, fits: Sequence[At]) -> dict[At, float]:
    """The number's mean over worlds by setting; NaN where undefined."""
    return {at: _estimate(reader, target, at).value for at in fits}


def _defined(reader: Reader, target: Target, fits: Sequence[At]) -> list[float]:
    """The means of the settings that have one."""
    return [v for v in _means(reader, target, fits).values() if not math.isnan(v)]


def _reached(reader: Reader, target: Target, fits: Sequence[At]) -> int:
    """At how many settings the mean over worlds agrees with a published number."""
    return sum(map(target.agrees, _means(reader, target, fits).values()))


def _carried(reader: Reader) -> str:
    fits = settings(reader)
    if not fits:
        return "No setting has been observed yet."
    carried, chance, best = map(reader.observed.estimate, (CARRIED, UNFITTED, NEAREST))
    than = "more than" if carried.value > chance.value else "no more than"
    return (
        f"Half of the {len(TARGETS)} published numbers choose a setting, the other half judges it: "
        f"the choice gives {carried} of these, {than} a setting at random ({chance}), and the best "
        f"in hindsight gives {best:alone}. Nearest to the first half is “{in_words(fits[0])}”."
    )


def _beyond(reader: Reader) -> str:
    fits = settings(reader)
    lost = sum(not _reached(reader, target, fits) for target in TARGETS)
    return f"{lost} of the {len(TARGETS)} are reached by no setting." if fits else ""


def _figure(reader: Reader) -> Plot | None:
    fits = settings(reader)
    if not fits:
        return None
    records: list[Mapping[str, Any]] = []
    for target in sorted(TARGETS, key=lambda t: t.half != FIT):
        estimate = _estimate(reader, target, fits[0])
        record = {
            "half": target.half,
            "number": target.name,
            "lo_published": target.lo,
            "hi_published": target.hi,
            "tolerance": target.tolerance,
            "others": _defined(reader, target, fits),
        }
        records.append(estimate.record(**record) if estimate.known else record)
    names = {FIT: "fitted on these", JUDGE: "judged by these"}
    return published_plot(records, reader.width, names=names)


def _settings(reader: Reader) -> tables.Table | None:
    lines = {
        in_words(at): list(
            map(
                reader.observed.estimate,
                (mismatch(at), agreement(FIT, at), agreement(JUDGE, at)),
            )
        )
        for at in settings(reader)
    }
    heads = ("mismatch, fitted half", "agree, fitted half", "agree, judged half")
    return table_of("worlds and training", heads, lines, "Settings, best fit first")


def _numbers(reader: Reader) -> tables.Table | None:
    fits = settings(reader)
    if not fits:
        return None
    lines: dict[str, Sequence[Any]] = {}
    for target in TARGETS:
        known = _defined(reader, target, fits)
        lines[target.name] = [
            target.published,
            target.source,
            target.half,
            _estimate(reader, target, fits[0]),
            f"{min(known):z.2f} to {max(known):z.2f}" if known else "undefined",
            f"{_reached(reader, target, fits)} of {len(fits)}",
        ]
    heads = ("published", "source", "half", "nearest setting", "all settings", "agree")
    return table_of("number", heads, lines)


def _unreached(reader: Reader) -> tables.Table | None:
    lines: dict[str, Sequence[Any]] = {}
    fits = settings(reader)
    for target in TARGETS:
        means = _means(reader, target, fits)
        if not fits or any(map(target.agrees, means.values())):
            continue
        at = min(means, key=lambda at, t=target, of=means: t.outside(of[at]))
        lines[target.name] = [target.published, _estimate(reader, target, at), in_words(at)]
    return table_of("number", ("published", "nearest", "at"), lines, "Reached by no setting")


def _left_out(reader: Reader) -> tables.Table:
    records = [{"published": what, "why": why} for what, why in LEFT_OUT]
    return tables.plain(records, title="Published numbers that no row here answers")


_JUDGED = {arm.name: {"setting": arm.name} for arm in ARMS if arm.verdicts}
_L0 = {
    arm.name: [
        l0(sae).at(setting=arm.name) if arm.verdicts or sae in (TOPK, *ASKED) else None
        for sae in ARCHITECTURES
    ]
    for arm in ARMS
}
NAMES = {
    "topk": "TopK",
    "batchtopk": "BatchTopK",
    "matryoshka": "Matryoshka",
    "matching_pursuit": "matching pursuit",
    "standard": "L1",
}
PAGE = Page(
    title="Published numbers beside synthetic worlds",
    asked="Do small synthetic worlds give the numbers published of SAEs on language models, and at "
    "which settings?",
    findings=(
        Telling((CARRIED, UNFITTED, NEAREST, *_CHOICE), _carried),
        Telling((*_CHOICE, *_VALUES), _beyond),
        Finding(
            "At the setting nearest to SynthSAEBench-16k, and by its verdicts, Matryoshka is ahead "
            "in F1 and behind in explained variance by {matryoshka:.3 alone} or more, matching "
            "pursuit ahead in explained variance and behind in F1 by {pursuit:.3 alone} or more "
            "(below 0 where it is not), and supervised probes are ahead of those on few latents by "
            "{probes:.3 alone}.",
            matryoshka=MATRYOSHKA_ORDER.at(setting=AS_PUBLISHED),
            pursuit=PURSUIT_ORDER.at(setting=AS_PUBLISHED),
            probes=PROBES_BELOW.at(setting=AS_PUBLISHED),
        ),
    ),
    not_shown="It does not show that language models are like the setting that fits: several "
    "papers on different models are asked at once, and some numbers follow from others.",
    sections=(
        Section(
            "Published beside simulated",
            "Each row is a published number. Grey: what was printed; a level (black stroke) agrees "
            "within .1, a sign, a bound or a range agrees as it stands. Rings: the mean over "
            "worlds at each setting. Dot: the setting that fits the left panel best. Only the left "
            "panel had a say in that choice; the right one judges it. Odd places of the list were "
            "for fitting and even ones for judging before any world was drawn.",
            Figure(
                "published",
                (*_CHOICE, *_VALUES),
                _figure,
                f"Published numbers; the dot is the setting named above. {marks.READING}",
            ),
        ),
        Section(
            "Settings",
            "Mismatch is the mean distance from what was published, in units of .1, at most 3 for "
            "one number. The choice is made by the mismatch of the fitted half alone; verdicts "
            "choose for each world on the other worlds. What the second model shares belongs to "
            "the setting, since nobody knows it of language models.",
            Own(_CHOICE, _settings),
        ),
        Section(
            "The numbers",
            "The same numbers in print, at the nearest setting and over all settings, with how "
            "many of the settings agree.",
            Own((*_CHOICE, *_VALUES), _numbers),
        ),
        Section(
            "Architectures",
            "Three verdicts of SynthSAEBench-16k by name, at the settings that train all "
            "architectures. Both parts of a verdict have to be above 0. That benchmark has 16,384 "
            "features and 200 million training samples; these worlds are small, and the setting "
            "with scaled children and the whole training is the nearest to it. An SAE whose L0 "
            "misses its target by more than a factor of 2 is no comparison: its other numbers are "
            "undefined.",
            Grid(
                "setting",
                _JUDGED,
                [
                    MATRYOSHKA_LEADS,
                    MATRYOSHKA_LAGS,
                    PURSUIT_LEADS,
                    PURSUIT_LAGS,
                    PROBES_BELOW.called("supervised less sparse probes"),
                ],
                digits=3,
            ),
            Listing("setting", [NAMES[sae] for sae in ARCHITECTURES], _L0, "L0 of the SAEs"),
        ),
        Section(
            "Beyond reach",
            "Published numbers with which the mean over worlds agrees at no setting, and those "
            "that were not asked.",
            Own((*_CHOICE, *_VALUES), _unreached),
            Own((), _left_out),
        ),
    ),
    limits="- Small worlds, a few hundred features, short trainings: what no setting reaches here "
    "may be reached by larger ones.\n"
    "- The numbers come from several papers, which used different models, sites, widths and k: no "
    "single setting need give all of them, and agreement by a setting is no proof that language "
    "models are like it.\n"
    "- The dip test of the source is replaced by the depth of the valley between two modes, its "
    "concept filter by a stop-list of the most frequent 1 % of the features, and SVCCA and RSA are "
    "of all pairs that correlate above .1.\n"
    "- The half for judging contains numbers that are kin to fitted ones (both assignments agree, "
    "cycles close): it is not independent evidence.",
    names=NAMES,
)
