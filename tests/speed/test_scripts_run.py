"""Every speed script at the size of a test: its JSON's keys, and the numbers beside the times."""

from __future__ import annotations

import json
import math

import bench_evaluation
import bench_matching
import bench_parts
import bench_sampling
import bench_scaling
import bench_training
import inputs
import jax
import jax.numpy as jnp
import make_readme
import numpy as np
import pytest
import run_all

from synthsae_jax import worlds
from synthsae_jax.errors import ConfigError
from synthsae_jax.training import layout

HEAD = {"benchmark", "options", "device", "machine", "versions", "commit", "dirty", "rows"}
SHORT = ("--tiny", "--keep-compiled", "--repeats", "2")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


def run(script, results, *words):
    """The script's JSON, read back from its file."""
    name = script.__name__.removeprefix("bench_")
    file = results / f"speed-test-{name}.json"
    given = script.main([*SHORT, "--json", str(file), *words])
    read = json.loads(file.read_text())
    assert set(read) == set(given)
    assert set(read) >= HEAD
    assert read["benchmark"] == name
    assert read["versions"]["jax"]
    assert read["rows"]
    for row in read["rows"]:
        assert all(math.isfinite(v) for v in row.values() if isinstance(v, float))
    return read


def test_sampling(results):
    read = run(bench_sampling, results)
    assert read["samples_per_s"] > 0
    assert read["roofline_fraction"] > 0
    assert [row["what"] for row in read["rows"]] == ["one program", "eager"]
    assert read["samples_per_s"] == read["rows"][0]["samples_per_s"]
    row = read["rows"][0]
    # the compensated 'mini' world: sd of a token's L0 is about 2, and 2,048 are checked
    assert abs(row["l0"] - row["expected_l0"]) < 4.5 * 2.5 / 2048**0.5
    assert row["overflowed"] == 0
    assert {"lower_seconds", "compile_seconds", "first_seconds", "program_flops"} <= set(row)


def test_training(results):
    read = run(bench_training, results, "--sae", "batchtopk", "--runs", "1")
    (row,) = read["rows"]
    assert read["sae_samples_per_s"] == row["sae_samples_per_s"] > 0
    assert (read["sae"], read["runs"]) == ("batchtopk", 1)
    preset = worlds.preset("mini")
    assert row["l0"] == pytest.approx(preset.k)
    products = 12 * preset.d_sae * preset.instance.hidden_dim
    assert row["dense_flops_per_sample"] == pytest.approx(products, rel=1e-5)
    assert row["last_mse_loss"] < row["mse_loss"] * 1.1
    assert row["repeats"] == 2


# the stages that each part of a step is made of
SUMS = {
    "encode": ("product", "choice"),
    "loss": ("product", "choice", "reconstruction"),
    "value_and_grad": ("product", "choice", "reconstruction", "gradient"),
    "whole": tuple(bench_parts.STAGES.values()),
}


def test_parts(results):
    read = run(bench_parts, results, "--runs", "1")
    names = list(bench_parts.STAGES)
    of_sae = {sae: [r for r in read["rows"] if r["sae"] == sae] for sae in bench_training.SAES}
    for rows in of_sae.values():
        assert [row["part"] for row in rows] == names
        seconds = {row["part"]: row["seconds"] for row in rows}
        added = {row["stage"]: row["stage_seconds"] for row in rows}
        assert min(seconds.values()) > 0
        for part, stages in SUMS.items():
            total = sum(added[stage] for stage in stages)
            # a file's numbers have six digits
            assert total == pytest.approx(seconds[part], abs=1e-5 * max(seconds.values()))
        assert sum(row["stage_share"] for row in rows) == pytest.approx(1, abs=1e-4)
        assert min(row["roofline_fraction"] for row in rows) > 0
        losses = {row["part"]: row["mse_loss"] for row in rows if row["mse_loss"] is not None}
        assert losses["loss"] == pytest.approx(losses["value_and_grad"], rel=1e-4)
        # each is of other batches
        assert losses["whole"] == pytest.approx(losses["loss"], rel=0.3)
    whole = of_sae["batchtopk"][-1]
    assert read["step_seconds"] == whole["seconds"]
    assert read["roofline_fraction"] == whole["roofline_fraction"]
    preset = worlds.preset("mini")
    dense = 12 * 64 * preset.d_sae * preset.instance.hidden_dim / 1e9
    assert whole["needed_gflop"] == pytest.approx(dense, rel=1e-5)


@pytest.mark.parametrize("device", [layout.Device(0.0, False), layout.Device(1.0, True)])
def test_parts_put_together_are_a_step_of_training(device, monkeypatch):
    monkeypatch.setitem(layout.DEVICES, jax.default_backend(), device)
    model = inputs.load("mini")
    sae = inputs.build_sae("batchtopk", model)
    setting = bench_parts.prepared(model, sae, runs=2, batch=64, dtype="float32", steps=3)
    sparse = device.in_turn
    assert setting.program.in_turn == sparse
    assert (setting.program.rule.capacity is not None) == sparse
    parts = bench_parts.parts_of(setting, count=1)
    programs = bench_parts.chunk._cache_size()
    state = jax.tree.map(jnp.copy, setting.state)  # a chunk takes its state away
    step = (setting.program, setting.data, jnp.int32(0), state, jnp.int32(1))
    after, report, _ = bench_parts.chunk(*step)
    # programs that are fused in other ways agree but for rounding
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    updated, loss = parts["update"].result, report["mse_loss"]
    if sparse:  # in turn the last run's gradient serves for all
        updated, after, loss = jax.tree.map(
            lambda a: a[-1],
            (updated, *(jax.tree.map(lambda a: a[0], tree) for tree in (after, loss))),
        )
    jax.tree.map(close, updated, after)
    assert bench_parts.mse_loss(parts["loss"]) == pytest.approx(np.mean(loss))
    # `train` goes on with the program that the parts are taken from
    bench_parts.time_training(model, sae, 2, dtype="float32", batch=64, steps=3, chunks=1)
    assert bench_parts.chunk._cache_size() == programs


def test_scaling(results):
    read = run(bench_scaling, results, "--runs", "1", "2", "--sae", "batchtopk")
    lanes = [row for row in read["rows"] if row["curve"] == "lanes"]
    sizes = [row for row in read["rows"] if row["curve"] == "features"]
    assert [row["runs"] for row in lanes] == [1, 2]
    assert read["sae_samples_per_s"] == max(row["sae_samples_per_s"] for row in lanes)
    assert [(row["what"], -(-row["features"] // 1024) * 1024) for row in sizes] == [
        (kind, 1024) for kind in ("trees", "free")
    ]
    for row in sizes:
        # 128 tokens, and a token's L0 has an sd below 12 (trees fire in bursts)
        assert abs(row["l0"] - row["expected_l0"]) < 4.5 * 12 / 128**0.5


def test_a_curve_ends_where_time_does(results):
    words = ("--runs", "1", "2", "--sae", "batchtopk", "--curves", "lanes", "--most-seconds", "0")
    read = bench_scaling.main([*SHORT, *words])
    assert "time" in read["rows"][-1]["ended"]
    assert read["runs"] == 1


def test_evaluation(results):
    read = run(bench_evaluation, results, "--runs", "1")
    (row,) = read["rows"]
    assert read["sae_samples_per_s"] == row["sae_samples_per_s"]
    assert row["l0"] == worlds.preset("mini").k
    assert 0 < row["mcc"] < 1


def test_matching(results):
    read = run(bench_matching, results)
    assert read["pair_seconds"] > 0
    # four fifths of the firings agree
    for row in read["rows"]:
        assert row["true_pairs"] == 1
        assert 0.7 < row["mean_pearson"] < 0.85
        assert row["mean_pearson"] == pytest.approx(row["scipy_mean_pearson"], abs=1e-6)
        # float32 sums over 4,096 tokens
        assert row.get("pearson_error", 0) < 1e-4
    assert sum("pearson_error" in row for row in read["rows"]) == 3


def test_the_readme_shows_what_was_measured(results, tmp_path):
    readme = tmp_path / "README.md"
    before, after = "# Speed\n\n", "\nthe end\n"
    readme.write_text(before + make_readme.BEGIN + "old\n" + make_readme.END + after)
    words = ["--results", str(results), "--readme", str(readme)]
    make_readme.main(words)
    text = readme.read_text()
    assert text.startswith(before)
    assert text.endswith(after)
    assert "old" not in text
    for file in results.glob("speed-*.json"):
        read = json.loads(file.read_text())
        assert file.name in text
        assert f"### {read['device']}\n" in text
        assert (read["commit"] or "unknown")[:7] in text
    make_readme.main(words)
    assert readme.read_text() == text


def test_the_readme_in_the_project_is_the_one_of_its_results():
    written = make_readme.README.read_text(encoding="utf-8")
    shown = written.partition(make_readme.BEGIN)[2].partition(make_readme.END)[0]
    assert shown == make_readme.tables(make_readme.RESULTS)


def test_what_stands_is_not_run_again(tmp_path, capfd):
    words = ["--only", "startup", "--tiny", "--out", str(tmp_path)]
    assert run_all.main([*words, "--seconds", "1"]) == 3
    assert not list(tmp_path.iterdir())
    assert run_all.main(words) == 0
    (file,) = tmp_path.glob("speed-*-startup.json")
    read = json.loads(file.read_text())
    assert next(row["what"] for row in read["rows"]) == "import synthsae_jax"
    capfd.readouterr()
    assert run_all.main(words) == 0
    assert "stands in" in capfd.readouterr().out
    assert json.loads(file.read_text()) == read
    file.write_text(json.dumps(read | {"commit": "another"}))
    assert not run_all.stands(file, read["commit"], peer=False)


def test_numbers_of_another_kind_of_run_do_not_stand(tmp_path):
    file = tmp_path / "a.json"
    assert not run_all.stands(file, "c", peer=False)
    file.write_text(json.dumps({"commit": "c"}))
    assert run_all.stands(file, "c", peer=False)
    assert not run_all.stands(file, "c", peer=True)


def test_a_peer_that_is_not_there_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("SYNTHSAE_PEER_PYTHON", str(tmp_path / "python"))
    with pytest.raises(ConfigError, match=r"scripts/setup_peer.*SYNTHSAE_PEER_PYTHON"):
        bench_matching.Peer()


def test_unknown_names_and_numbers_are_refused(capsys):
    with pytest.raises(ConfigError, match="minni"):
        bench_sampling.main([*SHORT, "--preset", "minni"])
    for script in (bench_training, bench_parts):
        with pytest.raises(ConfigError, match=r"'batchtopkk'.*Did you mean 'batchtopk'"):
            script.main([*SHORT, "--sae", "batchtopkk"])
    with pytest.raises(SystemExit):
        bench_sampling.main([*SHORT, "--runs", "0"])
    assert "whole numbers from 1" in capsys.readouterr().err
