"""The house rule, read from the source: a file imports only from its own floor or below."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import synthsae_jax

PACKAGE = Path(synthsae_jax.__file__).parent
ROOT = PACKAGE.name
SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
# one floor per line, lowest first; what stands on one line may not import each other
FLOORS = (
    {"ground"},
    {"worlds", "saes", "matching", "similarity"},
    {"metrics"},
    {"training"},
    {"protocols"},
    {"io"},
    {"suite"},
    {"sweep"},
    {"report"},
    {"experiments"},
    {"match"},
    {"cli"},
)
# what drawing may know of the engine: a benchmark's claims, and who is registered
RECORDS = {"suite.base", "suite.claims", "suite.quantity"}
GROUND = {
    "directions",
    "errors",
    "registry",
    "numerics",
    "logistic",
    "keys",
    "stats",
    "verdicts",
    "power",
    "resampling",
    "options",
    "parallel",
    "inputs",
    "strict_json",
    "interrupts",
    "modes",
}
CLI = {"cli", "__main__"}


def modules() -> dict[str, Path]:
    """Dotted name -> file, of every module of the package but its own `__init__`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = path
    return found


MODULES = modules()


def imports(path: Path, name: str) -> set[str]:
    """Full names that a file imports, anywhere in it; `from a import b` counts as `a.b`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def inside(path: Path, name: str) -> set[str]:
    """Modules of the package that a file imports."""
    found = set()
    for full in imports(path, name):
        head, _, rest = full.partition(".")
        if head != ROOT:
            continue
        # `from synthsae_jax.worlds.codes import Codes`: the longest part that is a module
        while rest and rest not in MODULES:
            rest = rest.rpartition(".")[0]
        if rest:
            found.add(rest)
    return found


def room(module: str) -> str:
    """The folder a module stands in, or "ground" or "cli" for the files beside the folders."""
    head = module.partition(".")[0]
    return "ground" if head in GROUND else "cli" if head in CLI else head


def floor(module: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if room(module) in rooms)


def allowed(importer: str, imported: str) -> bool:
    if room(importer) == "report" and room(imported) == "suite":
        return imported in RECORDS
    return room(importer) == room(imported) or floor(imported) < floor(importer)


def wrong_imports(name: str) -> set[str]:
    return {other for other in inside(MODULES[name], name) if not allowed(name, other)}


def test_every_module_has_a_place_in_the_house():
    known = set().union(*FLOORS)
    assert {name for name in MODULES if room(name) not in known} == set()


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_downwards(name):
    assert wrong_imports(name) == set()


def test_the_list_names_the_folders_that_there_are():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert folders <= set().union(*FLOORS)
    to_come = {"sweep"}
    assert set().union(*FLOORS) - folders - {"ground", "cli"} <= to_come


def test_no_module_imports_itself_in_a_circle():
    graph = {}
    for name, path in MODULES.items():
        # a folder's __init__ re-exports its files; importing a file of it runs the __init__ first,
        # which Python resolves, so only edges between files count
        is_folder = path.name == "__init__.py"
        graph[name] = set() if is_folder else inside(path, name) - {name}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError
    assert len(graph) == len(MODULES)


def test_the_rule_finds_a_planted_mistake():
    assert not allowed("worlds.codes", "saes.base")
    assert not allowed("matching.scores", "similarity")
    assert not allowed("numerics", "worlds")
    assert not allowed("suite.runner", "report.page")
    assert not allowed("suite.runner", "experiments.quick")
    assert not allowed("protocols.rules", "suite.pairs")
    assert not allowed("report.page", "suite.runner")
    assert not allowed("report.page", "experiments.quick")
    assert not allowed("experiments.quick", "match.run")
    assert not allowed("metrics.recovery", "cli")
    assert allowed("report.page", "suite.claims")
    assert allowed("experiments.quick", "report.page")
    assert allowed("match.run", "protocols.base")
    assert allowed("worlds.codes", "worlds.records")
    assert allowed("cli", "worlds")


def test_no_heavy_or_foreign_library():
    foreign = {"torch", "pandas", "sklearn", "sae_lens", "equinox", "tests", "benchmarks"}
    # what only makes artefacts: scripts/ is on the path of tests
    foreign |= {path.stem for path in SCRIPTS.iterdir() if path.suffix == ".py" or path.is_dir()}
    used = {
        (name, full)
        for name, path in MODULES.items()
        for full in imports(path, name)
        if full.partition(".")[0] in foreign
    }
    assert used == set()


# numpy and JAX's own dependencies may be there; these take long or are for one command only
HEAVY = ("jax", "matplotlib", "rich", "tyro", "orbax", "wandb", "trackio")


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_of_the_package_loads_nothing_heavy():
    assert loaded_after("import synthsae_jax") == set()


def test_help_does_not_wait_for_jax():
    assert loaded_after("import synthsae_jax.cli") & {"jax", "matplotlib"} == set()


def test_the_numeric_folders_do_not_draw_or_parse():
    folders = "worlds, saes, matching, similarity, metrics, training"
    statement = f"from synthsae_jax import {folders}"
    assert loaded_after(statement) & {"matplotlib", "tyro", "orbax", "wandb", "trackio"} == set()
