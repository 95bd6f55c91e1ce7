"""The page of realism: published numbers, what worlds give, and at which settings they agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from synthsae_jax.experiments.realism import choice, claims
from synthsae_jax.experiments.realism.choice import Setting, Simulated
from synthsae_jax.experiments.realism.targets import FIT, JUDGE, LEFT_OUT, TARGETS, Target
from synthsae_jax.io.rows import Row
from synthsae_jax.report import marks, page, tables
from synthsae_jax.report.experiment_page import (
    how_sure,
    lead,
    over_worlds,
    verdict_section,
    with_interval,
)
from synthsae_jax.report.folder_page import Contents, pages
from synthsae_jax.report.published import published_plot
from synthsae_jax.suite.study import by_world

READ_FIGURE = (
    "Each row is a published number. Grey: what was printed; a level (black stroke) agrees within "
    ".1, a sign, a bound or a range agrees as it stands. Rings: the mean over worlds at each "
    "setting. Dot: the setting that fits the left panel best. Only the left panel had a say in "
    "that choice; the right one judges it. Odd places of the list were for fitting and even ones "
    "for judging before any world was drawn."
)
READ_SETTINGS = (
    "Mismatch is the mean distance from what was published, in units of .1, at most 3 for one "
    "number. The choice is made by the mismatch of the fitted half alone; verdicts choose for each "
    "world on the other worlds. What the second model shares belongs to the setting, since nobody "
    "knows it of language models."
)
READ_TABLE = (
    "The same numbers in print, at the chosen setting and over all settings, with how many of the "
    "settings agree."
)
READ_ORDER = (
    "Three verdicts of SynthSAEBench-16k by name, at the settings that train all architectures. "
    "Both parts of a verdict have to be above 0. That benchmark has 16,384 features and 200 "
    "million training samples; these worlds are small, and the setting with scaled children and "
    "the whole training is the nearest to it."
)
READ_BEYOND = "Published numbers with which the mean over worlds agrees at no setting."
READ_LEFT = "Published numbers that no row here answers."
LIMITS = (
    "- Small worlds, a few hundred features, short trainings: what no setting reaches here may be "
    "reached by larger ones.\n"
    "- The numbers come from several papers, which used different models, sites, widths and k: no "
    "single setting need give all of them, and agreement by a setting is no proof that language "
    "models are like it.\n"
    "- The dip test of the source is replaced by the depth of the valley between two modes, its "
    "concept filter by a stop-list of the most frequent 1 % of the features, and SVCCA and RSA are "
    "of all pairs that correlate above .1.\n"
    "- The half for judging contains numbers that are kin to fitted ones (both assignments agree, "
    "cycles close): it is not independent evidence."
)


@pages.register("realism")
def realism(rows: Sequence[Row], width: str) -> Contents:
    """The figure, settings, the numbers in print, architectures, what is beyond reach, verdicts."""
    found = choice.simulated(rows)
    chosen = choice.fitted(found)
    sections = [
        page.Section("Published beside simulated", READ_FIGURE, (), _figure(found, chosen, width)),
        page.Section("Settings", READ_SETTINGS, (_settings(found),)),
        page.Section("The numbers", READ_TABLE, (_numbers(found, chosen),)),
        page.Section("Architectures", READ_ORDER, (_orders(rows),)),
        page.Section("Beyond reach", READ_BEYOND, (_beyond(found), _left_out())),
        verdict_section(rows),
    ]
    text = lead(
        "Do small synthetic worlds give the numbers published of SAEs on language models, and at "
        "which settings?",
        [_found(rows, found, chosen), _verdicts(rows, found)],
        how_sure(rows),
        "It does not show that language models are like the setting that fits: several papers on "
        "different models are asked at once, and some numbers follow from others.",
    )
    return Contents("Published numbers beside synthetic worlds", sections, text, LIMITS)


def said(setting: Setting) -> str:
    """A setting in words."""
    arm, model = setting
    return f"{arm}; second model: {model}"


def _at(found: Mapping[int, Simulated], setting: Setting, target: Target) -> dict[int, float]:
    return {world: of[setting][target.name] for world, of in found.items()}


def _figure(found: Mapping[int, Simulated], chosen: Setting, width: str):
    records = []
    for target in TARGETS:
        record: dict[str, Any] = {
            "half": target.half,
            "number": target.name,
            "lo_published": target.lo,
            "hi_published": target.hi,
            "tolerance": target.tolerance,
            "others": [choice.average(found, s, target) for s in choice.settings_of(found)],
        }
        shown = over_worlds(_at(found, chosen, target))
        records.append({**record, **(shown[0] if shown else {})})
    records.sort(key=lambda r: r["half"] != FIT)
    names = {FIT: "fitted on these", JUDGE: "judged by these"}
    text = f"Dot: {said(chosen)}. {marks.READING}"
    return (page.Captioned(published_plot(records, width, names=names), text, "published"),)


def _settings(found: Mapping[int, Simulated]) -> tables.Table:
    records = []
    settings = choice.settings_of(found)
    for setting in sorted(settings, key=lambda s: choice.mismatch(found, s)):
        shares = {
            half: {w: choice.share(of, setting, half) for w, of in found.items()}
            for half in (FIT, JUDGE)
        }
        records.append(
            {
                "worlds and training": setting[0],
                "second model": setting[1],
                "mismatch, fitted half": choice.mismatch(found, setting),
                "agree, fitted half": with_interval(shares[FIT]),
                "agree, judged half": with_interval(shares[JUDGE]),
            }
        )
    return tables.plain(records, title="Settings, best fit first", digits=2)


def _numbers(found: Mapping[int, Simulated], chosen: Setting) -> tables.Table:
    settings = choice.settings_of(found)
    records = []
    for target in TARGETS:
        values = [choice.average(found, s, target) for s in settings]
        known = [v for v in values if not math.isnan(v)]
        reached = choice.reached_by(found, target)
        records.append(
            {
                "number": target.name,
                "published": target.published,
                "source": target.source,
                "half": target.half,
                "chosen setting": with_interval(_at(found, chosen, target)) or "undefined",
                "all settings": f"{min(known):.2f} to {max(known):.2f}" if known else "undefined",
                "agree": f"{len(reached)} of {len(settings)}",
            }
        )
    return tables.plain(records)


def _orders(rows: Sequence[Row]) -> tables.Table:
    records = []
    part = lambda parts, i, arm: by_world(lambda found: parts(found, arm)[i])(rows)
    for arm in dict.fromkeys(row["factor_setting"] for row in rows):
        below = by_world(lambda found, arm=arm: claims.probes_below(found, arm))(rows)
        shown = {
            "Matryoshka: lead in F1": part(claims.matryoshka_parts, 0, arm),
            "its lag in EV": part(claims.matryoshka_parts, 1, arm),
            "pursuit: lead in EV": part(claims.pursuit_parts, 0, arm),
            "its lag in F1": part(claims.pursuit_parts, 1, arm),
            "supervised less sparse probes": below,
        }
        texts = {k: with_interval(v, 3) for k, v in shown.items()}
        # most settings train only what their numbers need
        if any(texts.values()):
            records.append({"setting": arm, **texts})
    return tables.plain(records)


def _beyond(found: Mapping[int, Simulated]) -> tables.Table:
    settings = choice.settings_of(found)
    records = []
    for target in choice.unreached(found):
        by_distance = lambda s, t=target: t.distance(choice.average(found, s, t))
        nearest = min(settings, key=by_distance)
        records.append(
            {
                "number": target.name,
                "published": target.published,
                "nearest": with_interval(_at(found, nearest, target)) or "undefined",
                "at": said(nearest),
            }
        )
    records = records or [{"number": "none", "published": "", "nearest": "", "at": ""}]
    return tables.plain(records, title="Reached by no setting")


def _left_out() -> tables.Table:
    records = [{"published": what, "why": why} for what, why in LEFT_OUT]
    return tables.plain(records, title=READ_LEFT)


def _found(rows: Sequence[Row], found: Mapping[int, Simulated], chosen: Setting) -> str:
    best = {w: choice.nearest_share(of) for w, of in found.items()}
    return (
        f"Fitted on {len(choice.of_half(FIT))} published numbers, the nearest setting is "
        f"“{said(chosen)}”; chosen on other worlds, settings agree with "
        f"{with_interval(claims.carried(rows))} of the {len(choice.of_half(JUDGE))} numbers held "
        f"back, a setting at random with {with_interval(claims.unfitted(rows))} (chance), the best "
        f"in hindsight with {with_interval(best)} (ceiling)."
    )


def _verdicts(rows: Sequence[Row], found: Mapping[int, Simulated]) -> str:
    arm = claims.AS_PUBLISHED
    weaker = lambda parts: with_interval(
        by_world(lambda rows: claims.weaker(parts(rows, arm)))(rows), 3
    )
    probes = with_interval(by_world(lambda rows: claims.probes_below(rows, arm))(rows), 3)
    lost = choice.unreached(found)
    return (
        f"{len(lost)} of {len(TARGETS)} are reached by no setting, and the three verdicts of "
        f"SynthSAEBench-16k, weaker part each, come to {weaker(claims.matryoshka_parts) or 'none'} "
        f"(Matryoshka best in F1, worst in EV), {weaker(claims.pursuit_parts) or 'none'} (matching "
        f"pursuit best in EV, worst in F1) and {probes or 'none'} (supervised above sparse probes)."
    )
