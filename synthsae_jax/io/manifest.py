"""`manifest.json`: what made a result folder, enough for somebody else to make it again."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from synthsae_jax.errors import ConfigError, check_choice, short
from synthsae_jax.io import atomic, cells, configs, locks, provenance, results
from synthsae_jax.io.cells import Header
from synthsae_jax.strict_json import read_object

MANIFEST = "manifest.json"
STATES = ("running", "interrupted", "completed")
# a process that works on a folder shares this lock until it ends
RUNNING = ".running"
Manifest = dict[str, Any]


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
        "canaries": {name: provenance.fingerprint(values) for name, values in canaries.items()},
        "seeds": configs.canonical(seeds),
        "vmap_width": vmap_width,
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        **provenance.git_state(),
        **configs.canonical(more),
    }


def finish(manifest: Manifest, state: str) -> Manifest:
    """The manifest with its end noted: "completed" or "interrupted"."""
    check_choice("state", state, STATES)
    return {**manifest, "state": state, "finished_at": _now()}


def with_cells(manifest: Manifest, headers: Mapping[str, Header]) -> Manifest:
    """The manifest with these finished cells, and with all their makers where those differ."""
    makers: list[dict[str, Any]] = []
    for name, header in headers.items():
        maker = header.get("provenance", {})
        same_maker = next((other for other in makers if provenance.of(other) == maker), None)
        if same_maker is None:
            makers.append({"cells": [name], **maker})
        else:
            same_maker["cells"].append(name)
    entries = {name: cells.entry(header) for name, header in headers.items()}
    more = {"provenances": makers} if len(makers) > 1 else {}
    return {**manifest, "cells": entries, **more}


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


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
