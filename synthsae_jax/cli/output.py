"""What commands print and keep beside the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def show_result(result: Any, out: Path) -> None:
    """Build the page, print its tables and keep them beside the page as plain text."""
    from synthsae_jax import report
    from synthsae_jax.io import atomic

    report.build(out)
    text = "\n\n".join(str(table).rstrip("\n") for table in result.tables()) + "\n"
    atomic.write_text(out / "summary.txt", text)
    print(text)
    print(f"The page: {out / 'report.html'}")


def write_json(path: Path | None, content: Any) -> None:
    """Write `content` as JSON where a file was asked for."""
    if path is not None:
        from synthsae_jax.io import atomic

        atomic.write_text(path, json.dumps(content, indent=1) + "\n")
