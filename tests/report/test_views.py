"""The pages that benchmarks register, from rows as they make them."""

import json

import pytest

from synthsae_jax.errors import ConfigError
from synthsae_jax.io import manifest, results
from synthsae_jax.io.rows import make_row
from synthsae_jax.report import build
from synthsae_jax.suite import Result

RULES = ("best_correlation_0.1", "decoder_cosine_0.7_aligned")


def recovery_rows(benchmark):
    rows = []
    for sae, f1 in (("topk", 0.5), ("batchtopk", 0.4)):
        for instance in range(2):
            for metric, value in (("f1", f1), ("mcc", 0.6), ("l0", 5.0)):
                about = {"run_id": f"{sae}{instance}", "instance": instance, "init_seed": instance}
                rows.append(
                    make_row(
                        benchmark=benchmark,
                        step=10,
                        metric=metric,
                        value=value + instance / 100,
                        world="micro",
                        world_seed=1,
                        sae=sae,
                        target_l0=4.7,
                        n_train=1000,
                        n_eval=2048,
                        factor_arm=sae,
                        **about,
                    )
                )
    return rows


def pair_rows(benchmark):
    found = {
        "declared_shared": 0.9,
        "features_shared": 1.0,
        "sharing_error": 0.1,
        "true_universality": 0.3,
        "true_universality_least": 0.1,
        "true_universality_most": 0.5,
        "precision": 0.25,
        "median_firings": 600.0,
    }
    return [
        make_row(
            benchmark=benchmark,
            run_id="a",
            run_id_b=condition,
            step=10,
            metric=metric,
            value=value,
            variant=rule,
            condition=condition,
            world="mini",
            world_seed=1,
            sae="topk",
            instance=0,
            instance_b=1,
            same_instance=False,
            same_init=False,
            same_data=False,
            same_dictionary=False,
            n_eval=8192,
            factor_stated_use=condition == "rotated",
        )
        for condition in ("rotated", "independent")
        for rule in RULES
        for metric, value in found.items()
    ]


def folder_of(path, benchmark, rows):
    made = manifest.make_manifest(benchmark, "smoke", "0" * 64, {}, {})
    manifest.write_manifest(path, manifest.finish(made, "completed"))
    results.write_rows(path / results.RESULTS, rows)
    return Result(path)


@pytest.fixture
def quick(tmp_path):
    rows = recovery_rows("quick@1") + pair_rows("quick@1")
    return folder_of(tmp_path, "quick@1", rows)


def test_the_main_jobs_page_has_recovery_and_sharing(quick):
    assert quick.figure_names() == ("recovery", "sharing-topk")
    first, second = (str(table) for table in quick.tables())
    assert "0.505" in first
    row = next(line for line in second.splitlines() if line.startswith("rotated"))
    assert "100 %" in row
    assert "30 % (10-50)" in row
    assert "90 %, 25 % right" in row
    outside = next(line for line in second.splitlines() if line.startswith("independent"))
    assert "(90 %, 25 % right)" in outside  # bracketed: not the rule's stated use


def test_a_result_shows_itself_in_a_notebook(quick):
    assert quick._repr_html_().startswith("<")
    assert quick.figure("recovery").data.rows
    assert "completed" in repr(quick)
    with pytest.raises(ConfigError, match="Did you mean 'recovery'"):
        quick.figure("recovry")


def test_the_page_and_figures_are_written_with_their_numbers(quick, tmp_path):
    out = tmp_path / "elsewhere"
    build(quick.folder, figures=("svg",), width="column", out=out)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "PILOT" in page
    assert "src=" not in page  # nothing is fetched: figures are inside
    names = {p.name for p in (out / "figures").iterdir()}
    assert names == {"recovery.svg", "recovery.csv", "sharing-topk.svg", "sharing-topk.csv"}
    assert "rotated" in (out / "figures" / "sharing-topk.csv").read_text()


def test_universality_sums_up_each_rules_error(tmp_path):
    result = folder_of(tmp_path, "universality@1", pair_rows("universality@1"))
    text = str(result.summary())
    assert text.count("0.100") == 2 * len(RULES)


def test_recovery_names_its_target(tmp_path):
    result = folder_of(tmp_path, "recovery@1", recovery_rows("recovery@1"))
    build(tmp_path)
    assert "L0 4.7" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert result.figure_names() == ("recovery",)
    assert json.loads((tmp_path / "manifest.json").read_text())["benchmark"] == "recovery@1"
