"""Changes and verdicts of linearity@1 on planted rows; its worlds and members at strength 0."""

import itertools

import numpy as np
import pytest

from synthsae_jax import worlds
from synthsae_jax.experiments import linearity
from synthsae_jax.experiments.linearity.claims import CLAIMS
from synthsae_jax.experiments.linearity.measure import (
    DEPARTURES,
    DISJOINT,
    SHARED,
    LinearityScale,
    departed_family,
    departed_world,
)
from synthsae_jax.experiments.linearity.page import PAGE
from synthsae_jax.experiments.linearity.quantities import SCORES, TRACKED, change
from synthsae_jax.io.rows import make_row
from synthsae_jax.suite.claims import judge
from synthsae_jax.suite.quantity import Observed

STRENGTHS = LinearityScale.strengths
# what strength 1 takes away, by departure
FALL = {"turning": 0.8, "circle": 0.4, "plane": 0.3, "family": 0.25, "squash": 0.0}


def planted_rows(n_worlds=5):
    """Geometric truth falls half again as far as functional; scores other than r > .1 fall too."""
    rng = np.random.default_rng(0)
    rows = []
    places = itertools.product(range(n_worlds), DEPARTURES, STRENGTHS, (SHARED, DISJOINT))
    for world, departure, strength, condition in places:
        lost = FALL[departure] * strength + 0.002 * rng.normal()
        shared = condition == SHARED
        numbers = {
            ("agree", "tracked"): 0.9 - lost,
            ("functional", "tracked"): 0.95 - 0.5 * lost,
            ("geometric", "tracked"): 0.95 - lost,
            ("truth", "true_universality"): (0.8 - lost) * shared,
            ("best_correlation_0.1", "declared"): 0.85 if shared else 0.1,
            ("decoder_cosine_0.7_aligned", "declared"): (0.8 - lost) * shared,
            ("mppc2024", "score"): 0.7 - 0.02 * strength,
            ("song2025", "score"): 0.7 - lost,
            ("held", "explained_variance"): 0.6,
        }
        for (variant, metric), value in numbers.items():
            rows.append(
                make_row(
                    benchmark=linearity.DESIGN.id,
                    run_id=f"{departure} {strength}",
                    run_id_b=condition,
                    step=1,
                    world_seed=world,
                    condition=condition,
                    variant=variant,
                    metric=metric,
                    value=value,
                    factor_departure=departure,
                    factor_strength=strength,
                )
            )
    return rows


@pytest.fixture(scope="module")
def rows():
    return planted_rows()


def test_changes_are_the_planted_ones(rows):
    one = Observed(r for r in rows if r["world_seed"] == 2)
    # noise .002 on either end
    fall = one.estimate(change(TRACKED, 1.0, "circle"))
    assert fall.value == pytest.approx(-0.4, abs=0.015)
    assert (fall.defined, fall.total) == (2, 2)
    mean = np.mean([0.5 * f for f in FALL.values()])
    assert one.estimate(change(SCORES[3], 0.5)).value == pytest.approx(-mean, abs=0.01)
    missing = one.estimate(change(SCORES[3], 0.75))
    assert not missing.known
    assert missing.reason


def test_verdicts_are_those_of_the_plant(rows):
    found = {r["hypothesis"]: r["verdict"] for r in judge(CLAIMS, rows)}
    for name in ("L1 turning", "L1 circle", "L1 plane", "L1 family"):
        assert found[name] == "supported"
    assert found["L1 squash"] == "refuted"
    assert found["L2 best_correlation_0.1"] == found["L2 mppc2024"] == "supported"
    assert found["L2 song2025"] == found["L2 decoder_cosine_0.7_aligned"] == "refuted"
    assert found["L3"] == found["L4"] == found["L5"] == "supported"
    assert {r["verdict"] for r in judge(CLAIMS, planted_rows(2))} == {"undecided"}


def test_the_page_says_what_was_planted(rows):
    lead = PAGE.contents(rows, claims=CLAIMS).lead
    assert "changes most with turning with magnitude (-0.80)" in lead
    assert "least with pointwise nonlinearity" in lead
    assert "r > .1 declares changes by +0.00" in lead


def test_worlds_and_members_differ_in_strength_alone():
    context = linearity.DESIGN.contexts("smoke", "dev")[0]
    world = departed_world(context, "turning")
    straight, turned = (departed_family(context, world, "turning", s).reference for s in (0.0, 1.0))
    np.testing.assert_array_equal(straight.dictionary, straight.departure.rows)
    np.testing.assert_array_equal(straight.departure.rows, turned.departure.rows)
    assert np.abs(np.asarray(turned.dictionary - straight.dictionary)).max() > 0.1
    trees = departed_world(context, "family")
    assert (np.asarray(trees.forest.parent) >= 0).sum() == 24
    # the same features fire as often with trees as without
    np.testing.assert_allclose(
        worlds.expected_rates(trees), worlds.expected_rates(world), rtol=0.02
    )
