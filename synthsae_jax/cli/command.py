"""The command `synthsae`: one record per command, its fields are the arguments.

Exit status 0: done. 2: the user's input was wrong, one line on stderr says how. 1: it failed.
130: interrupted by Ctrl-C, 143: ended by SIGTERM, 129: its terminal was closed; the same command
then goes on with what is left, so these are what a scheduler may queue again. JAX is imported by
the commands that compute, so `--help` answers at once.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from synthsae_jax import __version__, interrupts
from synthsae_jax.cli.arguments import PROGRAM
from synthsae_jax.cli.explain import Explain
from synthsae_jax.cli.list import List
from synthsae_jax.cli.match import Match
from synthsae_jax.cli.parse import parse
from synthsae_jax.cli.quick import Quick
from synthsae_jax.cli.report import Report
from synthsae_jax.cli.run import Run
from synthsae_jax.cli.score import Score
from synthsae_jax.errors import ConfigError, printable

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
    with interrupts.program(PROGRAM):
        return _run(argv)


def _run(argv: Sequence[str]) -> int:
    try:
        with _plain_output():
            command = parse(PROGRAM, argv, COMMANDS)
            if command is not None:
                _keep_compiled_programs()
                command.run()
                sys.stdout.flush()
    except ConfigError as error:
        return _stop(2, str(error))
    except (KeyboardInterrupt, interrupts.Terminated) as end:
        number = interrupts.number_of(end)
        return _stop(interrupts.exit_status(number), interrupts.message(number))
    except BrokenPipeError:
        # the reader (`| head`) has seen enough; Python would complain once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _stop(1, f"failed: {error}")
    except MemoryError:
        return _stop(1, "failed: this machine has too little memory for it.")
    except Exception:
        # an import that was interrupted may fail as if something were missing
        if (number := interrupts.requested()) is None:
            raise
        return _stop(interrupts.exit_status(number), interrupts.message(number))
    return 0


def _stop(status: int, message: str) -> int:
    with contextlib.suppress(OSError):  # the terminal may be closed
        print(f"{PROGRAM}: {printable(message)}", file=sys.stderr)
    return status


@contextlib.contextmanager
def _plain_output() -> Iterator[None]:
    """Warnings as one line each, and no text that stdout has no characters for ends the program."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = _note
        yield


def _note(message: Warning | str, *_: object, **__: object) -> None:
    print(f"{PROGRAM}: note: {printable(' '.join(str(message).split()))}", file=sys.stderr)


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
