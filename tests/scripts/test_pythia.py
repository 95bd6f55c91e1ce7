"""Assignments between seeds of one SAE, on a planted file of the published one's format."""

import itertools
import json
import runpy
from pathlib import Path

import numpy as np
import pytest

import pythia
from synthsae_jax.errors import ConfigError
from synthsae_jax.matching import Matching, cycle_consistency

SEEDS, L, COMMON = (1, 2, 3, 4, 5), 400, 240
SCRIPT = Path(__file__).resolve().parents[2] / "scripts/pythia_seeds"


@pytest.fixture(scope="module")
def planted():
    """Where feature g stands in each seed, and arrays: features below COMMON are everybody's.

    All others are assigned at random, by decoder and by encoder on their own. Pair 1, 2 is missing.
    """
    rng = np.random.default_rng(0)
    place = {s: rng.permutation(L) for s in SEEDS}
    arrays = {}
    for i, j in itertools.combinations(SEEDS, 2):
        for kind in ("decoder", "encoder"):
            partner = np.concatenate([np.arange(COMMON), COMMON + rng.permutation(L - COMMON)])
            to = np.empty(L, np.uint16)
            to[place[i]] = place[j][partner]
            if (i, j) != (1, 2):
                arrays[f"{kind}_{i}_{j}"] = to
    return place, arrays


@pytest.fixture(scope="module")
def folder(planted, tmp_path_factory):
    path = tmp_path_factory.mktemp("seeds")
    np.savez(path / "assignments.npz", **planted[1])
    return path


@pytest.fixture(scope="module")
def data(folder):
    return pythia.load(folder)


def test_what_is_read_is_what_was_written(data, folder, planted):
    assert (data.seeds, data.width) == (SEEDS, L)
    assert (1, 2) not in data.decoder
    assert data.complete == (3, 4, 5)
    assert len(data.triples) == 10 - 3
    assert np.array_equal(data.encoder[2, 5], planted[1]["encoder_2_5"])
    assert pythia.load(folder / "assignments.npz").seeds == SEEDS


def test_shares_by_brute_force_and_as_planted(data):
    dec, enc = data.decoder, data.encoder
    for (i, j, k), share in pythia.cycles(data).items():
        closed = [dec[j, k][dec[i, j][a]] == dec[i, k][a] for a in range(L)]
        assert share == np.mean(closed)
        as_matching = [
            Matching(np.arange(L), dec[p], np.zeros(L), np.ones(L, bool))
            for p in ((i, j), (j, k), (i, k))
        ]
        assert share == pytest.approx(cycle_consistency(*as_matching)["cycle_consistency"])
    for pair, share in pythia.agreement(data).items():
        assert share == np.mean([dec[pair][a] == enc[pair][a] for a in range(L)])
    # the other 160 latents meet by chance, about one of them in each random matching
    for shares in (pythia.cycles(data), pythia.cycles(data, "encoder"), pythia.agreement(data)):
        values = np.array(list(shares.values()))
        assert (values >= COMMON / L).all()
        assert values.mean() < (COMMON + 4) / L
    agreed = pythia.agreed_cycles(data)
    assert min(agreed["agreed"].values()) >= COMMON / L
    assert min(agreed["closed"].values()) > 0.98


def test_returns_count_the_seeds_a_latent_comes_back_in(data, planted):
    place, _ = planted
    groups = pythia.group(data)
    for g in range(COMMON):
        numbers = {int(groups[n][place[s][g]]) for n, s in enumerate(SEEDS)}
        assert len(numbers) == 1
        assert numbers != {-1}
    for share in (0.0, 0.5):
        counts = pythia.returns_by_cycles(data, share)
        for s in (3, 4, 5):
            assert (counts[s][place[s][:COMMON]] == 4).all()
            assert counts[s][place[s][COMMON:]].mean() < 0.2
    # what pairs without a third seed behind them join is what chance joined
    backed = pythia.group(data, 0.5)
    for n, s in enumerate(SEEDS):
        assert (backed[n][place[s][:COMMON]] >= 0).all()
        lone = backed[n][place[s][COMMON:]] == -1
        assert lone.mean() > 0.9
        assert lone.mean() >= (groups[n][place[s][COMMON:]] == -1).mean()


def test_any_order_of_a_triple_gives_the_same_share(data):
    to = data.both_ways("decoder")
    for i, j, k in itertools.permutations((3, 4, 5)):
        again = np.mean(to[j, k][to[i, j]] == to[i, k])
        assert again == pythia.cycles(data)[3, 4, 5]


def test_the_script_writes_what_the_analysis_says(data, folder, tmp_path, capsys):
    out = tmp_path / "found.json"
    runpy.run_path(str(SCRIPT))["main"]([str(folder), "--out", str(out)])
    said = json.loads(capsys.readouterr().out)
    found = json.loads(out.read_text())
    expected = pythia.analyse(data)
    assert json.loads(json.dumps(expected)).items() <= found.items()
    assert found["compared"]["decoder_cycles"]["ours"] == expected["decoder_cycles"]["mean"]
    assert not found["compared"]["decoder_cycles"]["within"]  # planted at .6, known at .52
    assert said["returns"] == found["returns"]
    for counts in ("groups", "one_third_seed_agrees", "most_third_seeds_agree"):
        assert sum(found["returns"][counts]["share_by_count"]) == pytest.approx(1, abs=1e-4)
        assert found["returns"][counts]["share_by_count"][-1] >= COMMON / L


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decoder_1_3": np.zeros(L, np.uint16)}, "no permutation"),
        ({"decoder_3_1": np.arange(L)}, "i < j"),
        ({"bias_1_3": np.arange(L)}, "are named"),
        ({"decoder_1_6": np.arange(L)}, "by decoder and by encoder"),
        ({"decoder_1_3": np.arange(L - 1)}, "no permutation"),
    ],
)
def test_a_file_that_is_something_else_is_refused_in_one_line(change, said, planted, tmp_path):
    np.savez(tmp_path / "assignments.npz", **{**planted[1], **change})
    with pytest.raises(ConfigError, match=said) as refused:
        pythia.load(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_folder_without_the_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no assignments\.npz"):
        pythia.load(tmp_path)
