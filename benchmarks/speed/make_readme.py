"""Write the tables of benchmarks/speed/README.md from benchmarks/results/speed-*.json."""

from __future__ import annotations

import argparse
import importlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import command

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
README = HERE / "README.md"
BEGIN, END = "<!-- tables:begin -->\n", "<!-- tables:end -->"
_ORDER = ("sampling", "training", "parts", "evaluation", "matching", "scaling", "startup")
# what a reader of the file needs; everything else stands in the JSON
_LEFT_OUT = {"compile_seconds", "least_seconds", "mean_norm", "peak_bytes_so_far", "overflowed"}


def main(words: Sequence[str] | None = None) -> None:
    """Fill the region between the markers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--readme", type=Path, default=README)
    given = parser.parse_args(words)
    text = given.readme.read_text(encoding="utf-8")
    pattern = f"{re.escape(BEGIN)}.*?{re.escape(END)}"
    filled = re.sub(pattern, lambda _: BEGIN + tables(given.results) + END, text, flags=re.DOTALL)
    given.readme.write_text(filled, encoding="utf-8")


def tables(folder: Path) -> str:
    """All results as Markdown: one section per device and commit, one table per benchmark."""
    found = [
        (file.name, json.loads(file.read_text(encoding="utf-8")))
        for file in sorted(folder.glob("speed-*.json"))
    ]
    if not found:
        return "\nNothing has been measured yet: `python benchmarks/speed/run_all.py`.\n\n"
    found.sort(key=lambda named: (named[1]["device"], _ORDER.index(named[1]["benchmark"])))
    parts, device = [], None
    for name, content in found:
        if content["device"] != device:
            device = content["device"]
            parts.append(f"\n### {device}\n")
        parts.append(table(name, content))
    return "\n".join(parts) + "\n"


def table(name: str, content: dict[str, Any]) -> str:
    """One benchmark: what it ran on, its main numbers, and its rows."""
    columns = importlib.import_module(f"bench_{content['benchmark']}").COLUMNS
    columns = [c for c in command.present(content["rows"], columns) if c not in _LEFT_OUT]
    lines = [f"\n**{content['benchmark']}** ({name}; {origin(content)})\n"]
    lines.append("| " + " | ".join(c.replace("_", " ") for c in columns) + " |")
    lines.append("|---" * len(columns) + "|")
    for row in content["rows"]:
        cells = (command.shown(row.get(c), c) for c in columns)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def origin(content: dict[str, Any]) -> str:
    """Preset, commit, versions, and the peer's threads."""
    commit = (content["commit"] or "unknown")[:7] + (" with changes" if content["dirty"] else "")
    words = [content["options"]["preset"], f"commit {commit}", f"jax {content['versions']['jax']}"]
    peers = content.get("peer", {})
    # one peer, or one per architecture
    for peer in [peers] if "versions" in peers else peers.values():
        tried = " and ".join(map(str, peer["threads_tried"]))
        words.append(
            f"SAELens {peer['versions']['sae-lens']} with {command.threads_of(peer['threads'])}, "
            f"the faster of {tried}"
        )
    return ", ".join(words)


if __name__ == "__main__":
    main()
