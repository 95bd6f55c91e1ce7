"""Command lines that are wrong on purpose, called inside this process."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
from numpy.random import Generator
from safetensors.numpy import save_file
from scipy import sparse

from hostile.loaders import LOADERS, rows
from hostile.mutations import declared_bytes, fresh, mutations_of
from synthsae_jax import cli, suite
from synthsae_jax.errors import ConfigError
from synthsae_jax.experiments import quick
from synthsae_jax.io import results

# what stands in braces is a valid input below the folder of the call
LINES = (
    "list",
    "explain svcca",
    "run recovery@1 --scale smoke --dry-run",
    "run recovery@1 --scale small --out {out} --salt 0f",
    "quick --out {out}",
    "report {folder} --figures pdf --width page --out {out}",
    "score {sae} --model {model} --samples 64 --seed 3 --json {out}.json",
    "match {a.npz} {b.npz} --weights-only --protocols none --draws 0 --out {out}.json",
    "match {a.npz} {b.npz} --weights-only --prior .5 --threshold .3 --draws 0 --protocols none",
    "match {a.npz} {b.npz} --codes {a-codes.npz} {b-codes.npz} --protocols none --draws 0 --seed 1",
    "match {sae} {sae} --acts {acts.npy} --protocols none --draws 0 --page {out}.html",
)
# what is wrong in the tenth block of a file is said after the progress of nine
PROGRESS = re.compile(r"\S+: +\d+ %  ")
WORDS = (
    *("", "-", "--", "--help", "-x", "--seed", "--out", "0", "-1", "1e22", "nan", "inf", "4.7"),
    *(
        "9" * 400,
        "9" * 5000,
        "10000000000000000000000",
        "2147483648",
        "\x1b[31m",
        "\u202ex",
        "a\nb",
    ),
    *("~nobody/x", "/dev/null/x", "../" * 40, "x" * 300, "y" * 5000, "{", "@1", "None", "true"),
    os.fsdecode(b"\xff\xfe"),
    "a b",
)


def make_inputs(home: Path) -> None:
    """The valid inputs that the lines name, each small."""
    home.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in "ab":
        np.savez(home / f"{name}.npz", W_dec=rng.normal(size=(12, 8)).astype(np.float32))
        dense = (rng.random((40, 12)) < 0.3) * rng.random((40, 12))
        sparse.save_npz(home / f"{name}-codes.npz", sparse.csr_matrix(dense.astype(np.float32)))
    np.save(home / "acts.npy", rng.normal(size=(40, 8)).astype(np.float32))
    (home / "sae").mkdir()
    (home / "sae" / "cfg.json").write_text('{"d_in": 8, "d_sae": 12, "architecture": "standard"}')
    shapes = {"W_enc": (8, 12), "W_dec": (12, 8), "b_enc": (12,), "b_dec": (8,)}
    tensors = {k: rng.normal(size=v).astype(np.float32) for k, v in shapes.items()}
    save_file(tensors, home / "sae" / "sae_weights.safetensors")
    LOADERS["synthetic model"].make(home / "model")
    LOADERS["result folder"].make(home / "folder")
    results.write_rows(home / "folder" / results.RESULTS, rows())


def _words(line: str, home: Path) -> tuple[list[str], list[str]]:
    """The words of a line, with paths below `home`, and which of its inputs are there."""
    words = line.split()
    files = [w for w in words if w.startswith("{") and (home / w.strip("{}")).exists()]
    named = [str(home / w.strip("{}")) if w in files else w for w in words]
    return [w.replace("{out}", str(home / "out")) for w in named], files


def warm_up(valid: Path, home: Path) -> None:
    """Every line as it should be, so that nothing is imported or compiled for the first time."""
    for line in LINES:
        fresh(valid, home)
        with contextlib.suppress(ConfigError):
            call(_words(line, home)[0])


def spoil(rng: Generator, valid: Path, home: Path) -> tuple[list[str], str, int]:
    """A line of words, what was done to it, and the bytes that its inputs declare.

    Either a word is another, or a file that the line names is spoilt.
    """
    line = LINES[int(rng.integers(len(LINES)))]
    fresh(valid, home)
    words, files = _words(line, home)
    if files and rng.integers(2):
        target = home / files[int(rng.integers(len(files)))].strip("{}")
        inner = sorted(p for p in target.rglob("*") if p.is_file()) if target.is_dir() else [target]
        path = inner[int(rng.integers(len(inner)))]
        kinds = mutations_of(path)
        kind = sorted(kinds)[int(rng.integers(len(kinds)))]
        kinds[kind](rng, path)
        return words, kind, declared_bytes(home)
    how = ("another word", "a word more", "a word less", "a word twice")[rng.integers(4)]
    at = int(rng.integers(len(words)))
    word = WORDS[int(rng.integers(len(WORDS)))]
    if how == "a word less":
        del words[at]
    elif how == "another word":
        words[at] = word
    else:
        words.insert(at, word if how == "a word more" else words[at])
    return words, how, declared_bytes(home)


def call(words: list[str]) -> None:
    """Run a command line; `ConfigError` with its line where it ends with 2, else it must do."""
    out, err = io.StringIO(), io.StringIO()
    with _nothing_long(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main(words)
    printed = [x for x in err.getvalue().splitlines() if not x.startswith("synthsae: note: ")]
    lines = [x for x in printed if not PROGRESS.match(x)]
    if status == 2 and len(lines) == 1 and lines[0].startswith("synthsae: "):
        raise ConfigError(lines[0])
    if status != 0:
        raise RuntimeError(f"status {status}: {err.getvalue()!r}")
    shown = out.getvalue().replace("\n", "")
    if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown):
        raise RuntimeError(f"a terminal would obey {shown!r}")


@contextlib.contextmanager
def _nothing_long() -> Iterator[None]:
    """Benchmarks are not run: that a line asks for one is all that counts here."""

    def asked(*_: object, **__: object) -> None:
        raise ConfigError("a benchmark would run")

    with mock.patch.object(suite, "run", asked), mock.patch.object(quick, "run", asked):
        yield
