"""What each command hands on."""

from __future__ import annotations

from synthsae_jax import __version__, cli


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
