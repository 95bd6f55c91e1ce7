"""proxies@1: proxies on planted codes, planted rows to claims and page, the smallest cell."""

import numpy as np
import pytest
from scipy import sparse

from synthsae_jax.experiments.proxies import experiment
from synthsae_jax.experiments.proxies.claims import (
    CLAIMS,
    area_of,
    rank_with_f1,
    stable_but_untrue,
)
from synthsae_jax.experiments.proxies.latents import PROXIES, Seen, latent_proxies
from synthsae_jax.io.rows import make_row
from synthsae_jax.report.folder_page import pages
from synthsae_jax.report.views import summary  # noqa: F401  registers the pages
from synthsae_jax.suite.claims import judge
from synthsae_jax.suite.study import Subject

COMMON, OWN = 80, 60


def seen(seed, signal, directions):
    """An SAE with the common latents first, and latents of its own after them."""
    rng = np.random.default_rng(seed)
    own = (rng.random((len(signal), OWN)) < 0.03) * (1 + rng.random((len(signal), OWN)))
    rows = np.vstack([directions, rng.normal(size=(OWN, directions.shape[1]))])
    subject = Subject("planted", None, None, None, rows.astype(np.float32), rows)  # type: ignore
    codes = sparse.csr_matrix(np.hstack([signal, own]).astype(np.float32))
    return Seen(subject, codes, {}, {})


def test_every_proxy_tells_common_latents_from_others():
    rng = np.random.default_rng(1)
    signal = (rng.random((20_000, COMMON)) < 0.03) * (1 + rng.random((20_000, COMMON)))
    directions = rng.normal(size=(COMMON, 64))
    group = [seen(s, signal, directions) for s in range(3)]
    found = latent_proxies(group, [seen(7, signal, directions)], [seen(8, signal, directions)])
    common = np.arange(COMMON + OWN) < COMMON
    for name in set(PROXIES) - {"firing_rate", "encoder_decoder"}:
        values = found[0][name]
        assert values[common].min() > values[~common].max(), name
    # tied directions say nothing here
    np.testing.assert_allclose(found[0]["encoder_decoder"], 1, rtol=1e-5)


def test_areas_are_those_of_the_counts():
    assert area_of(np.array([0, 5]), np.array([5, 0])) == 1
    assert area_of(np.array([5, 5]), np.array([5, 5])) == 0.5
    assert np.isnan(area_of(np.array([1]), np.array([0])))


def planted_rows(n_worlds=5):
    """A fifth of what seeds reproduce is untrue in trees; credence best, another model better."""
    rng = np.random.default_rng(0)
    areas = dict.fromkeys(PROXIES, 0.75) | {
        "firing_rate": 0.6,
        "universality_credence": 0.8,
        "best_correlation_models": 0.9,
        "best_correlation_architectures": 0.7,
    }
    rows = []
    for world in range(n_worlds):
        for arm in ("plain", "trees"):

            def add(label, metric, name, value, world=world, arm=arm, **factors):
                said = {"truth": "agree", "stratum": "all", **factors}
                rows.append(
                    make_row(
                        benchmark=experiment.ID,
                        run_id=f"{label}-{arm}-{world}",
                        step=1,
                        world_seed=world,
                        condition=label,
                        metric=metric,
                        variant="/".join([name, *map(str, said.values())]),
                        value=value,
                        factor_arm=arm,
                        factor_proxy=name,
                        **{f"factor_{k}": v for k, v in said.items()},
                    )
                )

            for place, label in enumerate(("topk", "standard", "slow", "narrow", "wide")):
                noise = 0.001 * rng.normal()
                add(label, "sae", "f1", 0.1 * place + noise)
                add(label, "sae", "pw_mcc", 0.1 * place)
                add(label, "sae", "explained_variance", -0.1 * place)
                if place > 1:
                    continue
                for name, value in areas.items():
                    add(label, "auroc", name, value + 0.001 * rng.normal())
                untrue = 20 if arm == "trees" else 2
                for truth in ("agree", "any"):
                    for q in ("q1", "q2", "q3", "q4"):
                        kinds = (untrue if truth == "agree" else 1, 100 - untrue, 10, 10)
                        names = ("artefact_reproduced", "true_reproduced")
                        names += ("true_single", "artefact_single")
                        for kind, n in zip(names, kinds):
                            where = {"truth": truth, "stratum": q}
                            add(label, f"n_{kind}", "seeds, decoder", float(n), **where)
            for b in range(10):
                add("all", "n_true", "universality_credence", float(b), bin=b)
                add("all", "n_artefact", "universality_credence", 9.0 - b, bin=b)
    return rows


@pytest.fixture(scope="module")
def rows():
    return planted_rows()


def test_claims_say_what_was_planted(rows):
    verdicts = {r["hypothesis"]: r["verdict"] for r in judge(CLAIMS, rows)}
    assert verdicts["stable is not true"] == "supported"
    assert verdicts["under any truth"] == "refuted"
    assert verdicts["stable is not true, no trees"] == "refuted"
    for name in ("reappearance", "beyond frequency", "models", "credence", "carries over"):
        assert verdicts[name] == "supported", name
    assert verdicts["architectures"] == "refuted"
    assert verdicts["consistency ranks SAEs"] == "supported"
    assert verdicts["fit does not rank SAEs"] == "supported"


def test_numbers_of_one_world_are_the_planted_ones(rows):
    one = [r for r in rows if r["world_seed"] == 0]
    at = {"factor_arm": "trees", "factor_truth": "agree"}
    assert stable_but_untrue(one, "seeds, decoder", **at) == pytest.approx(0.2)
    assert rank_with_f1(one, "pw_mcc") == pytest.approx(1)
    assert rank_with_f1(one, "explained_variance") == pytest.approx(-1)


def test_the_page_says_what_was_planted(rows):
    made = pages["proxies"](rows, "page")
    assert "2 % in the plain worlds and 20 % in the trees worlds" in made.lead
    assert "another model', AUROC 0.90" in made.lead
    assert made.sections[0].title == "Stable is not true"
    assert len(made.sections[0].figures) == 2


def test_the_smallest_cell_has_every_proxy(monkeypatch):
    size = {**experiment.SIZES["smoke"], "n_train": 6_400}
    monkeypatch.setattr(experiment, "SIZES", {"smoke": size})
    (cell,) = experiment.cells("smoke", "test")
    rows = cell.compute(lambda done, what: None)
    keys = {(r["run_id"], r["variant"], r["metric"]) for r in rows}
    assert len(keys) == len(rows)
    told = {r["factor_proxy"] for r in rows if r["metric"] == "auroc"}
    assert told == set(PROXIES)
    # the four kinds are all living latents, by every witness alike
    kinds = ("n_true_reproduced", "n_true_single", "n_artefact_reproduced", "n_artefact_single")
    totals = {
        sum(
            r["value"]
            for r in rows
            if r["metric"] in kinds and (r["factor_proxy"], r["factor_truth"]) == which
        )
        for which in (("seeds, decoder", "agree"), ("models", "agree"), ("seeds, codes", "any"))
    }
    assert len(totals) == 1
    alive = next(r for r in rows if r["factor_proxy"] == "alive")["value"]
    assert totals.pop() == pytest.approx(alive * 3 * size["width"])
