"""The pages that benchmarks register, from rows as they make them."""

import json

import pytest

from synthsae_jax.errors import ConfigError
from synthsae_jax.io import manifest, results
from synthsae_jax.io.rows import make_row
from synthsae_jax.report import build
from synthsae_jax.suite import Result

RULES = ("best_correlation_0.1", "decoder_cosine_0.7_aligned")
NAMES = dict(zip(RULES, ("best correlation > .1", "decoder cosine > .7, aligned")))


def recovery_rows(benchmark, labels=("topk", "batchtopk"), arm="{}"):
    rows = []
    for label, f1 in zip(labels, (0.5, 0.4)):
        for instance in range(2):
            for metric, value in (("f1", f1), ("mcc", 0.6), ("l0", 5.0)):
                about = {"run_id": f"{label}{instance}", "instance": instance}
                rows.append(
                    make_row(
                        benchmark=benchmark,
                        step=10,
                        metric=metric,
                        value=value + instance / 100,
                        world="micro",
                        world_seed=1,
                        sae=label,
                        init_seed=instance,
                        target_l0=4.7,
                        n_train=1000,
                        n_eval=2048,
                        factor_arm=arm.format(label.split()[0]),
                        **about,
                    )
                )
    return rows


def pair_rows(benchmark, arm):
    true = {
        "features_shared": 1.0,
        "true_universality": 0.3,
        "true_universality_least": 0.1,
        "true_universality_most": 0.5,
    }
    of_rule = {"declared": 0.9, "sharing_error": 0.1, "precision": 0.25}
    numbers = {(metric, "truth"): value for metric, value in true.items()}
    numbers |= {(metric, rule): value for metric, value in of_rule.items() for rule in RULES}
    numbers["median_firings", "held"] = 600.0
    return [
        make_row(
            benchmark=benchmark,
            run_id="a",
            run_id_b=condition,
            step=10,
            metric=metric,
            value=value,
            variant=variant,
            condition=condition,
            world="mini",
            world_seed=1,
            sae="topk",
            instance=0,
            instance_b=1,
            n_eval=8192,
            factor_arm=arm,
        )
        for condition in ("rotated", "independent")
        for (metric, variant), value in numbers.items()
    ]


def folder_of(path, benchmark, rows):
    made = manifest.make_manifest(benchmark, "smoke", "0" * 64, {}, {})
    manifest.write_manifest(path, manifest.finish(made, "completed"))
    results.write_rows(path / results.RESULTS, rows)
    return Result(path)


@pytest.fixture
def quick(tmp_path):
    labels = ("topk k=10", "batchtopk k=10")
    rows = recovery_rows("quick@1", labels, "artefact {}") + pair_rows("quick@1", "family topk")
    return folder_of(tmp_path, "quick@1", rows)


def test_the_main_jobs_page_has_recovery_and_sharing(quick):
    assert quick.figure_names() == ("recovery", "sharing-topk-k-4")
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
    figures = ("recovery", "sharing-topk-k-4")
    assert names == {f"{figure}.{kind}" for figure in figures for kind in ("svg", "csv")}
    assert "rotated" in (out / "figures" / "sharing-topk-k-4.csv").read_text()


def test_universality_sums_up_each_rules_error(tmp_path):
    result = folder_of(tmp_path, "universality@1", pair_rows("universality@1", "topk"))
    lines = str(result.summary()).splitlines()
    of_rule = {rule: next(line for line in lines if name in line) for rule, name in NAMES.items()}
    # the cosine is meant for rotated models, not for those with directions of their own
    assert all(line.count("0.100") == 2 for line in of_rule.values())


def test_recovery_names_its_target(tmp_path):
    result = folder_of(tmp_path, "recovery@1", recovery_rows("recovery@1"))
    build(tmp_path)
    assert "L0 4.7" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert result.figure_names() == ("recovery",)
    assert json.loads((tmp_path / "manifest.json").read_text())["benchmark"] == "recovery@1"
