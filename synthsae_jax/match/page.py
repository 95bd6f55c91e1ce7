"""The page of a record of `match_saes`: how credible the pairs are, and what protocols say."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synthsae_jax.match import figures as match_figures
from synthsae_jax.report import page, tables

MOST_FIGURES = 6
READING = (
    "A credence is the probability that a latent's best partner is the same feature, by a matcher "
    "calibrated on synthetic worlds in which this is known; it carries over as far as the SAEs at "
    "hand are like those. A pair without one lies outside of what was calibrated, or neither of "
    "its latents is the other's best: its score alone says little, since the best of many "
    "unrelated latents scores above 0."
)
PROTOCOLS = (
    "Each protocol's own number stands beside the mean of its null, which is what it says of SAEs "
    "with nothing in common, and p = (1 + draws that reach it) / (1 + draws). A number near its "
    "null says nothing, however large."
)
LIMITS = (
    "- A matching is one to one. A feature that one SAE splits among several latents is matched "
    "with one of them.\n"
    "- Agreement of two SAEs is no proof of a feature: both may have the same artefact.\n"
    "- Correlations need paired tokens, and enough of them: rare latents match by chance."
)


def write_match_page(path: str | os.PathLike[str], record: Mapping[str, Any]) -> Path:
    """Write the page of a record (as of `match_saes`, or read from its JSON)."""
    return page.write_page(path, **match_contents(record))


def match_contents(record: Mapping[str, Any]) -> dict[str, Any]:
    """What `page.write_page` takes: title, sections, lead, notes."""
    about = record["provenance"]
    saes = about["saes"]
    names = [sae["name"] for sae in saes]
    tokens = about["tokens"]
    on = "from weights alone" if tokens is None else f"on {tokens:,} paired tokens"
    sections = [page.Section("Which SAEs", _provenance(about), (tables.plain(_saes(record)),))]
    if record["many"] is not None:
        sections.append(_many(record["many"], names))
    for i, pair in enumerate(record["pairs"]):
        sections.append(_pair(pair, names, record["latents"], i < MOST_FIGURES))
    return {
        "title": f"{len(saes)} SAEs matched",
        "sections": sections,
        "lead": f"{', '.join(names[:-1])} and {names[-1]}, {on}.\n\n{READING}",
        "notes": LIMITS,
    }


def _provenance(about: Mapping[str, Any]) -> str:
    version = about["versions"]
    options = about["options"]
    settings = ", ".join(
        f"{name.replace('_', ' ')} {options[name]}" for name in ("mode", "prior", "draws", "seed")
    )
    return (
        f"synthsae_jax {version['synthsae_jax']}, jax {version['jax']}; {settings}; calibrated "
        f"matcher {about['credence_model']['version'] or 'none'}."
    )


def _saes(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for sae, latents in zip(record["provenance"]["saes"], record["latents"], strict=True):
        alive = latents["alive"]
        returns = [v for v in latents["universality"]["reappearance"] if v is not None]
        rows.append(
            {
                "SAE": sae["name"],
                "architecture": sae["architecture"],
                "d_in": sae["d_in"],
                "latents": sae["d_sae"],
                "alive": None if alive is None else sum(alive),
                "expected reappearance": sum(returns) / len(returns) if returns else None,
                "sha256": next(iter(reversed(sae["sha256"].values())))[:12],
            }
        )
    return rows


def _many(many: Mapping[str, Any], names: Sequence[str]) -> page.Section:
    lines = [
        {
            "route": " > ".join(str(names[int(i)]) for i in triple["saes"]),
            "cycles that close": triple["cycle_consistency"],
            "chance": triple["chance"],
            "latents with both routes": int(triple["n_paths"]),
            "of latents with one route": triple["cycle_coverage"],
        }
        for triple in many["cycles"]
    ]
    text = (
        "A latent is followed to its partner in the second SAE, from there to the third, and "
        "compared with its own partner there. It needs no truth; matchings that are right close."
    )
    return page.Section("Do the matchings agree with each other?", text, (tables.plain(lines),))


def _pair(
    pair: Mapping[str, Any],
    names: Sequence[str],
    latents: Sequence[Mapping[str, Any]],
    drawn: bool,
) -> page.Section:
    a, b = names[pair["a"]], names[pair["b"]]
    n_matched = pair["matched"]
    n_credible, expected = pair["with_credence"], pair["expected_same"]
    text = f"{n_matched} pairs by {pair['score'].replace('_', ' ')}. "
    if n_credible:
        text += f"Of {n_credible} with a credence {expected:.1f} are expected to be one feature. "
    for side, one in (("A", pair["best_of_a"]), ("B", pair["best_of_b"])):
        if one["prior"] is not None:
            text += f"Prior of {side}'s latents: {one['prior']:.2f} ({one['prior_source']}). "
    space = pair["same_space"]
    text += f"One activation space: {'yes' if space['is'] else 'no'}, {space['why']}."
    figures = ()
    records = match_figures.pair_records(pair, latents)
    if drawn and records:
        plot = match_figures.pairs_plot(records, pair["score"])
        caption = (
            "Matched pairs by credence, and their score against the firing rate of the rarer "
            "latent; grey rings have no credence."
        )
        figures = (page.Captioned(plot, caption, f"pairs-{pair['a']}-{pair['b']}"),)
    unknown = any(one["reason"] for one in pair["summary"])
    lines = [_line(one, unknown) for one in pair["summary"]]
    shown = (tables.plain(lines, title="Published protocols", note=PROTOCOLS),) if lines else ()
    without = [{"pairs": n, "no credence because": why} for why, n in pair["no_credence"].items()]
    shown += (tables.plain(without),) if without else ()
    return page.Section(f"{a} and {b}", text, shown, figures)


def _line(one: Mapping[str, Any], unknown: bool) -> dict[str, Any]:
    line = {
        "protocol": one["protocol"],
        "number": one["number"],
        "value": one["value"],
        "under its null": one["null_mean"],
        "p": one["p"],
        "null": one["null"],
    }
    return line | ({"not known because": one["reason"]} if unknown else {})
