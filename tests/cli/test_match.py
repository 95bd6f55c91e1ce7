"""`synthsae match`: what it hands on and prints."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from synthsae_jax import cli, match


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

    monkeypatch.setattr(match, "match_saes", match_saes)
    monkeypatch.setattr(match, "write_match", lambda path, record: path.write_text("record"))
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
def test_match_looks_for_its_place_before_the_work(flag, record, tmp_path, only_line):
    (tmp_path / "file").write_text("mine")
    for place, said in ((tmp_path, "is a folder"), (tmp_path / "file" / "x", "is a file")):
        assert cli.main(["match", "a", "b", "--weights-only", flag, str(place)]) == 2
        assert said in only_line()
    assert record.calls == []
    assert (tmp_path / "file").read_text() == "mine"


def test_a_mistake_leaves_the_outputs_as_they_are(tmp_path, only_line):
    out = tmp_path / "record.json"
    out.write_text("mine")
    assert cli.main(["match", "a", "b", "--weights-only", "--out", str(out)]) == 2
    assert "no SAE at 'a'" in only_line()
    assert out.read_text() == "mine"
