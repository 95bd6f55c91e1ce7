"""Arrays in files are read by `io.arrays` alone, which the source shows."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READERS = {"np.load", "numpy.load", "np.fromfile", "np.loadtxt", "np.genfromtxt", "np.memmap",
           "load_file", "safe_open", "load_npz", "sparse.load_npz", "pickle.load"}  # fmt: skip
# these run in the environment of another project, without this package
OF_PEERS = ("scripts/make_golden", "benchmarks/speed/peer/")
# maps what `open_arrays` has checked
THE_READER = "synthsae_jax/io/arrays.py"


def is_python(path: Path) -> bool:
    if path.suffix == ".py":
        return True
    with path.open("rb") as file:
        return not path.suffix and b"python" in file.readline()


def sources() -> list[str]:
    folders = (ROOT / name for name in ("synthsae_jax", "scripts", "benchmarks"))
    paths = (p for folder in folders for p in folder.rglob("*") if p.is_file() and is_python(p))
    names = (path.relative_to(ROOT).as_posix() for path in paths)
    return sorted(n for n in names if n != THE_READER and not n.startswith(OF_PEERS))


def reads(source: str) -> list[str]:
    """The calls in a source that read arrays from a file by themselves."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [name for call in calls if (name := ast.unparse(call.func)) in READERS]


def test_every_source_reads_arrays_by_the_one_reader():
    names = sources()
    assert {"synthsae_jax/io/codes.py", "scripts/pythia.py", "scripts/test_parity"} < set(names)
    around = {name: reads((ROOT / name).read_text(encoding="utf-8")) for name in names}
    assert {name: calls for name, calls in around.items() if calls} == {}


@pytest.mark.parametrize("line", ["np.load(path)", "with np.load(path) as f: pass", "load_file(p)"])
def test_the_scan_sees_a_planted_reader(line):
    assert len(reads(line)) == 1
