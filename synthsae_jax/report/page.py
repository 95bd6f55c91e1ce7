"""One self-contained HTML page: text, tables and figures inline, nothing fetched, no script."""

from __future__ import annotations

import base64
import dataclasses
import html
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synthsae_jax.io import atomic
from synthsae_jax.io.names import file_name
from synthsae_jax.report import page_style, tables
from synthsae_jax.report.canvas import Plot, to_svg

PILOT_SCALES = ("smoke", "small")
PILOT = (
    "PILOT: a {scale} run shows that things work and where to look. "
    "Its numbers are not to be cited and enter no leaderboard."
)
_SHOWN_ROWS = 60  # numbers printed under a figure; the download has all


@dataclasses.dataclass(frozen=True)
class Captioned:
    """A figure with its caption and the name of its file of numbers."""

    plot: Plot
    caption: str = ""
    name: str = "figure"


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page: heading, text, tables, figures, in this order.

    Blank lines in `text` divide paragraphs, lines starting with "- " are a list.
    """

    title: str
    text: str = ""
    tables: Sequence[tables.Table] = ()
    figures: Sequence[Captioned | Plot] = ()


def write_page(
    path: str | os.PathLike[str],
    title: str,
    sections: Sequence[Section],
    manifest: Mapping[str, Any] | None = None,
    notes: str = "",
    lead: str = "",
) -> Path:
    """Write the page; returns its path. The arguments are those of `render`."""
    return atomic.write_text(path, render(title, sections, manifest, notes, lead))


def render(
    title: str,
    sections: Sequence[Section],
    manifest: Mapping[str, Any] | None = None,
    notes: str = "",
    lead: str = "",
) -> str:
    """The page as text: title, lead, what was run, the sections, limits, the whole manifest.

    Everything given is escaped. `notes` are the limits of what the page shows; a manifest of a
    pilot scale or of an interrupted run puts a banner on top by itself.
    """
    parts = [f"<h1>{html.escape(title)}</h1>"]
    if lead:
        parts.append(f'<div class="lead">{_prose(lead)}</div>')
    if manifest:
        parts += [*_banners(manifest), _what_was_run(manifest)]
    parts += [_section(section, i) for i, section in enumerate(sections, start=1)]
    if notes:
        parts.append(f"<section><h2>Limits</h2>{_prose(notes)}</section>")
    if manifest:
        parts.append(_whole_manifest(manifest))
    body = "\n".join(parts)
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title>"
        f"<style>{page_style.CSS}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def _section(section: Section, number: int) -> str:
    parts = [f"<h2>{html.escape(section.title)}</h2>", _prose(section.text)]
    parts += [f'<div class="wide">{tables.to_html(table)}</div>' for table in section.tables]
    parts += [_figure(figure, f"{number}.{i}") for i, figure in enumerate(section.figures, 1)]
    return "<section>" + "\n".join(part for part in parts if part) + "</section>"


def _figure(figure: Captioned | Plot, number: str) -> str:
    shown = figure if isinstance(figure, Captioned) else Captioned(figure)
    caption = f"<b>Figure {number}.</b> {html.escape(shown.caption or shown.plot.alt)}"
    csv = shown.plot.data.to_csv()
    link = base64.b64encode(csv.encode("utf-8")).decode("ascii")
    rows = shown.plot.data.rows
    numbers = tables.to_html(tables.plain(rows[:_SHOWN_ROWS]))
    more = f"<p class='note'>The first {_SHOWN_ROWS} of {len(rows)} rows.</p>"
    return (
        f'<figure><div class="wide">{to_svg(shown.plot)}</div>'
        f"<figcaption>{caption}</figcaption>"
        "<details><summary>The numbers in this figure</summary>"
        f'<p><a download="{file_name(shown.name)}.csv" href="data:text/csv;base64,{link}">'
        f'Save as CSV</a></p><div class="wide">{numbers}</div>'
        f"{more if len(rows) > _SHOWN_ROWS else ''}</details></figure>"
    )


def _banners(manifest: Mapping[str, Any]) -> list[str]:
    texts = []
    if manifest.get("scale") in PILOT_SCALES:
        texts.append(PILOT.format(scale=manifest["scale"]))
    if manifest.get("state", "completed") != "completed":
        texts.append("INCOMPLETE: the run did not finish; this page shows what there is.")
    return [f'<p class="banner">{html.escape(text)}</p>' for text in texts]


def _what_was_run(manifest: Mapping[str, Any]) -> str:
    machine, versions = manifest.get("machine", {}), manifest.get("versions", {})
    device = machine.get("device")
    if device and machine.get("device_count", 1) > 1:
        device = f"{machine['device_count']} x {device}"
    facts = {
        "benchmark": manifest.get("benchmark"),
        "scale": manifest.get("scale"),
        "spec": str(manifest.get("spec_hash") or "")[:12],
        "device": device,
        "jax": versions.get("jax"),
        "synthsae_jax": versions.get("synthsae_jax"),
        "commit": _commit(manifest),
        "finished": manifest.get("finished_at"),
    }
    items = [
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(str(fact))}</dd></div>"
        for name, fact in facts.items()
        if fact
    ]
    return f'<dl class="facts">{"".join(items)}</dl>'


def _commit(manifest: Mapping[str, Any]) -> str:
    commit = str(manifest.get("commit") or "")[:12]
    return f"{commit} with changes" if commit and manifest.get("dirty") else commit


def _whole_manifest(manifest: Mapping[str, Any]) -> str:
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    return (
        "<section><h2>Manifest</h2><details><summary>Everything that made this folder</summary>"
        f"<pre>{html.escape(text)}</pre></details></section>"
    )


def _prose(text: str) -> str:
    """Paragraphs and lists of plain text as HTML."""
    parts = []
    # a percent sign stays with its number
    for block in text.strip().replace(" %", "\u00a0%").split("\n\n"):
        lines = [line.strip() for line in block.strip().splitlines()]
        items = [line[2:] for line in lines if line.startswith("- ")]
        before = " ".join(line for line in lines if not line.startswith("- "))
        if before:
            parts.append(f"<p>{html.escape(before)}</p>")
        if items:
            listed = "".join(f"<li>{html.escape(item)}</li>" for item in items)
            parts.append(f"<ul>{listed}</ul>")
    return "".join(parts)
