"""The command `synthsae`: one record per command, its fields are the arguments.

Exit status 0: done. 2: the user's input was wrong, one line on stderr says how. 1: it failed.
130: interrupted. JAX is imported by the commands that compute, so `--help` answers at once.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from synthsae_jax import __version__, registry
from synthsae_jax.cli_match import Match
from synthsae_jax.cli_parse import parse
from synthsae_jax.errors import ConfigError, check_choice, require

PROGRAM = "synthsae"
Scale = Literal["smoke", "small", "standard", "full"]
Folder = Annotated[Path | None, arg(metavar="DIR")]
File = Annotated[Path | None, arg(metavar="FILE")]
FIGURE_FORMATS = ("pdf", "svg", "png")


@dataclasses.dataclass(frozen=True)
class List:
    """Show the benchmarks, and every name that a benchmark or a script can be built from."""

    def run(self) -> None:
        from synthsae_jax import matching, saes, similarity, suite, worlds

        for name in suite.names():
            print(suite.describe(name))
        others = {
            "presets": worlds.preset_names(),
            "saes": saes.names(),
            "scores": matching.score_names(),
            "solvers": matching.solver_names(),
            "nulls": matching.null_names(),
            "similarity measures": similarity.names(),
        }
        print()
        for kind, names in others.items():
            print(f"{kind}: {', '.join(names)}")
        print(f"\n'{PROGRAM} explain NAME' says what a name means.")


@dataclasses.dataclass(frozen=True)
class Quick:
    """Train SAEs on several synthetic models at once: a table here, a page in the folder."""

    out: Annotated[Path, arg(metavar="DIR")] = Path("runs/quick")
    """Folder of the results."""

    def run(self) -> None:
        from synthsae_jax import suite

        _writable_folder(self.out)
        _show(suite.quick(out=self.out), self.out)


@dataclasses.dataclass(frozen=True)
class Run:
    """Run a benchmark; 'synthsae list' names them."""

    name: Positional[Annotated[str, arg(metavar="NAME")]]
    """The benchmark, such as recovery@1."""
    scale: Scale = "smoke"
    """How large; smoke and small are pilots and cannot be cited."""
    out: Folder = None
    """Folder of the results; runs/NAME-SCALE if not given."""
    dry_run: bool = False
    """Only say what would run: runs, compiles, memory, time."""
    salt: Annotated[str | None, arg(metavar="HEX")] = None
    """Hexadecimal digits that draw fresh report worlds."""

    def run(self) -> None:
        from synthsae_jax import suite

        check_choice("benchmark", self.name, suite.names())
        options: dict[str, Any] = {"scale": self.scale}
        if self.salt is not None:
            require(
                self.salt != "" and set(self.salt.lower()) <= set("0123456789abcdef"),
                f"--salt takes hexadecimal digits (0-9, a-f), got {self.salt!r}.",
            )
            options["salt"] = self.salt.lower()
        if self.dry_run:
            print(suite.plan(self.name, **options))
            return
        out = self.out or Path("runs") / f"{self.name.replace('@', '-')}-{self.scale}"
        _writable_folder(out)
        _show(suite.run(self.name, out=out, **options), out)


@dataclasses.dataclass(frozen=True)
class Report:
    """Draw the page of a result folder again, and its figures as files with their numbers."""

    folder: Positional[Annotated[Path, arg(metavar="DIR")]]
    """The result folder."""
    figures: str = ""
    """Also write each figure as pdf, svg or png (several: pdf,svg), with a CSV behind it."""
    width: Literal["column", "page"] = "column"
    """How wide the figure files are: one column of a paper, or the page."""
    out: Folder = None
    """Where page and figures go; the result folder if not given."""

    def run(self) -> None:
        formats = tuple(word for word in self.figures.replace(" ", "").split(",") if word)
        for word in formats:
            check_choice("value of --figures", word, FIGURE_FORMATS)
        _existing_folder(self.folder)
        out = self.out or self.folder
        _writable_folder(out)
        from synthsae_jax import report

        report.build(self.folder, figures=formats, width=self.width, out=out)
        print(f"The page: {out / 'report.html'}")


@dataclasses.dataclass(frozen=True)
class Explain:
    """Say what a metric, score, solver, measure, preset or benchmark is."""

    name: Positional[Annotated[str, arg(metavar="NAME")]]
    """Any name that 'synthsae list' or a result table shows."""

    def run(self) -> None:
        # imported for their entries in the registries
        from synthsae_jax import matching, metrics, saes, similarity, suite, worlds  # noqa: F401

        for kind, explanation in registry.explain(self.name):
            print(f"{self.name} ({kind})")
            for field, text in dataclasses.asdict(explanation).items():
                if text:
                    print(f"  {field + ':':<11}{text}")


@dataclasses.dataclass(frozen=True)
class Score:
    """Evaluate an SAE folder of SAELens against a synthetic model's true features."""

    sae: Positional[Annotated[Path, arg(metavar="SAE_DIR")]]
    """Folder with the SAE's cfg.json and weights."""
    model: Folder = None
    """Folder of the synthetic model; the packaged artefact saelens-1k if not given."""
    samples: int = 100_000
    """How many samples the numbers rest on."""
    seed: int = 0
    """Which samples."""
    json: File = None
    """Also write the numbers to this file."""

    def run(self) -> None:
        require(self.samples >= 1, f"--samples must be at least 1, got {self.samples}.")
        require(self.seed >= 0, f"--seed must be at least 0, got {self.seed}.")
        _existing_folder(self.sae)
        from synthsae_jax import io, metrics
        from synthsae_jax.io.artefacts import reference_artefact

        sae, params = io.load_saelens_sae(self.sae)
        world, instance = io.load_saelens_model(self.model or reference_artefact())
        width = params.W_dec.shape[-1]
        require(
            width == instance.hidden_dim,
            f"{self.sae} reads {width} dimensions, but the model has {instance.hidden_dim}: "
            "name the model it was trained on with --model.",
        )
        scores = metrics.evaluate(world, instance, sae, params, self.samples, self.seed)
        for name, value in scores.items():
            print(f"{name:<24} {float(value):.4f}")
        _write_json(self.json, {name: float(value) for name, value in scores.items()})


COMMANDS: Mapping[str, type] = {
    "list": List,
    "quick": Quick,
    "run": Run,
    "report": Report,
    "explain": Explain,
    "score": Score,
    "match": Match,
}


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of one command line; `argv` without the program's name."""
    argv = sys.argv[1:] if argv is None else argv
    if list(argv) == ["--version"]:
        print(f"{PROGRAM} {__version__}")
        return 0
    try:
        command = parse(PROGRAM, argv, COMMANDS)
        if command is not None:
            _keep_compiled_programs()
            command.run()
            sys.stdout.flush()
    except ConfigError as error:
        return _stop(2, " ".join(str(error).split()))
    except KeyboardInterrupt:
        return _stop(130, "interrupted.")
    except BrokenPipeError:
        # the reader (`| head`) has seen enough; Python would complain once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _stop(1, f"failed: {error}")
    return 0


def _stop(status: int, message: str) -> int:
    print(f"{PROGRAM}: {message}", file=sys.stderr)
    return status


def _keep_compiled_programs() -> None:
    """Let JAX keep compiled programs in the user's cache folder, unless told otherwise."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(home) / "synthsae_jax" / "xla"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return  # no home, or one that can't be written to: compile each time
    # JAX reads it when it is imported, which the commands do after this
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)


def _existing_folder(folder: Path) -> None:
    require(folder.is_dir(), f"There is no folder '{folder}'.")


def _writable_folder(folder: Path) -> None:
    """Find out before the work, not after it, that there is no place for its results."""
    place = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    require(place.is_dir(), f"--out needs a folder, but '{place}' is a file.")
    require(os.access(place, os.W_OK), f"--out: no right to write in '{place}'.")


def _show(result: Any, out: Path) -> None:
    """Build the page, print its tables and keep them beside the page as plain text."""
    from synthsae_jax import report

    report.build(out)
    text = "\n\n".join(str(table).rstrip("\n") for table in result.tables()) + "\n"
    (out / "summary.txt").write_text(text, encoding="utf-8")
    print(text)
    print(f"The page: {out / 'report.html'}")


def _write_json(path: Path | None, content: Any) -> None:
    if path is not None:
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
