"""overfitting@1: claims and page on planted rows, and its smallest real cell."""

import numpy as np
import pytest

from synthsae_jax.experiments import contract, overfitting
from synthsae_jax.experiments.overfitting.claims import CLAIMS
from synthsae_jax.experiments.overfitting.page import PAGE
from synthsae_jax.experiments.overfitting.quantities import (
    EXPLAINED,
    TRULY_SHARED,
    equal_ev,
    excess,
    multiple_at_equal_ev,
)
from synthsae_jax.experiments.overfitting.setting import (
    BATCHTOPK,
    CONDITIONS,
    FRESH,
    MULTIPLES,
    PURSUIT,
    SAME,
)
from synthsae_jax.io.rows import make_row
from synthsae_jax.suite.claims import judge
from synthsae_jax.suite.quantity import Observed

CORRELATED, MATCHED = "best_correlation_0.1", "correlation_0.5"
LINEAR = "encoder: linear"


def planted_rows(same=0.5, fresh=0.1, falls=0.15, n_worlds=5):
    """A pursuit's fit rises with k, its sharing falls, its noise is a dictionary's."""
    rng = np.random.default_rng(0)
    rows = []

    def add(world, sae, k, metric, variant, value, condition=""):
        rows.append(
            make_row(
                benchmark=overfitting.DESIGN.id,
                run_id=f"{sae}-{k}",
                run_id_b=condition,
                step=1,
                world_seed=world,
                sae=sae,
                condition=condition,
                metric=metric,
                variant=variant,
                value=value + 0.003 * rng.normal(),
                factor_k=k,
            )
        )

    for world in range(n_worlds):
        for k in MULTIPLES:
            for sae, noise in ((PURSUIT, same), (BATCHTOPK, fresh)):
                pursuit = sae == PURSUIT
                # BatchTopK comes to .8, where a pursuit is at 2, with four times the L0
                add(world, sae, k, "explained_variance", "", 0.6 + (0.1 if pursuit else 0.05) * k)
                add(world, sae, k, "f1", "", 0.7)
                for condition, shared in ((SAME, noise), (FRESH, fresh)):
                    right = 0.9 - falls * k * pursuit
                    numbers = {
                        ("true_universality", "truth"): right,
                        ("true_universality_most", "truth"): 0.95,
                        ("precision", CORRELATED): right,
                        ("shared_artefacts", MATCHED): shared,
                        ("shared_artefacts_least", MATCHED): shared - 0.05,
                        ("shared_artefacts_most", MATCHED): shared + 0.05,
                        ("shared_artefact_rate", MATCHED): shared,
                        ("unmatched_artefacts", MATCHED): 0.8,
                    }
                    for (metric, variant), value in numbers.items():
                        add(world, sae, k, metric, variant, value, condition)
        for metric, value in (("support_jaccard", 0.5), ("tau_kept", 0.97), ("f1", 0.8)):
            add(world, PURSUIT, 1.0, metric, "swapped", value, LINEAR)
    return rows


def verdicts(rows):
    return {r["hypothesis"]: r["verdict"] for r in judge(CLAIMS, rows)}


def test_claims_say_what_was_planted():
    rows = planted_rows()
    assert set(verdicts(rows).values()) == {"supported"}
    assert Observed(rows).estimate(excess(PURSUIT)).value == pytest.approx(0.4, abs=0.01)


def test_claims_come_out_the_other_way():
    judged = verdicts(planted_rows(same=0.1, falls=-0.02))
    for name in ("H7c", "H7c beside", "H7a sharing", "H7a precision", "H7a equal EV"):
        assert judged[name] == "refuted", name
    assert set(verdicts(planted_rows(n_worlds=3)).values()) == {"undecided"}


def test_equal_explained_variance_is_the_nearest_of_the_grid():
    observed = Observed(planted_rows(n_worlds=1))
    # at k 2 a pursuit is at .8, as BatchTopK at 4; at k 4 nothing comes near
    for k, nearest in ((1.0, 2.0), (2.0, 4.0), (4.0, 4.0)):
        assert observed.estimate(multiple_at_equal_ev(k)).value == nearest
        beside = observed.estimate(equal_ev(EXPLAINED, k)).value
        assert beside == observed.estimate(EXPLAINED.at(sae=BATCHTOPK, k=nearest)).value
    nothing = observed.estimate(equal_ev(TRULY_SHARED.at(condition=FRESH), 1.5))
    assert not nothing.known
    assert nothing.reason


def test_the_page_shows_the_planted_numbers():
    contents = PAGE.contents(planted_rows(), claims=CLAIMS)
    assert "by 40 % [" in contents.lead
    assert "explained variance goes from 0.70 to 1.00" in contents.lead
    assert "truly share from 75 % to 30 %" in contents.lead
    first = PAGE.contents([r for r in planted_rows() if r["factor_k"] == 1], claims=CLAIMS)
    assert "no two multiples" in first.lead
    assert all(section.figures for section in contents.sections[:2])


@pytest.fixture(scope="module")
def real():
    """The smallest real cell, which has no time to learn much."""
    (context,) = contract.smallest(overfitting.DESIGN)
    return overfitting.DESIGN.rows(context)


def test_rows_cover_both_dictionaries_and_share_no_seed(real):
    pairs = {
        (row["sae"], row["condition"], row["run_id"], row["run_id_b"]): row
        for row in real
        if row["condition"] in CONDITIONS
    }
    assert {at[:2] for at in pairs} == {
        (sae, condition) for sae in (PURSUIT, BATCHTOPK) for condition in CONDITIONS
    }
    for (_, condition, *_), row in pairs.items():
        assert row["init_seed"] != row["init_seed_b"]
        assert row["data_seed"] != row["data_seed_b"]
        assert row["same_dictionary"] == (condition == SAME)
    runs = {(r["run_id"], r["init_seed"]) for r in real if not r["run_id_b"]}
    # three of each pursuit, three of each BatchTopK
    assert len(runs) == len({seed for _, seed in runs}) == 12
