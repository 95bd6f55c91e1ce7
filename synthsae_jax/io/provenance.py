"""What makes numbers: versions, machine, commit, canaries; and how two records of it differ.

Canaries are a few numbers of fixed tiny computations (a dictionary row, a first batch, a loss).
They tell a change of the random stream or of a formula apart from a change of the machine.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import synthsae_jax

Record = Mapping[str, Any]

PACKAGES = ("jax", "jaxlib", "numpy", "scipy", "flax", "optax")
_DIGITS = 5
# when and how far, not what: a rerun may differ here and still be the same result (the sha256 of
# a cell's rows too, since they carry the time of their making)
_INCIDENTAL = ("created_at", "finished_at", "state", "cells", "cells_done", "cell_seconds")
PROVENANCE = ("canaries", "versions", "machine", "commit", "dirty")
# what two cells of one table must not differ in; other machines and commits are only noted
_DECISIVE = ("canaries", "versions.synthsae_jax", "versions.jax", "versions.jaxlib")


class Difference(NamedTuple):
    """One field in which two manifests disagree; None where a side lacks it."""

    field: str
    a: Any
    b: Any

    def __str__(self) -> str:
        return f"{self.field}: {self.a} / {self.b}"


def versions() -> dict[str, str | None]:
    """Versions of Python, of this package and of those its numbers depend on."""
    version_of: dict[str, str | None] = {"python": platform.python_version()}
    version_of["synthsae_jax"] = synthsae_jax.__version__
    for package in PACKAGES:
        try:
            version_of[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version_of[package] = None
    return version_of


def machine() -> dict[str, Any]:
    """What JAX runs on: platform, kind and number of devices, and the threads it may use."""
    import jax  # here, so that reading a folder does not wait for it

    devices = jax.devices()
    # a container may be given fewer cores than the machine has
    usable = getattr(os, "sched_getaffinity", None)
    return {
        "platform": devices[0].platform,
        "device": devices[0].device_kind,
        "device_count": len(devices),
        "threads": len(usable(0)) if usable else os.cpu_count(),
        "system": platform.system(),
        "architecture": platform.machine(),
    }


def git_state() -> dict[str, Any]:
    """`commit` and whether the package differs from it (`dirty`); both None outside a checkout.

    Only a checkout of this project counts: an environment installed somewhere below another
    repository would otherwise report that one's commit.
    """
    package = Path(synthsae_jax.__file__).resolve().parent
    top = _git(package, "rev-parse", "--show-toplevel")
    if not top or Path(top).resolve() != package.parent:
        return {"commit": None, "dirty": None}
    changes = _git(package, "status", "--porcelain", "--", ".")
    dirty = None if changes is None else bool(changes)
    return {"commit": _git(package, "rev-parse", "HEAD") or None, "dirty": dirty}


def of(record: Record) -> dict[str, Any]:
    """The part of a manifest that says what made the numbers: canaries, versions, where."""
    return {field: record.get(field) for field in PROVENANCE}


def decisive_differences(a: Record, b: Record) -> list[Difference]:
    """Where two provenances may not share a table: canaries, this package's version, JAX's."""
    differences = compare(of(a), of(b))
    return [d for d in differences if d.field.startswith(_DECISIVE)]


def fingerprint(values: Iterable[float]) -> list[float | None]:
    """The numbers rounded to 5 significant digits, flat; None where not finite."""
    return [
        float(f"{v:.{_DIGITS - 1}e}") if math.isfinite(v) else None
        for v in (float(v) for v in values)
    ]


def compare(a: Record, b: Record, ignore: Sequence[str] = _INCIDENTAL) -> list[Difference]:
    """What differs between two manifests, field by field ("versions.jax"), sorted by field.

    Canaries are equal within one unit of their last digit, so that a number on the edge of
    rounding raises no alarm. Times and state are left out unless `ignore` says otherwise.
    """
    flat_a, flat_b = _flatten(a), _flatten(b)
    differences = []
    for field in sorted(flat_a.keys() | flat_b.keys()):
        if field.split(".")[0] in ignore:
            continue
        left, right = flat_a.get(field), flat_b.get(field)
        same = _same_canary(left, right) if field.startswith("canaries.") else left == right
        if not same:
            differences.append(Difference(field, left, right))
    return differences


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            flat |= _flatten(inner, f"{prefix}{name}.")
        else:
            flat[prefix + name] = inner
    return flat


def _same_canary(a: Any, b: Any) -> bool:
    if not isinstance(a, list) or not isinstance(b, list) or len(a) != len(b):
        return a == b
    return all(_same_digits(x, y) for x, y in zip(a, b, strict=True))


def _same_digits(x: float | None, y: float | None) -> bool:
    if x is None or y is None or x == y:
        return x == y
    unit = 10.0 ** (math.floor(math.log10(max(abs(x), abs(y)))) - _DIGITS + 1)
    return abs(x - y) < 1.5 * unit
