"""`manifest.json`: what made a result folder, enough for somebody else to make it again.

Canaries are a few numbers of fixed tiny computations (a dictionary row, a first batch, a loss).
They tell a change of the random stream or of a formula apart from a change of the machine.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import synthsae_jax
from synthsae_jax.errors import ConfigError, check_choice, short
from synthsae_jax.io import atomic, cells, configs, locks, results
from synthsae_jax.strict_json import read_object

MANIFEST = "manifest.json"
STATES = ("running", "interrupted", "completed")
PACKAGES = ("jax", "jaxlib", "numpy", "scipy", "flax", "optax")
_DIGITS = 5
# a process that works on a folder shares this lock until it ends
RUNNING = ".running"
# when and how far, not what: a rerun may differ here and still be the same result (the sha256 of
# a cell's rows too, since they carry the time of their making)
_INCIDENTAL = ("created_at", "finished_at", "state", "cells", "cells_done", "cell_seconds")
PROVENANCE = ("canaries", "versions", "machine", "commit", "dirty")
# what two cells of one table must not differ in; other machines and commits are only noted
_DECISIVE = ("canaries", "versions.synthsae_jax", "versions.jax", "versions.jaxlib")
Manifest = dict[str, Any]


class Difference(NamedTuple):
    """One field in which two manifests disagree; None where a side lacks it."""

    field: str
    a: Any
    b: Any

    def __str__(self) -> str:
        return f"{self.field}: {self.a} / {self.b}"


class Folder(NamedTuple):
    """A result folder, read and checked."""

    path: Path
    rows: list[results.Row]
    manifest: Manifest


def make_manifest(
    benchmark: str,
    scale: str,
    spec_hash: str,
    canaries: Mapping[str, Sequence[float]],
    seeds: Mapping[str, Any],
    vmap_width: int | None = None,
    **more: Any,
) -> Manifest:
    """The manifest of a run that starts now: state "running", and where it runs.

    `canaries` maps a name to the numbers of a computation, `seeds` a kind ("instance", "init",
    "data", ...) to what was used; `more` takes anything else that can be written as JSON.
    """
    return {
        "benchmark": benchmark,
        "scale": scale,
        "spec_hash": spec_hash,
        "state": "running",
        "created_at": _now(),
        "finished_at": None,
        "canaries": {name: fingerprint(values) for name, values in canaries.items()},
        "seeds": configs.canonical(seeds),
        "vmap_width": vmap_width,
        "versions": versions(),
        "machine": machine(),
        **git_state(),
        **configs.canonical(more),
    }


def provenance_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a manifest that says what made the numbers: canaries, versions, where."""
    return {field: record.get(field) for field in PROVENANCE}


def decisive_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    """Where two provenances may not share a table: canaries, this package's version, JAX's."""
    differences = compare(provenance_of(a), provenance_of(b))
    return [d for d in differences if d.field.startswith(_DECISIVE)]


def fingerprint(values: Iterable[float]) -> list[float | None]:
    """The numbers rounded to 5 significant digits, flat; None where not finite."""
    return [
        float(f"{v:.{_DIGITS - 1}e}") if math.isfinite(v) else None
        for v in (float(v) for v in values)
    ]


def finish(manifest: Manifest, state: str) -> Manifest:
    """The manifest with its end noted: "completed" or "interrupted"."""
    check_choice("state", state, STATES)
    return {**manifest, "state": state, "finished_at": _now()}


def write_manifest(folder: str | os.PathLike[str], manifest: Manifest) -> Path:
    """Write `manifest.json` into the folder, whole or not at all."""
    return atomic.write_text(Path(folder) / MANIFEST, to_json(manifest))


def to_json(manifest: Manifest) -> str:
    """The text of `manifest.json`."""
    check_choice("state", manifest.get("state", ""), STATES)
    return json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_manifest(folder: str | os.PathLike[str]) -> Manifest:
    """The manifest of a result folder; `ConfigError` where missing or broken."""
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise ConfigError(f"{folder} is no result folder: it has no {MANIFEST}.")
    manifest = read_object(path)
    missing = [
        field
        for field in ("benchmark", "scale", "spec_hash", "state")
        if not isinstance(manifest.get(field), str)
    ]
    if missing:
        raise ConfigError(f"{path}: no text in {', '.join(missing)}.")
    check_choice(f"{path}: state", manifest["state"], STATES)
    _check_cells(path, manifest)
    return manifest


def read_folder(folder: str | os.PathLike[str]) -> Folder:
    """Rows and manifest of a result folder. Reads only; anything wrong is one `ConfigError`.

    The rows are those of the cells that the manifest calls finished, every one as it was written.
    "running" is read as "interrupted" where no process runs any more.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ConfigError(f"{path} is no result folder: no such folder.")
    manifest = read_manifest(path)
    if manifest["state"] == "running" and not locks.is_held(path / RUNNING):
        manifest = {**manifest, "state": "interrupted"}
    if "cells" in manifest:
        rows = results.merge(cells.read_table(path, manifest["cells"]))
        return Folder(path, rows, manifest)
    table = path / results.RESULTS
    if not table.is_file():
        raise ConfigError(f"{path} is no result folder: it has no {results.RESULTS}.")
    rows = results.read_rows(table)
    if manifest.get("cells_done") and not rows:
        raise ConfigError(f"{table} is empty, but {MANIFEST} says that cells are finished.")
    return Folder(path, rows, manifest)


def cell_seconds(manifest: Manifest) -> dict[str, float]:
    """How long each finished cell took, as far as the manifest says so."""
    noted = manifest.get("cells", {})
    return {name: cell["seconds"] for name, cell in noted.items() if "seconds" in cell} or dict(
        manifest.get("cell_seconds", {})
    )


def compare(a: Manifest, b: Manifest, ignore: Sequence[str] = _INCIDENTAL) -> list[Difference]:
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


def versions() -> dict[str, str | None]:
    """Versions of Python, of this package and of those its numbers depend on."""
    named: dict[str, str | None] = {"python": platform.python_version()}
    named["synthsae_jax"] = synthsae_jax.__version__
    for package in PACKAGES:
        try:
            named[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            named[package] = None
    return named


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


def _check_cells(path: Path, manifest: Manifest) -> None:
    """Raise where a finished cell is noted in a way that nothing could be checked with."""
    done = manifest.get("cells_done", [])
    if not isinstance(done, list) or not all(isinstance(name, str) for name in done):
        raise ConfigError(f"{path}: 'cells_done' must be a list of names; got {short(done)}.")
    noted = manifest.get("cells", {})
    if not isinstance(noted, dict):
        raise ConfigError(f"{path}: 'cells' must map names to finished cells; got {short(noted)}.")
    for name, entry in noted.items():
        try:
            cells.check_entry(entry)
        except ConfigError as error:
            raise ConfigError(f"{path}: cell {name!r}: {error}.") from None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


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
