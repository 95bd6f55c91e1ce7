"""The page of a design: five sentences on top, sections of blocks, verdicts, limits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from synthsae_jax import verdicts
from synthsae_jax.io.rows import Row
from synthsae_jax.report import page, tables
from synthsae_jax.report.blocks import Block, Finding, Reader, Telling
from synthsae_jax.report.folder_page import Contents
from synthsae_jax.suite.claims import Claim, judge
from synthsae_jax.suite.quantity import Observed, Quantity

VERDICTS = (
    "Each claim, its smallest effect that matters and its margin were fixed before these worlds "
    "were drawn. Supported: the whole interval reaches the smallest effect (for a claim of "
    "equality: lies within the margin). Refuted: the whole interval stays short of the margin (or "
    "reaches the effect). Present, below the bar: the whole interval lies between the two. "
    "Everything else is undecided, as is anything below five worlds or with a sign that depends on "
    "what is called true. Holm's correction acts within a family."
)
CHECKS = (
    "These follow from how the suite is built, and say nothing of SAEs: one that fails is a "
    "mistake of ours."
)


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading, a paragraph, and blocks."""

    title: str
    text: str
    blocks: tuple[Block, ...]

    def __init__(self, title: str, text: str, *blocks: Block):
        object.__setattr__(self, "title", title)
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "blocks", blocks)


@dataclasses.dataclass(frozen=True)
class Page:
    """What the page of an experiment says."""

    title: str
    asked: str  # the question, as the first sentence
    findings: Sequence[Finding | Telling]
    not_shown: str  # the last sentence of the lead
    sections: Sequence[Section]
    limits: str = ""
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def quantities(self) -> list[Quantity]:
        """Everything that it prints."""
        of_findings = [q for finding in self.findings for q in finding.quantities()]
        blocks = [block for section in self.sections for block in section.blocks]
        return [*of_findings, *(q for block in blocks for q in block.quantities())]

    def contents(
        self, rows: Sequence[Row], width: str = "page", claims: Sequence[Claim] = ()
    ) -> Contents:
        """The page from these rows: any balanced part of an experiment's, none included."""
        reader = Reader(Observed(rows), claims, self.names, width)
        judged = judge(claims, rows) if claims else []
        sentences = [finding.say(reader) for finding in self.findings]
        lead = " ".join([self.asked, *sentences, _how_sure(rows, judged), self.not_shown])
        sections = [_drawn(section, reader) for section in self.sections]
        diverged = _diverged(rows)
        if diverged:
            sections.append(diverged)
        claimed = [record for record in judged if record["claim"] != "check"]
        if claimed:
            sections.append(_verdicts(claimed))
        checks = [record for record in judged if record["claim"] == "check"]
        if checks:
            sections.append(_checks(checks))
        return Contents(self.title, sections, lead, self.limits)


def _drawn(section: Section, reader: Reader) -> page.Section:
    parts = [block.draw(reader) for block in section.blocks]
    empty = section.blocks and not any(part.tables or part.figures for part in parts)
    text = f"{section.text}\n\nNothing to show yet: these rows hold none of it."
    return page.Section(
        section.title,
        text if empty else section.text,
        tuple(table for part in parts for table in part.tables),
        tuple(figure for part in parts for figure in part.figures),
    )


def _how_sure(rows: Sequence[Row], judged: Sequence[Mapping[str, Any]]) -> str:
    n = len({row["world_seed"] for row in rows})
    if not n:
        return "No world has been observed yet."
    counts = {v: sum(r["verdict"] == v for r in judged) for v in verdicts.VERDICTS}
    listed = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    worlds = "one world" if n == 1 else f"{n} worlds"
    interval = "with 95 % intervals over worlds" if n >= 5 else "too few for an interval"
    of_claims = f"; of the claims, {listed}" if listed else ""
    return f"This rests on {worlds}, {interval}{of_claims}."


def _diverged(rows: Sequence[Row]) -> page.Section | None:
    lost = {row["run_id"]: row for row in rows if row["status"] == "diverged"}
    if not lost:
        return None
    records = [
        {
            "run": run,
            "architecture": row.get("sae") or "",
            "world": row["world_seed"],
            "learning rate": f"{row['learning_rate']:g}" if row.get("learning_rate") else "",
            "why": row["reason"],
        }
        for run, row in lost.items()
    ]
    text = "These runs have rows without values: they count as observed, and no mean holds them."
    return page.Section("Diverged", text, (tables.plain(records),))


def _verdicts(judged: Sequence[Mapping[str, Any]]) -> page.Section:
    # a column that no claim of the page fills is left out
    about = any(record.get("rung") for record in judged)
    records = [
        {
            "claim": f"{record['hypothesis']}: {record['statement']}",
            "verdict": record["verdict"],
            "estimate": _interval(record),
            "of": record["quantity"],
            **({"rung": _rungs(record)} if about else {}),
            "rests on": _rests(record),
            "matters from": f"{record['smallest_effect']:g}",
            "would change it": record["would_change"],
        }
        for record in judged
    ]
    return page.Section("Verdicts", VERDICTS, (tables.plain(records),))


def _checks(judged: Sequence[Mapping[str, Any]]) -> page.Section:
    records = [
        {
            "check": f"{record['hypothesis']}: {record['statement']}",
            "outcome": record["verdict"],
            "estimate": _interval(record),
            "of": record["quantity"],
            "rests on": _rests(record),
        }
        for record in judged
    ]
    return page.Section("Checks", CHECKS, (tables.plain(records),))


def _rungs(record: Mapping[str, Any]) -> str:
    if not record.get("rung"):
        return "none"
    others = [
        f"{rung} {'undefined' if value is None else f'{value:.3f}'}"
        for rung, value in record["beside"].items()
    ]
    return f"{record['rung']} ({', '.join(others)})" if others else record["rung"]


def _interval(record: Mapping[str, Any]) -> str:
    if record["estimate"] is None:
        return f"undefined: {record.get('reason') or 'no world has a value'}"
    text = f"{record['estimate']:.3f}"
    if record["lo"] is None:
        return text + f" (n = {record['n']})"
    text = f"{text} [{record['lo']:.3f}, {record['hi']:.3f}]"
    if record.get("band"):
        text += f"; {record['band'][0]:.3f} to {record['band'][1]:.3f} over truths"
    return f"{text}; {record['unsettled']}" if record.get("unsettled") else text


def _rests(record: Mapping[str, Any]) -> str:
    worlds = f"{record['n']} world{'' if record['n'] == 1 else 's'}"
    return f"{record['defined']} of {record['observations']} observations, {worlds}"
