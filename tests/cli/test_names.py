"""Names are data: what a terminal would obey is shown, and no name loses a result."""

from __future__ import annotations

import json
import os
import sys
import warnings
from io import BytesIO, TextIOWrapper
from types import SimpleNamespace

import numpy as np
import pytest

from synthsae_jax import cli, match, report
from synthsae_jax.cli.output import say
from synthsae_jax.experiments import quick

ESCAPES = {
    "a colour": ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
    "a title": ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
    "in eight bits": ("\x9b2J", "\\x9b2J"),
    "a return": ("done\rfailed", "done\\rfailed"),
    "a backspace": ("ab\x08c", "ab\\x08c"),
    "another direction": ("\u202egnp.exe", "\\u202egnp.exe"),
    "no UTF-8": (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
}


@pytest.mark.parametrize("case", ESCAPES)
def test_an_error_shows_a_name_as_it_is(case, capsys):
    name, shown = ESCAPES[case]
    for words in (
        ["score", name],
        ["report", name],
        [name],
        ["run", name],
        ["explain", name],
        ["quick", f"--{name}"],
        ["match", "a", "b", "--weights-only", "--protocols", name],
    ):
        assert cli.main(words) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert error.rstrip("\n").isprintable()
        if words[0] in ("score", "report"):
            assert shown in error


@pytest.mark.parametrize("case", ESCAPES)
def test_a_table_shows_a_name_as_it_is(case, monkeypatch, tmp_path, capsys):
    name, shown = ESCAPES[case]
    table = SimpleNamespace(tables=lambda: [f"sae  f1\n{name}  .5"])
    monkeypatch.setattr(quick, "run", lambda out: out.mkdir() or table)
    monkeypatch.setattr(report, "build", lambda folder: None)
    assert cli.main(["quick", "--out", str(tmp_path / "q")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"sae  f1\n{shown}  .5\n")
    assert printed.replace("\n", "").isprintable()
    assert (tmp_path / "q" / "summary.txt").exists()


def test_spaces_lines_and_letters_stay_as_they_are(capsys):
    say("a\u00a0b\u2009c\n  ü 学 😀")
    assert capsys.readouterr().out == "a\u00a0b\u2009c\n  ü 学 😀\n"


def test_a_warning_is_one_line_of_ours(monkeypatch, tmp_path, capsys):
    def run(out):
        warnings.warn("of two lines,\nand \x1b[31mred", stacklevel=1)
        out.mkdir()
        return SimpleNamespace(tables=list)

    monkeypatch.setattr(quick, "run", run)
    monkeypatch.setattr(report, "build", lambda folder: None)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert cli.main(["quick", "--out", str(tmp_path / "q")]) == 0
    assert capsys.readouterr().err == "synthsae: note: of two lines, and \\x1b[31mred\n"


def test_a_terminal_without_the_letters_does_not_stop_the_program(monkeypatch):
    stdout = TextIOWrapper(BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert cli.main(["explain", "svcca"]) == 0
    say("ü")
    stdout.flush()
    assert stdout.buffer.getvalue().endswith(b"\\xfc\n")


@pytest.mark.skipif(sys.platform != "linux", reason="names there are UTF-8")
def test_a_match_of_any_name_is_written_printed_and_read_back(tmp_path, capsys):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\x1b[31m")
    os.mkdir(folder)
    rows = np.random.default_rng(0).normal(size=(12, 6)).astype(np.float32)
    names = [os.path.join(folder, name) for name in (os.fsdecode(b"\xff.npz"), "\x1b[2J.npz")]
    for name in names:
        np.savez(name, W_dec=rows)
    out, page = (os.path.join(folder, name) for name in ("record.json", "page.html"))
    words = ["match", *names, "--weights-only", "--protocols", "none", "--draws", "0"]
    assert cli.main([*words, "--out", out, "--page", page]) == 0
    printed = capsys.readouterr()
    assert (printed.out + printed.err).replace("\n", "").isprintable()
    assert "\\xff.npz" in printed.out
    record = match.read_match(out)
    assert [sae["name"] for sae in record["provenance"]["saes"]] == ["\\xff.npz", "\\x1b[2J.npz"]
    assert "\x1b" not in json.dumps(record, ensure_ascii=False)
    with open(page, encoding="utf-8") as file:
        assert "\x1b" not in file.read()
