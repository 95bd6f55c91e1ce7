"""The page of architectures: what pairs find together, encoders, and whether order holds."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from synthsae_jax.experiments.architectures.claims import (
    CORRELATION,
    pair_values,
)
from synthsae_jax.experiments.architectures.matrix import OTHER, SAME
from synthsae_jax.experiments.architectures.numbers import MATCHED
from synthsae_jax.io.rows import Row
from synthsae_jax.report import dots, marks, matrix, page, tables
from synthsae_jax.report.architectures_ranking import (
    NAMES,
    RANKED,
    by_world,
    order_records,
    ranking_sections,
)
from synthsae_jax.report.experiment_page import how_sure, lead, verdict_section
from synthsae_jax.report.folder_page import Contents, pages
from synthsae_jax.stats import mean_interval
from synthsae_jax.suite.study import mean, select, values

# title, variant, metric, condition, digits
MATRICES = (
    ("co_recovery, one model", "truth", "co_recovery", SAME),
    ("co_recovery, independent models", "truth", "co_recovery", OTHER),
    ("true universality, one model", "truth", "true_universality", SAME),
    ("declared shared by r > .1, one model", CORRELATION, "declared", SAME),
    ("declared by decoder cosine > .7, one model", "decoder_cosine_0.7_raw", "declared", SAME),
    ("precision of r > .1, one model", CORRELATION, "precision", SAME),
    ("support Jaccard of matched latents, one model", MATCHED, "support_jaccard", SAME),
)
LIMITS = (
    "- Small worlds; the matrix on one without trees, the ranking on one with trees.\n"
    "- Equal width and L0 at one point each; penalties are steered to the L0.\n"
    "- Pairs read one SAE of each side: what a second pair would differ by shows in the diagonal."
)


@pages.register("architectures")
def architectures(rows: Sequence[Row], width: str) -> Contents:
    """Matrices, table of architectures, order over settings, verdicts."""
    order, merges = clusters(rows)
    sections = [
        page.Section("Which features pairs find together", READ_MATRIX, (), _matrices(rows, order)),
        page.Section("Architectures by the features they find", READ_TREE, (merges,)),
        page.Section("Each architecture", READ_TABLE, (_table(rows),), _dots(rows, width)),
        *ranking_sections(rows, width),
        verdict_section(rows),
    ]
    text = lead(
        "Do SAEs of different architectures find the same features?",
        [_found(rows), _order(rows)],
        how_sure(rows),
        "It does not show that they would on a language model, whose features are not known.",
    )
    return Contents("Do architectures find the same features?", sections, text, LIMITS)


READ_MATRIX = (
    "co_recovery is 1 where the features found by the one are among those of the other as far as "
    "numbers allow, and 0 where they agree no more than independent finds would; on the diagonal "
    "are two SAEs of one architecture, which is the ceiling to compare with. No two share a seed. "
    "True universality is the share of living latents with a partner that tracks the same feature. "
    "Declared is what a rule calls shared: cosines see nothing where directions are independent."
)
READ_TREE = (
    "Average linkage of 1 - Jaccard of the features found (one model). Like pairs stand at what "
    "two runs of one architecture differ by: merges below that are no difference at all."
)
READ_TABLE = (
    "Scores by the inference rule. k = 1 and k = 5: mean F1 of probes on that many latents. Then "
    "the dictionary under other encoders: F1 of a trained linear one and of a pursuit, how alike "
    "the active latents of each token are (support), and the share of features that latents keep."
)


def _found(rows: Sequence[Row]) -> str:
    same = pair_values(rows, "truth", "co_recovery", SAME)
    like = [v for (a, b), v in same.items() if a == b]
    unlike = [v for (a, b), v in same.items() if a != b]
    if not like or not unlike:
        return "Too few pairs were scored to say."
    least, most = (
        mean(rows, variant="truth", metric=f"co_recovery_{e}", condition=SAME)
        for e in ("least", "most")
    )
    return (
        f"Beyond what recovery predicts, unlike architectures share {np.mean(unlike):.2f} of what "
        f"they could, two SAEs of one architecture {np.mean(like):.2f} (over what may be called "
        f"truth all pairs range from {least:.2f} to {most:.2f})."
    )


def _order(rows: Sequence[Row]) -> str:
    kept = [record["share"] for record in order_records(rows) if record["metric"] == "f1"]
    if not kept:
        return "Whether their order holds elsewhere was not asked."
    return (
        f"Over settings and worlds, pairs of architectures keep their order in F1 in "
        f"{100 * np.mean(kept):.0f} % of cases, the least steady pair in {100 * min(kept):.0f} %."
    )


def clusters(rows: Sequence[Row]) -> tuple[list[str], tables.Table]:
    """Architectures in order of a tree by features found, and its merges from the first on."""
    found = pair_values(rows, "truth", "features_jaccard", SAME)
    names = list(dict.fromkeys(name for pair in found for name in pair))
    if len(names) < 2:
        return names, tables.plain([])
    far = np.zeros((len(names), len(names)))
    for (a, b), value in found.items():
        i, j = names.index(a), names.index(b)
        far[i, j] = far[j, i] = 0.0 if i == j else 1 - value
    tree = hierarchy.linkage(squareform(far, checks=False), "average")
    members = [[name] for name in names]
    records = []
    for i, j, height, _ in tree:
        one, other = members[int(i)], members[int(j)]
        own = [1 - found[n, n] for n in (*one, *other) if (n, n) in found]
        records.append(
            {
                "merge": f"{_names(one)} with {_names(other)}",
                "1 - Jaccard": round(float(height), 3),
                "two runs of each": round(float(np.mean(own)), 3) if own else None,
            }
        )
        members.append([*one, *other])
    return [names[i] for i in hierarchy.leaves_list(tree)], tables.plain(records)


def _names(names: Sequence[str]) -> str:
    return ", ".join(NAMES.get(name, name) for name in names)


def _matrices(rows: Sequence[Row], order: Sequence[str]) -> tuple[page.Captioned, ...]:
    figures = []
    for title, variant, metric, condition in MATRICES:
        found = pair_values(rows, variant, metric, condition)
        found |= {(b, a): v for (a, b), v in found.items()}
        records = [
            {"one": NAMES.get(a, a), "other": NAMES.get(b, b), "estimate": found.get((a, b))}
            for a in order
            for b in order
        ]
        if found and records:
            plot = matrix.matrix_plot(records, "one", "other", title=title)
            caption = f"{title}: means over worlds."
            figures.append(page.Captioned(plot, caption, f"{metric}-{condition.split()[0]}"))
    return tuple(figures)


def _single(rows: Sequence[Row], name: str, variant: str, metric: str, **more: Any) -> float | None:
    here = [
        r
        for r in select(rows, sae=name, variant=variant, metric=metric, **more)
        if not r.get("factor_setting")
    ]
    value = mean(here)
    return None if math.isnan(value) else round(value, 3)


def _table(rows: Sequence[Row]) -> tables.Table:
    names = dict.fromkeys(r["sae"] for r in select(rows, condition=SAME))
    records = []
    for name in names:
        swapped = {
            f"{metric}, {encoder}": _single(
                rows, name, "swapped", key, condition=f"encoder: {encoder}"
            )
            for metric, key in (
                ("F1", "f1"),
                ("support", "support_jaccard"),
                ("features kept", "tau_kept"),
            )
            for encoder in ("linear", "pursuit")
        }
        records.append(
            {
                "architecture": NAMES.get(name, name),
                **{
                    shown: _single(rows, name, "", metric)
                    for shown, metric in (
                        ("F1", "f1"),
                        ("MCC", "mcc"),
                        ("EV", "explained_variance"),
                        ("L0", "l0"),
                    )
                },
                "k = 1": _single(rows, name, "sparse_probes", "k1"),
                "k = 5": _single(rows, name, "sparse_probes", "k5"),
                **swapped,
            }
        )
    level = lambda variant, metric: _level(rows, variant, metric)
    for said, variant in (
        ("(chance: untrained)", "chance"),
        ("(ceiling: true directions)", "ceiling"),
    ):
        records.append(
            {
                "architecture": said,
                "F1": level(variant, "f1"),
                "MCC": level(variant, "mcc"),
                "EV": level(variant, "explained_variance"),
                "k = 1": level("sparse_probes/chance", "k1") if variant == "chance" else None,
                "k = 5": level("sparse_probes/chance", "k5")
                if variant == "chance"
                else level("sparse_probes/ceiling", "f1"),
            }
        )
    note = "The ceiling of probes is that of supervised ones on the whole input."
    return tables.plain(records, note=note)


def _level(rows: Sequence[Row], variant: str, metric: str) -> float | None:
    found = values(rows, variant=variant, metric=metric)
    return round(sum(found) / len(found), 3) if found else None


def _record(found: Sequence[float], **more: Any) -> dict[str, Any]:
    interval = mean_interval(found)
    ends = {"lo": interval.lo, "hi": interval.hi, "points": interval.points}
    return {**more, "estimate": interval.estimate, **ends}


def _dots(rows: Sequence[Row], width: str) -> tuple[page.Captioned, ...]:
    names = dict.fromkeys(r["sae"] for r in select(rows, condition=SAME))
    plain = [r for r in rows if not r.get("factor_setting")]
    records = [
        {
            **_record(
                by_world(plain, functools.partial(mean, sae=name, variant="", metric=metric)),
                sae=name,
                metric=metric,
            ),
            "chance": _level(rows, "chance", metric),
            "ceiling": _level(rows, "ceiling", metric),
        }
        for metric in RANKED
        for name in names
    ]
    records = [r for r in records if not math.isnan(r["estimate"])]
    if not records:
        return ()
    plot = dots.dot_plot(records, "sae", width=width, names=NAMES)
    return (
        page.Captioned(plot, f"At equal width and L0, one world each. {marks.READING}", "scores"),
    )
