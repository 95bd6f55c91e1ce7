"""Three and more SAEs: cycles by hand, and one registry of latents for all of them."""

import itertools

import numpy as np
import pytest

from synthsae_jax import matching
from synthsae_jax.errors import ConfigError
from synthsae_jax.matching.multiway import mean_cycle_consistency, reappearance
from synthsae_jax.matching.records import Matching


def matched(pairs, scores=None):
    row, col = np.array(sorted(pairs), int).reshape(-1, 2).T
    score = np.ones(row.size) if scores is None else np.array([scores[p] for p in zip(row, col)])
    return Matching(row=row, col=col, score=score, valid=np.ones(row.size, bool))


def test_worked_cycle():
    ab = matched([(0, 1), (1, 0), (2, 2), (3, 3)])
    bc = matched([(0, 0), (1, 1), (2, 3)])
    ac = matched([(0, 1), (1, 2), (2, 3), (4, 4)])
    # around: 0 -> 1, 1 -> 0, 2 -> 3, 3 leads nowhere; direct: 0 -> 1, 1 -> 2, 2 -> 3, 4 -> 4
    report = matching.cycle_consistency(ab, bc, ac)
    assert report == pytest.approx(
        {"cycle_consistency": 2 / 3, "cycle_coverage": 3 / 4, "n_paths": 3}
    )


def test_copies_close_every_cycle_and_nothing_is_undefined():
    rng = np.random.default_rng(0)
    order = [rng.permutation(8) for _ in range(4)]
    pairwise = {
        (a, b): matched(list(zip(order[a], order[b])))
        for a, b in itertools.combinations(range(4), 2)
    }
    report = mean_cycle_consistency(pairwise, 4)
    assert report == {
        "cycle_consistency": 1,
        "cycle_coverage": 1,
        "n_paths": 8,
        "n_triples": 4,
    }
    groups = matching.match_many(pairwise, [8] * 4)
    for g, o in zip(groups, order):
        # the latents of one feature have one label in all
        np.testing.assert_array_equal(g[o], groups[0][order[0]])
    for share in reappearance(groups):
        np.testing.assert_array_equal(share, 1)

    empty = matched([])
    report = matching.cycle_consistency(empty, empty, empty)
    assert np.isnan(report["cycle_consistency"])
    assert np.isnan(report["cycle_coverage"])
    nothing = mean_cycle_consistency(dict.fromkeys(pairwise, empty), 4)
    assert nothing["n_triples"] == 0
    assert np.isnan(nothing["cycle_consistency"])


def test_groups_keep_the_best_pairs_and_one_latent_per_sae():
    # a0 - b0 (.9), b0 - c0 (.8) make a group; a0 - c1 (.7) would put two of C in it
    pairwise = {
        (0, 1): matched([(0, 0), (1, 1)], {(0, 0): 0.9, (1, 1): 0.3}),
        (0, 2): matched([(0, 1)], {(0, 1): 0.7}),
        (1, 2): matched([(0, 0)], {(0, 0): 0.8}),
    }
    groups = matching.match_many(pairwise, [3, 2, 2])
    assert [g.tolist() for g in groups] == [[0, 1, -1], [0, 1], [0, -1]]
    shares = reappearance(groups)
    assert [s.tolist() for s in shares] == [[1, 0.5, 0], [1, 0.5], [1, 0]]


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_cycle_consistent_whatever_the_pairs(seed):
    rng = np.random.default_rng(seed)
    widths = (6, 7, 5, 6)
    pairwise = {
        (a, b): matching.solve("assignment", rng.random((widths[a], widths[b])), 0.4)
        for a, b in itertools.combinations(range(4), 2)
    }
    groups = matching.match_many(pairwise, widths)
    labels = np.concatenate(groups)
    sizes = np.bincount(labels[labels >= 0])
    assert ((sizes >= 2) & (sizes <= 4)).all()
    assert (np.diff(sizes) <= 0).all()
    for g in groups:
        own = g[g >= 0]
        assert np.unique(own).size == own.size
    # read back as matchings, every cycle closes
    by_label = {
        (a, b): matched(
            [
                (i, j)
                for i, j in np.ndindex(widths[a], widths[b])
                if groups[a][i] == groups[b][j] >= 0
            ]
        )
        for a, b in pairwise
    }
    assert mean_cycle_consistency(by_label, 4)["cycle_consistency"] == 1


def test_wrong_inputs_are_refused():
    m = matched([(0, 0)])
    with pytest.raises(ConfigError, match="at least 3 SAEs"):
        mean_cycle_consistency({}, 2)
    with pytest.raises(ConfigError, match="is missing"):
        mean_cycle_consistency({(0, 1): m}, 3)
    with pytest.raises(ConfigError, match="keyed"):
        matching.match_many({(1, 0): m}, [2, 2])
    with pytest.raises(ConfigError, match="beyond 1 and 1"):
        matching.match_many({(0, 1): matched([(0, 3)])}, [1, 1])
    with pytest.raises(ConfigError, match="at most one partner"):
        matching.cycle_consistency(matched([(0, 0), (0, 1)]), m, m)
    with pytest.raises(ConfigError, match="two SAEs"):
        reappearance([np.zeros(3, int)])
