"""One helpful line for every wrong input."""

from __future__ import annotations

import sys
from io import BytesIO, TextIOWrapper

import pytest

from synthsae_jax import cli
from synthsae_jax.errors import ConfigError
from synthsae_jax.experiments import quick

WRONG = {
    "no command": ("", "Known: list, quick, run"),
    "a command nobody knows": ("rnu probe@1", "Unknown command 'rnu'. Did you mean 'run'?"),
    "a flag before the command": ("--scale small run probe@1", "Unknown command '--scale'"),
    "nothing to run": ("run", "NAME is missing"),
    "one SAE of two": ("match only --weights-only", "two SAEs or more; given 1"),
    "no SAE": ("match --weights-only", "two SAEs or more; given 0"),
    "nothing to match by": ("match a b", "given none"),
    "two ways to match": ("match a b --weights-only --acts x.npy", "given acts and weights_only"),
    "activations that are not there": ("match a b --acts x.npy", "no file 'x.npy'"),
    "a prior that is no number": ("match a b --prior hi", "'estimate'; got 'hi'"),
    "a protocol nobody knows": (
        "match a b --weights-only --protocols song2024",
        "'song2024'. Did you mean 'song2025'?",
    ),
    "a flag nobody knows": ("run probe@1 --scal small", "'--scal'. Did you mean '--scale'?"),
    "a flag of another command": ("quick --scale small", "Unknown flag of 'quick' '--scale'"),
    "a short flag": ("run probe@1 -s", "Unknown flag of 'run' '-s'"),
    "a scale nobody knows": ("run probe@1 --scale smok", "'smok'. Did you mean 'smoke'?"),
    "a flag without its value": ("run probe@1 --out", "--out"),
    "a word too many": ("run probe@1 twice", "no argument takes 'twice'"),
    "a number that is none": ("score . --samples many", "'many'"),
    "samples for ever": ("score . --samples 10000000000000000000000", "at most 2,147,483,647"),
    "no samples": ("score . --samples 0", "--samples must be at least 1, got 0"),
    "a cosine of 3": ("match . . --threshold 3", "threshold must be in [-1, 1]; given 3.0"),
    "a benchmark nobody knows": ("run prob@1", "Unknown benchmark 'prob@1'. Did you mean 'probe@1"),
    "no hexadecimal digits": ("run probe@1 --salt xyz", "got 'xyz'"),
    "an empty salt": ("run probe@1 --salt=", "got ''"),
    "a format nobody knows": ("report . --figures pfd", "'pfd'. Did you mean 'pdf'?"),
    "a folder that is not there": ("report nowhere", "no folder 'nowhere'"),
    "an SAE that is not there": ("score nowhere", "no folder 'nowhere'"),
    "the SAE is not there": ("match nowhere . --weights-only", "no SAE at 'nowhere'"),
    "a name nobody explains": ("explain svca", "Unknown name 'svca'. Did you mean 'svcca'?"),
    "a file in the place of a folder": ("quick --out a_file/deep", "a_file' is a file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_line_and_status_two(case, bench, tmp_path, monkeypatch, only_line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").write_text("mine")
    words, said = WRONG[case]
    assert cli.main(words.split()) == 2
    assert said in only_line()
    assert bench == []
    assert [path.name for path in tmp_path.iterdir()] == ["a_file"]


@pytest.mark.parametrize("columns", ["20", "400"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("terminal", [True, False])
def test_the_line_is_the_same_on_every_terminal(columns, encoding, terminal, monkeypatch, capsys):
    # what the library prints has the terminal's width, its colours, and frames only in UTF-8
    monkeypatch.setenv("COLUMNS", columns)
    stdout = TextIOWrapper(BytesIO(), encoding=encoding)
    monkeypatch.setattr(stdout, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stdout", stdout)
    for words, line in {
        "score": "score: SAE_DIR is missing; 'synthsae score --help' says more.",
        "run x --scale some-long-word-thats-no-scale": "Unknown value of --scale "
        "'some-long-word-thats-no-scale'. Known: full, small, smoke, standard.",
        "run x twice": "run: no argument takes 'twice'; 'synthsae run --help' says more.",
    }.items():
        assert cli.main(words.split()) == 2
        assert capsys.readouterr().err == f"synthsae: {line}\n"


def test_errors_from_below_are_folded_into_one_line(bench, monkeypatch, only_line):
    def broken(**options):
        raise ConfigError("The artefact is broken:\n  hierarchy.json ends early.")

    monkeypatch.setattr(quick, "run", broken)
    assert cli.main(["quick"]) == 2
    assert only_line() == "synthsae: The artefact is broken: hierarchy.json ends early.\n"
