"""Every file that the package writes goes through `io.atomic`, which the source shows."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import synthsae_jax

PACKAGE = Path(synthsae_jax.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))
# functions and methods that put data into a file by its name
WRITERS = {"write_text", "write_bytes", "savefig", "savez", "savez_compressed", "save_file", "dump",
           "tofile", "savetxt", "save_npz", "replace", "rename", "symlink_to"}  # fmt: skip
OF_OURS = {"atomic", "dataclasses"}  # atomic.write_text, dataclasses.replace


def writes(source: str) -> list[int]:
    """Lines on which something is written that is not written by `atomic`, or to memory."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        owner = getattr(getattr(function, "value", None), "id", "")
        modes = [a.value for a in node.args[-1:] if isinstance(a, ast.Constant)]
        modes += [k.value.value for k in node.keywords
                  if k.arg == "mode" and isinstance(k.value, ast.Constant)]  # fmt: skip
        if name == "open" and any(set(str(mode)) & set("wax+") for mode in modes):
            lines.append(node.lineno)
        elif name in ("replace", "rename", "symlink_to"):
            if owner == "os":
                lines.append(node.lineno)
        elif name in WRITERS and owner not in OF_OURS:
            target = ast.unparse(node.args[0]) if node.args else ""
            if target not in ("content", "buffer"):  # files in memory
                lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_are_written_by_atomic_alone(path):
    if path.parent.name == "io" and path.stem in ("atomic", "temporary"):
        return
    assert writes(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "open(path, 'w')",
        "path.open('w')",
        "open(path, mode='ab')",
        "path.write_text(text)",
        "figure.savefig(path)",
        "np.savez(path, a=a)",
        "os.replace(a, b)",
    ],
)
def test_the_scan_sees_a_planted_writer(line):
    assert writes(line) == [1]
