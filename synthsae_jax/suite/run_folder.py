"""The result folder of a benchmark while it is made: opened, filled cell by cell, finished.

The cells' files are the truth. The manifest and `results.jsonl` are made from them, so a folder
that was interrupted anywhere, or that several processes write into, goes on from what is there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from synthsae_jax import interrupts
from synthsae_jax.errors import ConfigError, require
from synthsae_jax.io import atomic, configs, locks, provenance, results, temporary
from synthsae_jax.io import cells as cell_files
from synthsae_jax.io import manifest as manifests
from synthsae_jax.io.names import file_name
from synthsae_jax.io.rows import Row
from synthsae_jax.suite.base import PILOTS, Benchmark, Cell
from synthsae_jax.suite.canaries import canaries
from synthsae_jax.suite.claims import VERDICTS_FILE, judge, write_verdicts

_MANIFEST_LOCK = ".lock"
_CLAIM = ".claim"  # beside a cell's file while a process computes it
_LOCK_SECONDS = 2.0  # for a lock that is held for milliseconds


class RunFolder:
    """A benchmark's result folder at one scale. Nothing is written before `at_work`."""

    def __init__(self, path: Path, benchmark: Benchmark, scale: str, salt: str):
        self.path = path
        self.cells: Sequence[Cell] = list(benchmark.cells(scale, salt))
        self._benchmark, self._scale, self._salt = benchmark, scale, salt
        self._spec = benchmark.spec(scale, salt)
        self._spec_hash = configs.config_hash(self._spec)
        self._ids = {cell.name: _cell_id(benchmark, cell) for cell in self.cells}
        require(
            len(self._ids) == len(self.cells),
            f"{benchmark.id}: cells need names of their own; got {[c.name for c in self.cells]}.",
        )
        self._headers: dict[str, cell_files.Header] = {}  # of finished cells that were read once
        self._maker: dict[str, Any] | None = None  # what makes cells in this process
        self._accept_mixed = False

    def is_complete(self) -> bool:
        """Whether all is there as it was written: every row, the verdicts, the state.

        Reads only. A folder that holds anything else is a `ConfigError`.
        """
        manifest = self._manifest()
        if manifest is None:
            self._check_empty()
            return False
        if "cells" not in manifest:
            return self._is_complete_without_files(manifest)
        table = self.path / results.RESULTS
        return (
            manifest["state"] == "completed"
            and {name: noted["id"] for name, noted in manifest["cells"].items()} == self._ids
            and table.is_file()
            and cell_files.is_table(table.read_bytes(), manifest["cells"].values())
            and self._has_verdicts()
        )

    @contextlib.contextmanager
    def at_work(self, accept_mixed: bool = False) -> Iterator[None]:
        """Context in which cells are computed; the folder says how it ends.

        `claim` refuses to go on with cells that something with other numbers made, unless
        `accept_mixed`.
        """
        self._accept_mixed = accept_mixed
        atomic.check_file(self.path / manifests.MANIFEST)
        atomic.make_folder(self.path / cell_files.FOLDER)
        running = locks.wait_for(self.path / manifests.RUNNING, _LOCK_SECONDS, shared=True)
        try:
            with interrupts.last_words(self._note_interrupt):
                yield
        except BaseException:
            # Ctrl-C too: what is finished stays, and the folder says that something is missing
            with contextlib.suppress(OSError, ConfigError):
                self._note_interrupt()
            raise
        finally:
            if running is not None:
                running.release()

    def missing(self) -> list[Cell]:
        """The cells without a file, in the order of the plan."""
        finished = self._finished()
        return [cell for cell in self.cells if cell.name not in finished]

    def claim(self, cell: Cell) -> locks.Lock | None:
        """The right to compute a cell; None where it is finished, or another process is at it.

        The first claim makes the manifest of a new folder, or compares what made an old one.
        """
        if self._maker is None:
            self._maker = self._check_maker()
        self._check_there()
        lock = locks.acquire(self._claim_path(cell))
        if lock is not None and self._path_of(cell).exists():
            lock.release()
            return None
        return lock

    def worker(self, cell: Cell) -> str:
        """Who computes a cell, for a message."""
        return locks.owner(self._claim_path(cell))

    def store(self, cell: Cell, rows: Sequence[Mapping[str, Any]], seconds: float) -> None:
        """Write a cell's rows, and note it in the manifest."""
        self._check_there()
        # on a file system without locks another process may have been faster
        if not self._path_of(cell).exists():
            about = {"seconds": seconds, "provenance": self._maker}
            cell_files.write_cell(self.path, cell.name, self._ids[cell.name], rows, **about)
        self._note("running")

    def finish(self) -> bool:
        """Make the table and the verdicts from the cells' files; False where one has vanished."""
        files = {n: cell_files.read_cell(self.path, cell_id) for n, cell_id in self._ids.items()}
        whole = {name: file for name, file in files.items() if file is not None}
        self._headers = {name: file.header for name, file in whole.items()}
        if len(whole) < len(files):
            return False
        table = b"".join(file.body for file in whole.values())
        path = self.path / results.RESULTS
        is_new = not path.is_file() or path.read_bytes() != table
        if is_new:
            atomic.write_bytes(path, table)
        if self._benchmark.claims and (is_new or not self._has_verdicts()):
            self._judge(results.merge(results.parse_lines(table, path)))
        self._note("completed")
        return True

    def tidy(self) -> None:
        """Remove what killed processes left: locks without owner, unfinished files."""
        cells = self.path / cell_files.FOLDER
        with contextlib.suppress(OSError):  # a finished folder may be read-only
            for name in (manifests.RUNNING, _MANIFEST_LOCK):
                locks.remove_stale(self.path / name)
            for claim in cells.glob(f"*{_CLAIM}"):
                locks.remove_stale(claim)
            for folder in (self.path, cells):
                temporary.clean(folder, again=True)

    def _judge(self, rows: Sequence[Row]) -> None:
        verdicts = judge(self._benchmark.claims, rows)
        write_verdicts(self.path, self._benchmark.id, self._scale in PILOTS, verdicts)

    def _has_verdicts(self) -> bool:
        return not self._benchmark.claims or (self.path / VERDICTS_FILE).is_file()

    def _path_of(self, cell: Cell) -> Path:
        return cell_files.path_of(self.path, self._ids[cell.name])

    def _claim_path(self, cell: Cell) -> Path:
        return self._path_of(cell).with_suffix(_CLAIM)

    def _finished(self) -> dict[str, cell_files.Header]:
        """The headers of the cells that have a file, in the order of the plan."""
        try:
            names = set(os.listdir(self.path / cell_files.FOLDER))
        except (FileNotFoundError, NotADirectoryError):
            names = set()
        headers = {}
        for name, cell_id in self._ids.items():
            if cell_files.path_of(self.path, cell_id).name not in names:
                continue
            header = self._headers.get(name)
            if header is None:
                file = cell_files.read_cell(self.path, cell_id)
                header = file.header if file is not None else None
            if header is not None:
                headers[name] = header
        self._headers = headers
        return headers

    def _manifest(self) -> manifests.Manifest | None:
        """The folder's manifest, None where there is none; refuses that of something else."""
        if not (self.path / manifests.MANIFEST).exists():
            return None
        manifest = manifests.read_manifest(self.path)
        if manifest["spec_hash"] != self._spec_hash:
            raise ConfigError(
                f"{self.path} holds {manifest['benchmark']} at scale {manifest['scale']}, made "
                f"with other settings; choose another --out than for {self._benchmark.id} at "
                f"scale {self._scale}."
            )
        foreign = [
            name
            for name in (*manifest.get("cells", {}), *manifest.get("cells_done", ()))
            if name not in self._ids
        ]
        if foreign:
            raise ConfigError(
                f"{self.path / manifests.MANIFEST}: {self._benchmark.id} has no cell "
                f"{foreign[0]!r} at scale {self._scale}."
            )
        return manifest

    def _is_complete_without_files(self, manifest: manifests.Manifest) -> bool:
        """The same for a folder of an earlier version, whose rows can't be told apart by cell."""
        if manifest["state"] != "completed" or set(manifest.get("cells_done", ())) != set(
            self._ids
        ):
            raise ConfigError(
                f"{self.path} was left unfinished by an earlier version, and how many rows its "
                "finished cells had is not known; choose another --out."
            )
        rows = manifests.read_folder(self.path).rows
        if not self._has_verdicts():
            self._judge(rows)
        return True

    def _check_empty(self) -> None:
        """Raise where the folder has anything but what an interrupted start leaves."""
        if not os.path.lexists(self.path):
            return
        require(self.path.is_dir(), f"Cannot write into {self.path}: not a directory.")
        if any(not _is_left_by_start(entry) for entry in self.path.iterdir()):
            raise ConfigError(
                f"{self.path} is not empty and holds no result of this suite; choose another."
            )

    def _check_there(self) -> None:
        """Raise where the folder was removed or replaced while it was worked on."""
        try:
            if self._manifest() is not None:
                return
        except ConfigError as error:
            raise OSError(f"{self.path} was changed while it was written: {error}") from None
        raise OSError(f"{self.path} was removed while it was written.")

    def _check_maker(self) -> dict[str, Any]:
        """What makes cells in this process, if that may go on with what is there."""
        new = self._new_manifest()
        maker = provenance.of(new)
        path = self.path / manifests.MANIFEST
        if not path.exists() and atomic.create_text(path, manifests.to_json(new)):
            configs.store_config(self.path, self._spec)
            return maker
        manifest = self._manifest()
        if manifest is None:
            raise OSError(f"{self.path} was removed while it was written.")
        makers = [manifest, *(header.get("provenance", {}) for header in self._finished().values())]
        differences = [provenance.decisive_differences(earlier, maker) for earlier in makers]
        if not self._accept_mixed and all(differences):
            what = "; ".join(str(difference) for difference in differences[0])
            raise ConfigError(
                f"{self.path} was begun with other numbers or versions ({what}). Finish it with "
                "those, choose another --out, or add --accept-mixed to have both in one table."
            )
        configs.store_config(self.path, self._spec)
        return maker

    def _new_manifest(self) -> manifests.Manifest:
        return manifests.make_manifest(
            self._benchmark.id,
            self._scale,
            self._spec_hash,
            canaries(),
            seeds={cell.name: cell.spec.get("seeds", {}) for cell in self.cells},
            vmap_width=max(cell.runs for cell in self.cells),
            salt=self._salt,
            spec=self._spec_hash,
            pilot=self._scale in PILOTS,
            cells={},
        )

    def _note_interrupt(self) -> None:
        if self._maker is not None:  # else nothing was begun, or the folder was refused
            self._note("interrupted")

    def _note(self, state: str) -> None:
        """Write the manifest anew from the cells' files; what is completed stays so."""
        lock = locks.wait_for(self.path / _MANIFEST_LOCK, _LOCK_SECONDS)
        with lock or contextlib.nullcontext():
            manifest = self._manifest()
            if manifest is None:
                raise OSError(f"{self.path} was removed while it was written.")
            if manifest["state"] == "completed" and state == "interrupted":
                return
            manifest = manifests.with_cells({**manifest, "state": state}, self._finished())
            if state != "running":
                manifest = manifests.finish(manifest, state)
            manifests.write_manifest(self.path, manifest)


def _cell_id(benchmark: Benchmark, cell: Cell) -> str:
    """A file name for a cell, readable, that changes with all that its rows depend on."""
    about = {"benchmark": benchmark.id, "name": cell.name, "spec": cell.spec}
    return file_name(cell.name, configs.config_hash(about))


def _is_left_by_start(entry: Path) -> bool:
    """Whether an entry of a folder without manifest is what a start makes before the manifest."""
    if temporary.is_temporary(entry.name) or entry.name in (manifests.RUNNING, _MANIFEST_LOCK):
        return True
    if entry.name == results.RESULTS:  # of an earlier version
        return entry.is_file() and entry.stat().st_size == 0
    if entry.name == cell_files.FOLDER:
        return entry.is_dir() and not any(entry.glob(f"*{cell_files.SUFFIX}"))
    return entry.name == configs.FOLDER and entry.is_dir()
