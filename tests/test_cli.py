"""The command line: what each command hands on, and one helpful line for every wrong input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax import __version__, cli, io, metrics, report, suite
from synthsae_jax.errors import ConfigError


@pytest.fixture
def bench(monkeypatch):
    """A suite of one benchmark and a page builder that only take down how they were called."""
    calls = []

    def result(call):
        def made(*args, out, **options):
            calls.append((call, *args, out, options))
            out.mkdir(parents=True, exist_ok=True)
            return SimpleNamespace(tables=lambda: ["F1 .5"])

        return made

    monkeypatch.setattr(suite, "names", lambda: ("probe@1",), raising=False)
    monkeypatch.setattr(suite, "describe", lambda name: f"{name}: a probe", raising=False)
    monkeypatch.setattr(suite, "plan", lambda name, **o: f"{name} {o}: 3 runs", raising=False)
    monkeypatch.setattr(suite, "run", result("run"), raising=False)
    monkeypatch.setattr(suite, "quick", result("quick"), raising=False)
    page = lambda folder, **options: calls.append(("page", folder, options))
    monkeypatch.setattr(report, "build", page, raising=False)
    return calls


# --- what is handed on ----------------------------------------------------------------------


def test_run_hands_on_scale_and_place_and_keeps_the_table(bench, tmp_path, capsys):
    out = tmp_path / "a folder" / "deep"
    assert cli.main(["run", "probe@1", "--scale", "small", "--out", str(out)]) == 0
    assert bench == [("run", "probe@1", out, {"scale": "small"}), ("page", out, {})]
    assert (out / "summary.txt").read_text() == "F1 .5\n"
    assert capsys.readouterr().out == f"F1 .5\n\nThe page: {out / 'report.html'}\n"


def test_run_has_a_place_of_its_own_for_each_scale(bench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "probe@1", "--salt", "00fF"]) == 0
    assert (tmp_path / "runs" / "probe-1-smoke" / "summary.txt").is_file()
    assert bench[0][-1] == {"scale": "smoke", "salt": "00ff"}


def test_dry_run_computes_nothing(bench, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "probe@1", "--dry-run"]) == 0
    assert "3 runs" in capsys.readouterr().out
    assert bench == []
    assert list(tmp_path.iterdir()) == []


def test_quick(bench, tmp_path, capsys):
    assert cli.main(["quick", "--out", str(tmp_path / "q")]) == 0
    assert bench[0] == ("quick", tmp_path / "q", {})
    assert "F1 .5" in capsys.readouterr().out


def test_report_hands_on_formats_and_width(bench, tmp_path):
    words = ["report", str(tmp_path), "--figures", "pdf,svg", "--width", "page"]
    assert cli.main(words) == 0
    options = {"figures": ("pdf", "svg"), "width": "page", "out": tmp_path}
    assert bench == [("page", tmp_path, options)]


def test_list_names_everything_that_is_registered(bench, capsys):
    assert cli.main(["list"]) == 0
    printed = capsys.readouterr().out
    assert "probe@1: a probe" in printed
    for name in ("synthsaebench-16k", "batchtopk", "decoder_cosine", "assignment", "svcca"):
        assert name in printed


def test_explain_prints_every_field(capsys):
    assert cli.main(["explain", "svcca"]) == 0
    printed = capsys.readouterr().out
    for word in ("svcca (similarity measure)", "formula:", "range:", "undefined:", "1706.05806"):
        assert word in printed


def test_help_and_version_are_no_errors(capsys):
    for words in (["--help"], ["run", "--help"], ["--version"]):
        assert cli.main(words) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert __version__ in captured.out
    for name in cli.COMMANDS:
        assert name in captured.out


def test_verbs_of_later_work_are_not_offered(capsys):
    for word in ("sweep", "verify", "cite", "leaderboard"):
        assert cli.main([word, "x"]) == 2
    assert capsys.readouterr().err.count("Unknown command") == 4


# --- SAE folders ----------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """SAE folders whose decoders are known; loading them is tested with the loader."""
    rng = np.random.default_rng(0)
    first = np.linalg.qr(rng.normal(size=(6, 6)))[0].astype(np.float32)
    # rows 0 to 3 of the second are rows 3 to 0 of the first; its last two point the other way
    second = np.concatenate([first[3::-1], -first[4:]])
    rows = {"a": first, "b": second, "narrow": first[:, :4]}
    for name in rows:
        (tmp_path / name).mkdir()

    def load(path):
        return "sae", SimpleNamespace(W_dec=jnp.asarray(rows[path.name]))

    monkeypatch.setattr(io, "load_saelens_sae", load, raising=False)
    return {name: str(tmp_path / name) for name in rows}


@pytest.fixture
def record(monkeypatch):
    """Two SAEs matched: a record with all that is printed, and how it was asked for."""
    calls = []
    line = {
        "protocol": "song2025",
        "number": "pw_mcc",
        "value": 0.5,
        "null": "random_dictionary",
        "null_mean": 0.25,
        "p": 0.01,
        "reason": None,
    }
    pair = {
        "a": 0,
        "b": 1,
        "matched": 4,
        "score": "decoder_cosine",
        "threshold": 0.7,
        "above_threshold": 3,
        "with_credence": 2,
        "expected_same": 1.5,
        "no_credence": {"outside the support": 2},
        "summary": [line],
    }
    saes = [{"name": "a", "d_sae": 6}, {"name": "b", "d_sae": 5}]
    made = {"provenance": {"saes": saes}, "pairs": [pair], "many": None}

    def match_saes(paths, **options):
        calls.append((paths, options))
        return made

    monkeypatch.setattr(suite, "match_saes", match_saes)
    monkeypatch.setattr(suite, "write_match", lambda path, record: path.write_text("record"))
    return SimpleNamespace(calls=calls, made=made)


def test_match_hands_on_its_choices(record, tmp_path):
    words = "match a b --acts x.npy y.npy --prior .3 --protocols song2025,ours@1 --draws 9 --seed 2"
    assert cli.main([*words.split(), "--same-space", "yes", "--threshold", "-.5"]) == 0
    paths, options = record.calls[0]
    assert paths == (Path("a"), Path("b"))
    assert options == {
        "acts": (Path("x.npy"), Path("y.npy")),
        "codes": (),
        "weights_only": False,
        "prior": 0.3,
        "protocols": ("song2025", "ours@1"),
        "draws": 9,
        "seed": 2,
        "threshold": -0.5,
        "same_space": "yes",
        "quiet": False,
    }
    assert cli.main(["match", "a", "b", "c", "--weights-only", "--protocols", "none"]) == 0
    _, options = record.calls[1]
    assert (options["weights_only"], options["prior"]) == (True, "estimate")
    assert options["protocols"] == ()
    assert cli.main(["match", "a", "b", "--codes", "a.npz", "b.npz"]) == 0
    assert record.calls[2][1]["protocols"] is None


def test_match_prints_a_short_table_and_keeps_the_record(record, tmp_path, capsys):
    out = tmp_path / "deep" / "record.json"
    out.parent.mkdir()
    assert cli.main(["match", "a", "b", "--weights-only", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(
        "a (6 latents) and b (5): 4 pairs by decoder cosine, 3 of them at 0.7 or above; 1.5 of 2 "
        "with a credence are expected true.\n  no credence for 2: outside the support\n"
    )
    for word in ("song2025", "pw_mcc", "random_dictionary", f"The record: {out}"):
        assert word in printed
    assert out.read_text() == "record"


def test_match_says_how_many_cycles_close(record, capsys):
    record.made["many"] = {"mean": {"cycle_consistency": 0.5}}
    assert cli.main(["match", "a", "b", "c", "--weights-only"]) == 0
    assert "0.50 of the cycles close (chance 0.2 or less)" in capsys.readouterr().out
    record.made["many"] = {"mean": {"cycle_consistency": None}}
    assert cli.main(["match", "a", "b", "c", "--weights-only"]) == 0
    assert "no latent goes round" in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["--out", "--page"])
def test_match_looks_for_its_place_before_the_work(flag, record, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for place, said in ((tmp_path, "is a folder"), (tmp_path / "file" / "x", "is a file")):
        assert cli.main(["match", "a", "b", "--weights-only", flag, str(place)]) == 2
        assert said in only_line(capsys)
    assert record.calls == []
    assert (tmp_path / "file").read_text() == "mine"


def test_a_mistake_leaves_the_outputs_as_they_are(tmp_path, capsys):
    out = tmp_path / "record.json"
    out.write_text("mine")
    assert cli.main(["match", "a", "b", "--weights-only", "--out", str(out)]) == 2
    assert "no SAE at 'a'" in only_line(capsys)
    assert out.read_text() == "mine"


@pytest.fixture
def evaluated(monkeypatch):
    """A model of six dimensions, and numbers of an evaluation."""
    calls = []

    def evaluate(world, instance, sae, params, n_samples, seed):
        calls.append((world, sae, n_samples, seed))
        return {"mcc": jnp.float32(0.5), "f1": 0.25}

    model = lambda path: (str(path), SimpleNamespace(hidden_dim=6))
    monkeypatch.setattr(io, "load_saelens_model", model, raising=False)
    monkeypatch.setattr(metrics, "evaluate", evaluate, raising=False)
    return calls


def test_score_uses_the_packaged_model_unless_told(folders, evaluated, golden, tmp_path, capsys):
    target = tmp_path / "scores.json"
    words = ["score", folders["a"], "--samples", "1000", "--json", str(target)]
    assert cli.main(words) == 0
    assert evaluated == [(str(golden / "saelens-1k"), "sae", 1000, 0)]
    assert capsys.readouterr().out.split() == ["mcc", "0.5000", "f1", "0.2500"]
    assert json.loads(target.read_text()) == {"mcc": 0.5, "f1": 0.25}
    assert cli.main(["score", folders["a"], "--model", "elsewhere"]) == 0
    assert evaluated[-1][0] == "elsewhere"


def test_score_names_a_model_that_does_not_fit(folders, evaluated, capsys):
    assert cli.main(["score", folders["narrow"]]) == 2
    assert "reads 4 dimensions, but the model has 6" in only_line(capsys)
    assert evaluated == []


# --- wrong input ----------------------------------------------------------------------------


def only_line(capsys) -> str:
    """What was said: exactly one line on stderr, nothing on stdout, and no trace of Python."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("synthsae: ")
    assert captured.err.endswith("\n")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    assert not set(captured.err) & set("╭│╰─")
    return captured.err


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
def test_wrong_input_is_one_line_and_status_two(case, bench, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").write_text("mine")
    words, said = WRONG[case]
    assert cli.main(words.split()) == 2
    assert said in only_line(capsys)
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


def test_errors_from_below_are_folded_into_one_line(bench, monkeypatch, capsys):
    def broken(**options):
        raise ConfigError("The artefact is broken:\n  hierarchy.json ends early.")

    monkeypatch.setattr(suite, "quick", broken)
    assert cli.main(["quick"]) == 2
    assert only_line(capsys) == "synthsae: The artefact is broken: hierarchy.json ends early.\n"


# --- other ends -----------------------------------------------------------------------------


def ends_with(monkeypatch, error):
    def stops(**options):
        raise error

    monkeypatch.setattr(suite, "quick", stops)
    return cli.main(["quick"])


def test_interrupt_is_130_and_one_line(bench, monkeypatch, capsys):
    assert ends_with(monkeypatch, KeyboardInterrupt()) == 130
    assert only_line(capsys) == "synthsae: interrupted.\n"


def test_a_full_disk_is_1_and_one_line(bench, monkeypatch, capsys):
    assert ends_with(monkeypatch, OSError(28, "No space left on device", "rows.jsonl")) == 1
    assert "No space left on device: 'rows.jsonl'" in only_line(capsys)


def test_a_mistake_of_ours_keeps_its_traceback(bench, monkeypatch):
    # Python ends such a program with status 1 and shows where it happened
    with pytest.raises(ZeroDivisionError):
        ends_with(monkeypatch, ZeroDivisionError("ours"))


def synthsae(*words, **options):
    command = [sys.executable, "-m", "synthsae_jax", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_the_module_is_the_command():
    done = synthsae("rnu")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "synthsae: Unknown command 'rnu'. Did you mean 'run'? "
        "Known: explain, list, match, quick, report, run, score.\n"
    )


def test_compiled_programs_are_kept_where_the_user_says(bench, tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cli.main(["run", "probe@1", "--dry-run"]) == 0
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "cache/synthsae_jax/xla")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "mine")
    assert cli.main(["run", "probe@1", "--dry-run"]) == 0
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "mine"


def test_a_home_that_cannot_be_written_to_is_no_reason_to_stop(bench, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file, where a folder would have to be made")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cli.main(["run", "probe@1", "--dry-run"]) == 0
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
