"""What the scripts share: their options, the head of their JSON, their tables."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from synthsae_jax.errors import ConfigError
from synthsae_jax.io import atomic
from synthsae_jax.io.provenance import git_state, machine, versions

PRESET, TINY_PRESET = "synthsaebench-16k", "mini"
DTYPES = ("float32", "bfloat16")


def options(
    description: str | None,
    *,
    runs: Sequence[int] = (1,),
    sae: Sequence[str] = ("batchtopk",),
    peer: bool = False,
) -> argparse.ArgumentParser:
    """The options that every script takes; `--peer` where there is one to compare with."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default=PRESET)
    parser.add_argument("--runs", type=int, nargs="+", default=list(runs), metavar="R")
    parser.add_argument("--sae", nargs="+", default=list(sae), metavar="NAME")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of matrix products")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--tiny", action="store_true", help="sizes of a test; the times say nothing"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there")
    parser.add_argument(
        "--keep-compiled", action="store_true", help="let the compile cache shorten compile times"
    )
    if peer:
        parser.add_argument("--peer", action="store_true", help="SAELens side by side, A B A B")
    return parser


def parse(
    parser: argparse.ArgumentParser, words: Sequence[str] | None = None
) -> argparse.Namespace:
    """The given options; `--tiny` takes the smallest preset unless one is named."""
    given = parser.parse_args(words)
    if given.repeats < 1 or min(given.runs) < 1:
        parser.error("--repeats and --runs take whole numbers from 1.")
    if given.tiny and given.preset == PRESET:
        given.preset = TINY_PRESET
    if not (given.tiny or given.keep_compiled):
        # a compile time is one from nothing
        jax.config.update("jax_enable_compilation_cache", False)
    return given


def run(main: Callable[[], Any]) -> None:
    """Run a script; wrong input ends it with one line and exit status 2, as in `synthsae`."""
    try:
        main()
    except ConfigError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)


def device_name() -> str:
    """The device in words: a CPU by its model and the threads this process may use."""
    found = machine()
    if found["platform"] != "cpu":
        return f"{found['device_count']} x {found['device']}"
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else found['architecture']}, {threads_of(found['threads'])}"


def threads_of(count: int) -> str:
    """So many threads."""
    return f"{count} thread{'s' if count > 1 else ''}"


def head(benchmark: str, given: argparse.Namespace) -> dict[str, Any]:
    """Where a JSON begins: what was asked for, and on what it ran."""
    plain = (str, int, float, bool, list)
    asked = {k: v for k, v in vars(given).items() if isinstance(v, plain) and k != "json"}
    return {
        "benchmark": benchmark,
        "options": asked,
        "device": device_name(),
        "machine": machine(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "versions": versions(),
        **git_state(),
    }


def finish(content: dict[str, Any], columns: Sequence[str], path: Path | None) -> dict[str, Any]:
    """Print the rows as a table, write the JSON if asked to, and give the content back."""
    show(content["rows"], columns, f"{content['benchmark']}, {content['device']}")
    if path is not None:
        text = json.dumps(rounded(content), indent=1, allow_nan=False)
        atomic.write_text(path, text + "\n")
    return content


def show(rows: Sequence[dict[str, Any]], columns: Sequence[str], title: str) -> None:
    """Rows as a table: the named columns, where any row has them."""
    columns = present(rows, columns)
    # words that a narrow column can break between
    table = Table(*(column.replace("_", " ") for column in columns), title=title)
    for row in rows:
        table.add_row(*(shown(row.get(column), column) for column in columns))
    # wide enough where no terminal says how wide it is, so that logs keep their columns
    Console(width=None if os.isatty(1) else 160).print(table)


def present(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> list[str]:
    """The columns that any row has a value in."""
    return [c for c in columns if any(row.get(c) is not None for row in rows)]


def shown(value: Any, column: str = "") -> str:
    """A number to three or four digits, bytes in GiB, a word as it is, nothing for None."""
    if value is not None and "bytes" in column:
        return f"{value / 2**30:.2f} GiB"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def rounded(value: Any) -> Any:
    """The same with floats to six digits, so that a file's changes can be read."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
