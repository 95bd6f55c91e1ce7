"""What the pages of all experiments have in common: five sentences, verdicts, what it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from synthsae_jax.io.rows import Row
from synthsae_jax.report import page, tables
from synthsae_jax.stats import mean_interval
from synthsae_jax.suite.base import benchmarks
from synthsae_jax.suite.claims import judge

VERDICTS = (
    "Each claim, its smallest effect that matters and its margin were fixed before these worlds "
    "were drawn. Supported: the whole interval reaches the smallest effect (for a claim of "
    "equality: lies within the margin). Refuted: the whole interval stays short of the margin (or "
    "reaches the effect). Everything else is undecided, as is anything below five worlds. Holm's "
    "correction acts within a family."
)


def lead(asked: str, found: Sequence[str], sure: str, not_shown: str) -> str:
    """The five sentences on top: what was asked, two of what was found, how sure, what is not."""
    return " ".join((asked, *found, sure, not_shown))


def how_sure(rows: Sequence[Row]) -> str:
    """One sentence from the data: how many worlds, and what the verdicts came to."""
    n = len({row["world_seed"] for row in rows})
    counts: dict[str, int] = {}
    for record in verdicts(rows):
        counts[record["verdict"]] = counts.get(record["verdict"], 0) + 1
    said = ", ".join(
        f"{counts[v]} {v}" for v in ("supported", "refuted", "undecided") if v in counts
    )
    worlds = "one world" if n == 1 else f"{n} worlds"
    interval = "with 95 % intervals over worlds" if n >= 5 else "too few for an interval"
    return f"This rests on {worlds}, {interval}; of the claims, {said}."


def verdicts(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The claims of the rows' benchmark, judged from them."""
    return judge(benchmarks[rows[0]["benchmark"]].claims, rows)


def verdict_section(rows: Sequence[Row]) -> page.Section:
    """The table of verdicts."""
    records = [_shown(record) for record in verdicts(rows)]
    return page.Section("Verdicts", VERDICTS, (tables.plain(records),))


def with_interval(by_world: Mapping[Any, float], digits: int = 2) -> str:
    """A mean over worlds with its interval, in print; empty where undefined."""
    found = mean_interval(list(by_world.values()))
    if not found.n:
        return ""
    if found.lo is None or found.hi is None:
        return f"{found.estimate:.{digits}f}"
    return f"{found.estimate:.{digits}f} [{found.lo:.{digits}f}, {found.hi:.{digits}f}]"


def _shown(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "claim": f"{record['hypothesis']}: {record['statement']}",
        "verdict": record["verdict"],
        "estimate": _interval(record),
        "of": record["quantity"],
        "matters from": f"{record['smallest_effect']:g}",
        "would change it": record["would_change"],
    }


def _interval(record: Mapping[str, Any]) -> str:
    if record["estimate"] is None:
        return "undefined"
    text = f"{record['estimate']:.3f}"
    if record["lo"] is None:
        return text + f" (n = {record['n']})"
    return f"{text} [{record['lo']:.3f}, {record['hi']:.3f}]"
