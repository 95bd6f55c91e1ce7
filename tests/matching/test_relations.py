"""Latents compared by their relations within each SAE: rotated copies come back, seeds or not."""

import importlib.util
import sys

import numpy as np
import pytest

from synthsae_jax import matching
from synthsae_jax.errors import ConfigError
from synthsae_jax.matching.gram import gram as gram_of
from synthsae_jax.matching.records import Matching
from synthsae_jax.matching.relations import relation_solvers, solve_relations
from synthsae_jax.registry import explain

L, D = 16, 8


@pytest.fixture(scope="module")
def copy():
    """A dictionary, its rotated, permuted and rescaled copy, and each latent's partner."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(L, D))
    rotation = np.linalg.qr(rng.normal(size=(D, D)))[0]
    order = rng.permutation(L)
    turned = (rows @ rotation)[order] * rng.uniform(0.5, 2, size=(L, 1))
    return rows, turned, np.argsort(order)


def grams(copy):
    return tuple(np.asarray(gram_of(rows)) for rows in copy[:2])


def half_right(partner):
    """Scores across that know the partners of the first half and are noise elsewhere."""
    s = 0.1 * np.random.default_rng(1).random((L, L))
    s[np.arange(L // 2), partner[: L // 2]] += 0.5
    return s


def partners(m, width=L):
    found = np.full(width, -1)
    valid = np.asarray(m.valid)
    found[np.asarray(m.row)[valid]] = np.asarray(m.col)[valid]
    return found


def test_gram_profile_knows_a_rotated_copy_without_anchors(copy):
    a, b, partner = copy
    s = np.asarray(matching.score("gram_profile", a, b))
    np.testing.assert_allclose(s[np.arange(L), partner], 1.0, atol=1e-4)
    np.testing.assert_array_equal(partners(matching.solve("assignment", s)), partner)
    # a wider space is no obstacle
    wide = np.pad(b, ((0, 0), (0, 3)))
    np.testing.assert_allclose(matching.score("gram_profile", a, wide), s, atol=1e-4)
    with pytest.raises(ConfigError, match="at least 3 latents"):
        matching.score("gram_profile", a[:2], b)


def test_gram_profile_by_anchors_is_the_cosine_of_relations(copy):
    a, b, partner = copy
    rows = np.arange(6)
    anchors = Matching(rows, partner[:6], np.ones(6), np.array([True] * 5 + [False]))
    s = np.asarray(matching.score("gram_profile", a, b, anchors=anchors))
    profiles = []
    for gram, ends in zip(grams(copy), (rows[:5], partner[:5])):
        profile = gram[:, ends].astype(float)
        profile[ends, np.arange(5)] = 0  # an anchor's relation to itself tells nothing
        profiles.append(profile - profile.mean(0))
    norms = np.outer(*(np.linalg.norm(p, axis=1) for p in profiles))
    np.testing.assert_allclose(s, profiles[0] @ profiles[1].T / norms, atol=1e-4)
    np.testing.assert_array_equal(s.argmax(1)[6:], partner[6:])
    nobody = anchors.replace(valid=np.zeros(6, bool))
    with pytest.raises(ConfigError, match="at least one valid anchor"):
        matching.score("gram_profile", a, b, anchors=nobody)


@pytest.mark.parametrize("seeds", [False, True])
def test_quadratic_assignment_finds_the_copy(copy, seeds):
    gram_a, gram_b = grams(copy)
    s = half_right(copy[2]) if seeds else None
    m = solve_relations("quadratic", gram_a, gram_b, s)
    np.testing.assert_array_equal(partners(m), copy[2])
    np.testing.assert_allclose(m.score, 1.0, atol=1e-4)


def test_quadratic_assignment_of_a_part(copy):
    # B holds only some of the latents
    gram_a, gram_b = grams(copy)
    kept = np.sort(np.random.default_rng(2).permutation(L)[:11])
    m = solve_relations("quadratic", gram_a, gram_b[np.ix_(kept, kept)], restarts=20)
    found = partners(m)
    assert (found >= 0).sum() == 11
    right = np.isin(copy[2], kept)
    expected = np.where(right, np.searchsorted(kept, copy[2]), -1)
    assert (found == expected).sum() >= 12  # padding leaves an optimum a few pairs away


def test_second_order_goes_from_seeds_to_the_rest(copy):
    gram_a, gram_b = grams(copy)
    s = half_right(copy[2])
    m = solve_relations("second_order", gram_a, gram_b, s, seed_threshold=0.4)
    np.testing.assert_array_equal(partners(m), copy[2])
    none = solve_relations("second_order", gram_a, gram_b, s, seed_threshold=2.0)
    assert not np.asarray(none.valid).any()
    with pytest.raises(ConfigError, match="give s"):
        solve_relations("second_order", gram_a, gram_b)


# what ott itself imports may be deprecated
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_gromov_wasserstein_is_behind_an_extra(copy, monkeypatch):
    gram_a, gram_b = grams(copy)
    if importlib.util.find_spec("ott") is not None:
        m = solve_relations("gromov_wasserstein", gram_a, gram_b)
        np.testing.assert_array_equal(partners(m), copy[2])
    for name in ("ott", "ott.geometry", "ott.geometry.geometry", "ott.solvers.quadratic"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"pip install 'synthsae-jax\[ot\]'"):
        solve_relations("gromov_wasserstein", gram_a, gram_b)


@pytest.mark.parametrize("name", ["quadratic", "second_order"])
def test_dead_latents_play_no_part(copy, name):
    gram_a, gram_b = (g.copy() for g in grams(copy))
    dead_a, dead_b = 3, int(copy[2][3])
    gram_a[dead_a] = gram_a[:, dead_a] = np.nan
    gram_b[dead_b] = gram_b[:, dead_b] = 9.0
    alive_b = np.arange(L) != dead_b
    s = half_right(copy[2])
    m = solve_relations(name, gram_a, gram_b, s, alive_b=alive_b)
    expected = np.where(np.arange(L) == dead_a, -1, copy[2])
    np.testing.assert_array_equal(partners(m), expected)
    nobody = solve_relations(name, gram_a, gram_b, s, alive_b=np.zeros(L, bool))
    assert not np.asarray(nobody.valid).any()


def test_wrong_inputs_are_refused(copy):
    gram_a, gram_b = grams(copy)
    solve = solve_relations
    with pytest.raises(ConfigError, match="gram_a must be a square"):
        solve("quadratic", gram_a[:3], gram_b)
    with pytest.raises(ConfigError, match=r"s must be \[16, 16\]"):
        solve("quadratic", gram_a, gram_b, np.ones((3, 3)))
    holed = gram_b.copy()
    holed[1, 2] = np.nan
    with pytest.raises(ConfigError, match="gram_b has NaN"):
        solve("quadratic", gram_a, holed)
    with pytest.raises(ConfigError, match="option of relation solver 'quadratic'"):
        solve("quadratic", gram_a, gram_b, restart=3)
    with pytest.raises(ConfigError, match="Did you mean 'quadratic'"):
        solve("quadratc", gram_a, gram_b)


@pytest.mark.parametrize("name", relation_solvers.names())
def test_every_relation_solver_is_explained(name):
    (kind, explanation), *_ = explain(name)
    assert kind == "relation solver"
    assert explanation.what
    assert explanation.formula
    assert explanation.chance
