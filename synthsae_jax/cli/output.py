"""What commands print and keep beside the page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synthsae_jax.errors import printable


def say(text: str = "") -> None:
    """Print a line or a table. Names in it are data: what a terminal would obey is escaped."""
    print(printable(text, keep="\n"))


def show_result(result: Any, out: Path) -> None:
    """Build the page, print its tables and keep them beside the page as plain text."""
    from synthsae_jax import report
    from synthsae_jax.io import atomic

    report.build(out)
    text = "\n\n".join(str(table).rstrip("\n") for table in result.tables()) + "\n"
    atomic.write_text(out / "summary.txt", text)
    say(text)
    say(f"The page: {out / 'report.html'}")


def write_numbers(path: Path | None, numbers: Mapping[str, float]) -> None:
    """Write numbers by name as JSON where a file was asked for.

    One that is undefined is null, and `reasons` says of each why it may be.
    """
    if path is None:
        return
    from synthsae_jax.io import atomic

    content: dict[str, Any] = {k: v if math.isfinite(v) else None for k, v in numbers.items()}
    if reasons := {name: why_undefined(name) for name, v in content.items() if v is None}:
        content["reasons"] = reasons
    atomic.write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def why_undefined(name: str) -> str:
    """When a metric is no finite number, from its own explanation."""
    from synthsae_jax import registry

    explanations = registry.explain(name) if name in registry.explainable() else []
    reasons = [e.undefined for kind, e in explanations if kind == "metric" and e.undefined]
    return "; ".join([*reasons, "NaN where a reconstruction is not finite"])
