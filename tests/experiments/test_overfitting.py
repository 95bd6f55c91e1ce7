"""overfitting@1: claims and page on planted rows, and its smallest real cell."""

import numpy as np
import pytest

from synthsae_jax.experiments.overfitting import experiment as overfitting
from synthsae_jax.experiments.overfitting.claims import (
    CLAIMS,
    FRESH,
    LINEAR_SAE,
    PURSUIT,
    SAME,
    excess,
)
from synthsae_jax.io.rows import make_row
from synthsae_jax.report import overfitting_page
from synthsae_jax.suite.claims import judge

CORRELATED, MATCHED = "best_correlation_0.1", "correlation_0.5"


def planted_rows(same=0.5, fresh=0.1, falls=0.15):
    """Five worlds: a pursuit's fit rises with k, its sharing falls, its noise is a dictionary's."""
    rng = np.random.default_rng(0)
    rows = []
    for world in range(5):

        def add(sae, k, metric, variant, value, world=world, **more):
            rows.append(
                make_row(
                    benchmark=overfitting.ID,
                    run_id=f"{sae}-{k}",
                    step=1,
                    world_seed=world,
                    sae=sae,
                    metric=metric,
                    variant=variant,
                    value=value + 0.003 * rng.normal(),
                    factor_k=k,
                    **more,
                )
            )

        for k in (1.0, 2.0, 4.0):
            for sae, noise in ((PURSUIT, same), (LINEAR_SAE, fresh)):
                ahead = 0.05 * k if sae == PURSUIT else 0.0
                add(sae, k, "explained_variance", "", 0.6 + ahead)
                for condition, shared in ((SAME, noise), (FRESH, fresh)):
                    where = {"condition": condition, "run_id_b": condition}
                    steep = falls * k if sae == PURSUIT else 0.0
                    add(sae, k, "true_universality", "truth", 0.9 - steep, **where)
                    add(sae, k, "precision", CORRELATED, 0.9 - steep, **where)
                    for metric in ("shared_artefacts", "shared_artefact_rate"):
                        add(sae, k, metric, MATCHED, shared, **where)
                    for end, shift in (("least", -0.05), ("most", 0.05)):
                        metric = f"shared_artefacts_{end}"
                        add(sae, k, metric, MATCHED, shared + shift, **where)
                    add(sae, k, "unmatched_artefacts", MATCHED, 0.8, **where)
            rows.append(
                make_row(
                    benchmark=overfitting.ID,
                    run_id=f"{PURSUIT}-{k}",
                    step=1,
                    world_seed=world,
                    sae=PURSUIT,
                    metric="multiple",
                    variant="equal_ev",
                    value=k,
                    factor_k=k,
                )
            )
        linear = {"condition": "encoder: linear", "run_id_b": "linear"}
        for metric, value in (("support_jaccard", 0.5), ("tau_kept", 0.97), ("f1", 0.8)):
            add(PURSUIT, 1.0, metric, "swapped", value, **linear)
    return rows


def test_claims_say_what_was_planted():
    found = {v["hypothesis"]: v for v in judge(CLAIMS, planted_rows())}
    assert {name: v["verdict"] for name, v in found.items()} == {
        "H7c": "supported",
        "H7c beside": "supported",
        "H7a": "supported",
        "H7a sharing": "supported",
        "H7a precision": "supported",
        "H7a equal EV": "supported",
        "H7b": "supported",
        "H7d support": "supported",
        "H7d features": "supported",
    }
    assert found["H7c"]["estimate"] == pytest.approx(0.4, abs=0.01)


def test_claims_come_out_the_other_way():
    said = {
        v["hypothesis"]: v["verdict"] for v in judge(CLAIMS, planted_rows(same=0.1, falls=-0.02))
    }
    for name in ("H7c", "H7c beside", "H7a sharing", "H7a precision", "H7a equal EV"):
        assert said[name] == "refuted", name
    few = [r for r in planted_rows() if r["world_seed"] < 3]
    assert {v["verdict"] for v in judge(CLAIMS, few)} == {"undecided"}


def test_the_page_shows_the_planted_numbers():
    contents = overfitting_page.overfitting(planted_rows(), "page")
    assert "share +0.40 more of their artefacts" in contents.lead
    assert "BatchTopK at equal L0: -0.00" in contents.lead or "+0.00" in contents.lead
    assert contents.sections[-1].title == "Verdicts"
    assert all(section.figures for section in contents.sections[:2])


@pytest.fixture(scope="module")
def real():
    """The smallest real cell: one pursuit beside one BatchTopK, no time to learn much."""
    size = {**overfitting.SIZES["smoke"], "n_train": 6_400, "n_eval": 4_096}
    size |= {"pursuit": (1.0,), "grid": (1.0, 2.0)}
    return overfitting._cell(size, 11, 0).compute(lambda done, what: None)


def test_rows_cover_both_dictionaries_and_share_no_seed(real):
    pairs = {}
    for row in real:
        if row["condition"] in (SAME, FRESH):
            pairs[row["sae"], row["factor_k"], row["condition"]] = row
    assert {key[::2] for key in pairs} == {
        (sae, condition) for sae in (PURSUIT, LINEAR_SAE) for condition in (SAME, FRESH)
    }
    for (_, _, condition), row in pairs.items():
        assert row["init_seed"] != row["init_seed_b"]
        assert row["data_seed"] != row["data_seed_b"]
        assert row["same_dictionary"] == (condition == SAME)
    runs = {(r["run_id"], r["init_seed"]) for r in real if r["variant"] == ""}
    # three of the pursuit, three of each BatchTopK
    assert len(runs) == len({seed for _, seed in runs}) == 9
    assert -1 <= excess(real, PURSUIT, 1.0) <= 1


def test_equal_explained_variance_is_the_nearest_of_the_grid(real):
    score = lambda sae, k: np.mean(
        [
            r["value"]
            for r in real
            if (r["sae"], r["factor_k"], r["metric"]) == (sae, k, "explained_variance")
            and r["variant"] == ""
        ]
    )
    (chosen,) = (
        r["value"] for r in real if (r["variant"], r["metric"]) == ("equal_ev", "multiple")
    )
    gaps = {k: abs(score(LINEAR_SAE, k) - score(PURSUIT, 1.0)) for k in (1.0, 2.0)}
    assert chosen == min(gaps, key=lambda k: gaps[k])
    # twice the k is twice the latents, whatever the training
    l0 = {
        k: np.mean(
            [
                r["value"]
                for r in real
                if (r["sae"], r["factor_k"], r["metric"]) == (LINEAR_SAE, k, "l0")
            ]
        )
        for k in (1.0, 2.0)
    }
    assert l0[2.0] > 1.4 * l0[1.0]
