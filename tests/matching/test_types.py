"""Each type of latent, planted; and the relations that follow from truth maps."""

import chex
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from synthsae_jax.errors import ConfigError
from synthsae_jax.matching import largest_true_matching, truth_from_counts
from synthsae_jax.matching.kin import graded_relation, related, twins
from synthsae_jax.matching.latent_types import (
    LATENT_KINDS,
    TypeCounts,
    TypeRule,
    child_on,
    latent_types,
)
from synthsae_jax.matching.truth_code import CodeFit

N, F, D = 3000, 10, 16
PARENT = np.array([-1, 0, -1, -1, -1, -1, -1, 6, -1, -1])  # 0 -> 1, 6 -> 7


@pytest.fixture(scope="module")
def planted():
    """One latent of each type, as (what it should be, decoder row, code)."""
    rng = np.random.default_rng(0)
    axes = np.eye(D)
    d = axes[:F].copy()
    d[7] = 0.6 * d[6] + 0.8 * axes[7]  # a child that points near its parent
    on = rng.random((N, F)) < 0.2
    for child, parent in ((1, 0), (7, 6)):
        on[:, parent] |= on[:, child]
    acts = on * (1 + rng.random((N, F)))
    half = rng.random(N) < 0.5
    noise = lambda rate: rng.random(N) < rate
    latents = {
        "feature 2": ("clean", d[2], on[:, 2]),
        "feature 2, less well": ("duplicate", d[2] + 0.3 * axes[12], on[:, 2] & noise(0.95)),
        "half of 3": ("split", d[3], on[:, 3] & half),
        "the other half": ("split", d[3] + 0.1 * axes[12], on[:, 3] & ~half),
        "a few of the first half": ("duplicate", d[3], on[:, 3] & half & noise(0.3)),
        "4 or 5": ("composite", d[4] + d[5], on[:, 4] | on[:, 5]),
        "0 without its child": ("absorbed_parent", d[0], on[:, 0] & ~on[:, 1]),
        "the child": ("clean", d[1] + 0.3 * d[0], on[:, 1]),
        "6, child or not": ("clean", d[6], on[:, 6]),
        "near its parent": ("clean", d[7], on[:, 7]),
        "half of 8, alone": ("artefact", d[8], on[:, 8] & noise(0.3)),
        "feature 9": ("clean", d[9], on[:, 9]),
        "a straggler of 9": ("duplicate", d[9], ~on[:, 9] & False | on[:, 9] & noise(0.05)),
        "often, and nowhere": ("dense", axes[13], noise(0.5)),
        "seldom, and nowhere": ("artefact", axes[14], noise(0.02)),
        "never": ("dead", d[2], noise(0.0)),
        "diverged": ("artefact", np.full(D, np.nan), noise(0.02)),
    }
    names, rows, codes = zip(*latents.values())
    return names, np.stack(rows), np.stack(codes, 1) * 1.0, d, acts


def counted(latents, acts, parent):
    empty = TypeCounts.init(latents.shape[1], acts.shape[1])
    return empty.update(jnp.asarray(latents), jnp.asarray(acts), parent)


@pytest.fixture(scope="module")
def counts(planted):
    _, _, latents, _, acts = planted
    return counted(latents, acts, PARENT)


def test_each_planted_type_is_found(planted, counts):
    names, rows, _, d, _ = planted
    truth = truth_from_counts(rows, counts.plain, d)
    found = latent_types(rows, counts, d, truth)
    assert [LATENT_KINDS[k] for k in found.kind] == list(names)
    assert set(names) == set(LATENT_KINDS)
    # also those that track nothing belong to their feature
    np.testing.assert_array_equal(
        found.feature, [2, 2, 3, 3, 3, -1, 0, 1, 6, 7, 8, 9, 9, -1, -1, -1, -1]
    )
    shares = found.shares()
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["clean"] == pytest.approx(5 / 17)


def test_truth_that_knows_of_absorption(planted, counts):
    names, rows, latents, d, acts = planted
    more = {"with_child": counts.with_child, "f1": 0.9}
    found = np.asarray(truth_from_counts(rows, counts.plain, d, "absorption_aware", **more))
    functional = np.asarray(truth_from_counts(rows, counts.plain, d, "functional", f1=0.9))
    changed = found != functional
    assert [n for n, c in zip(names, changed) if c] == ["absorbed_parent"]
    assert found[names.index("absorbed_parent")] == 0
    # by the definition: F1 on the tokens on which feature g and its child are not both on
    within = acts[:, 0] * acts[:, 1] > 0
    on, active = latents[~within, 6] > 0, acts[~within, 0] > 0
    f1 = 2 * (on & active).sum() / (on.sum() + active.sum())
    for threshold, expected in ((f1 - 1e-6, 0), (f1 + 1e-6, -1)):
        more["f1"] = threshold
        found = truth_from_counts(rows, counts.plain, d, "absorption_aware", **more)
        assert int(found[6]) == expected


def test_what_is_not_known_changes_the_type(planted, counts):
    names, rows, latents, d, acts = planted
    truth = np.asarray(truth_from_counts(rows, counts.plain, d))
    kinds = lambda counts, truth=truth, **more: latent_types(rows, counts, d, truth, **more).kind
    # without a forest an absorbed parent that is still tracked passes for clean
    no_forest = kinds(counted(latents, acts, None))
    absorbed = names.index("absorbed_parent")
    assert truth[absorbed] == 0
    assert LATENT_KINDS[no_forest[absorbed]] == "clean"
    # with feature 2 absent its latents stand for nothing any more
    absent = np.arange(F) != 2
    gone = kinds(counts, np.where(truth == 2, -1, truth), present=absent)
    assert {LATENT_KINDS[k] for k in gone[:2]} == {"dense"}
    # a regression finds two features where directions show none
    features = np.full((len(names), 2), -1)
    weights = np.zeros((len(names), 2))
    features[14], weights[14] = (4, 5), (0.6, 0.4)
    for r2, kind in ((0.6, "composite"), (0.4, "artefact")):
        fit = CodeFit(features, jnp.asarray(weights), r2 * weights, r2 * weights.sum(1))
        assert LATENT_KINDS[kinds(counts, fit=fit)[14]] == kind
    # thresholds are the rule's
    assert LATENT_KINDS[kinds(counts, rule=TypeRule(dense_rate=0.6))[13]] == "artefact"
    few = TypeRule(least_tokens=N)
    assert LATENT_KINDS[kinds(counts, rule=few)[absorbed]] == "clean"


def test_counts_are_exact_and_merge(planted, counts):
    _, _, latents, _, acts = planted
    halves = [counted(latents[h], acts[h], PARENT) for h in np.split(np.arange(N), 2)]
    chex.assert_trees_all_equal(halves[0].merge(halves[1]), counts)
    on = latents != 0
    np.testing.assert_array_equal(counts.among, on.T.astype(int) @ on.astype(int))
    within = np.zeros_like(acts, bool)
    for child, parent in ((1, 0), (7, 6)):
        within[:, parent] = (acts[:, child] > 0) & (acts[:, parent] > 0)
    np.testing.assert_array_equal(counts.with_child.active, within.sum(0))
    np.testing.assert_array_equal(counts.with_child.joint, on.T.astype(int) @ within.astype(int))


def test_children_of_twins_are_in_the_twins_own_forest():
    parent = np.array([-1, 0, 0])
    on = np.zeros((3, 6), bool)
    on[0, 1] = on[1, 5] = on[2, 0] = on[2, 3] = True
    expected = np.zeros((3, 6), bool)
    expected[0, 0] = expected[1, 3] = True
    np.testing.assert_array_equal(child_on(jnp.asarray(on), parent), expected)
    with pytest.raises(ConfigError, match="do not fit a forest"):
        child_on(jnp.asarray(on), np.full(4, -1))


def test_unlike_shapes_are_refused(planted, counts):
    _, rows, _, d, _ = planted
    with pytest.raises(ConfigError, match="needs truth"):
        latent_types(rows, counts, d, np.zeros(3, int))


@pytest.mark.parametrize("seed", range(5))
def test_relations_equal_counting_pair_by_pair(seed):
    rng = np.random.default_rng(seed)
    n = 9
    parent = np.array([rng.integers(-1, i) if i else -1 for i in range(n)])
    truth_a, truth_b = rng.integers(-1, 2 * n, 12), rng.integers(-1, 2 * n, 15)
    kin = related(parent, *np.meshgrid(truth_a, truth_b, indexing="ij"))
    for i, g in enumerate(truth_a):
        for j, h in enumerate(truth_b):
            known = g >= 0 and h >= 0 and g // n == h // n
            assert kin[i, j] == (known and oracles.relatives(parent, g % n, h % n))
    *_, largest = oracles.match_quality([], truth_a, truth_b, parent)
    assert largest_true_matching(truth_a, truth_b) == largest


def test_relatives_by_hand():
    parent = np.array([-1, 0, 0, 1, -1])
    pairs = [(0, 1), (3, 0), (1, 2), (1, 1), (3, 2), (0, 4), (-1, 0), (5, 6), (5, 1), (-1, -1)]
    g, h = np.array(pairs).T
    np.testing.assert_array_equal(
        related(parent, g, h), [True, True, True, False, False, False, False, True, False, False]
    )
    np.testing.assert_array_equal(twins(parent, [0, 1, 3, -1], [5, 5, 8, 4]), [1, 0, 1, 0])
    with pytest.raises(ConfigError, match="cycle"):
        related(np.array([1, 0]), np.array([0]), np.array([1]))


def test_graded_relation_by_hand():
    # 3/4 of feature 0 and 1/4 of 2; nothing; against half 2 and half 1
    a = np.array([[0, 2], [-1, -1]]), np.array([[3.0, 1.0], [0.0, 0.0]])
    b = np.array([[2, 1], [0, -1]]), np.array([[0.5, 0.5], [2.0, 0.0]])
    np.testing.assert_allclose(graded_relation(*a, *b, 3), [[1 / 8, 3 / 4], [0, 0]])
    with pytest.raises(ConfigError, match="below 2"):
        graded_relation(*a, *b, 2)
