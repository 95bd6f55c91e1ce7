"""p-values, effects and families by their definitions, on planted and on undefined numbers."""

import dataclasses

import jax
import numpy as np
import pytest

from synthsae_jax import matching
from synthsae_jax.errors import ConfigError
from synthsae_jax.matching import Matching, Pipeline, SideInputs
from synthsae_jax.matching.pipeline_statistics import pipeline_statistic
from synthsae_jax.matching.significance import (
    benjamini_hochberg,
    judge_draws,
    null_values,
    significance,
)
from synthsae_jax.matching.token_bins import with_token_bins

KEY = jax.random.key(0)
NAN = np.nan


def codes(seed, n=60, width=6):
    rng = np.random.default_rng(seed)
    return ((rng.random((n, width)) < 0.4) * rng.gamma(2.0, size=(n, width))).astype(np.float32)


def pearson_of_first(a, b):
    return np.corrcoef(np.asarray(a.latents)[:, 0], np.asarray(b.latents)[:, 0])[0, 1]


def test_numbers_are_those_of_their_definitions():
    rng = np.random.default_rng(0)
    observed, null = rng.normal(1.0, 1.0, (2, 3)), rng.normal(size=(50, 2, 3))
    got = judge_draws(observed, null, ceiling=4.0)
    for i, j in np.ndindex(2, 3):
        o, v = observed[i, j], null[:, i, j]
        assert got.p[i, j] == (1 + sum(v >= o)) / 51
        assert got.p_family[i, j] == (1 + sum(draw.max() >= o for draw in null)) / 51
        np.testing.assert_allclose(got.z[i, j], (o - v.mean()) / v.std(ddof=1))
        np.testing.assert_allclose(got.effect[i, j], (o - v.mean()) / (4.0 - v.mean()))
        high = np.quantile(v, 0.95)
        np.testing.assert_allclose(got.calibrated[i, j], max(0.0, (o - high) / (4.0 - high)))
    np.testing.assert_array_equal(got.q, benjamini_hochberg(got.p))
    assert (got.defined == 50).all()
    assert (got.resolution == 1 / 51).all()
    assert got.reasons == {}
    # one number is a family of one
    alone = judge_draws(observed[0, 0], null[:, 0, 0])
    assert alone.p == alone.p_family == alone.q == got.p[0, 0]
    assert np.isnan(alone.effect)
    assert alone.reasons == {"effect": "no ceiling is given"}


def test_p_is_never_zero_and_ties_count_against_the_observed():
    assert judge_draws(100.0, np.zeros(99)).p == 0.01
    assert judge_draws(0.0, np.zeros(99)).p == 1.0
    assert judge_draws(-np.inf, np.zeros(9)).p == 1.0
    # a null that did not find anything is below whatever was found
    got = judge_draws(1.0, np.full(9, -np.inf), ceiling=2.0)
    assert got.p == 0.1
    assert np.isnan([got.z, got.effect, got.null_mean]).all()
    assert got.reasons["z"] == "the null has one draw, or one that is infinite"


def test_undefined_is_nan_with_a_reason():
    got = judge_draws(NAN, np.zeros(9), ceiling=1.0)
    assert np.isnan([got.p, got.p_family, got.q, got.z, got.effect, got.calibrated]).all()
    assert got.reasons == {"p": "the statistic is undefined for what was observed"}
    got = judge_draws(1.0, np.full(9, NAN), ceiling=1.0)
    assert np.isnan([got.p, got.z, got.effect]).all()
    assert got.reasons == {"p": "the statistic is undefined in every draw of the null"}
    # four draws are defined, of which one reaches the observed
    got = judge_draws(1.0, np.array([NAN, 0.0, 2.0, NAN, 0.5, 0.1]))
    assert got.p == got.p_family == 2 / 5
    assert got.defined == 4
    assert got.resolution == 1 / 5
    got = judge_draws(1.0, np.ones(9), ceiling=1.0)
    assert np.isnan([got.z, got.effect]).all()
    assert got.reasons == {
        "z": "the null does not vary",
        "effect": "the ceiling is not above the null's mean",
    }
    got = judge_draws(1.0, np.array([0.0, 0.0, 3.0]), ceiling=2.0)
    assert got.effect == 0
    assert np.isnan(got.calibrated)
    assert got.reasons == {"calibrated": "the ceiling is not above the null's 95 % quantile"}
    null = np.random.default_rng(1).normal(size=(9, 3))
    got = judge_draws([1.0, NAN, 0.0], null, ceiling=[2.0, 2.0, -9.0])
    assert np.isnan(got.p).tolist() == [False, True, False]
    assert np.isnan(got.q).tolist() == [False, True, False]
    assert got.reasons["p"].startswith("1 of 3 entries: ")
    assert got.reasons["effect"].startswith("1 of 3 entries: the ceiling is not above")
    with pytest.raises(ConfigError, match=r"null \[R, ...\]"):
        judge_draws(1.0, np.zeros((9, 2)))
    with pytest.raises(ConfigError, match="Unknown family"):
        judge_draws(1.0, np.zeros(9), family="values")


@pytest.mark.parametrize("family", ["value", "z"])
def test_the_largest_of_a_family_is_held_at_the_level(family):
    # eight entries with common ups and downs, of unlike levels and spreads
    rng = np.random.default_rng(2)
    n, draws = 1000, 19
    values = 0.7 * rng.normal(size=(n, draws + 1, 1)) + rng.normal(size=(n, draws + 1, 8))
    values = np.arange(8) + values * np.linspace(1, 3, 8)
    found = [judge_draws(v[0], v[1:], family=family).p_family.min() <= 0.05 for v in values]
    # 19 draws make .05 exact; three standard errors
    assert abs(np.mean(found) - 0.05) < 3 * np.sqrt(0.05 * 0.95 / n)
    plain = [judge_draws(v[0], v[1:]).p.min() <= 0.05 for v in values[:200]]
    assert np.mean(plain) > 0.2


def test_a_family_in_units_of_its_entries_sees_the_quiet_ones():
    rng = np.random.default_rng(3)
    null = rng.normal(size=(199, 2)) * [1.0, 100.0]
    observed = np.array([8.0, 0.0])
    assert judge_draws(observed, null, family="value").p_family[0] > 0.3
    assert judge_draws(observed, null, family="z").p_family[0] == 1 / 200


def test_benjamini_hochberg_by_hand():
    p = np.array([[0.01, 0.04], [0.03, NAN]])
    # of four, the undefined one last: .01 * 4, min(.03 * 2, .04 * 4/3), .04 * 4/3
    expected = [[0.04, 0.16 / 3], [0.16 / 3, NAN]]
    np.testing.assert_allclose(benjamini_hochberg(p), expected)
    assert benjamini_hochberg([]).size == 0
    assert benjamini_hochberg(0.2) == 0.2


def test_false_discoveries_in_planted_mixtures():
    rng = np.random.default_rng(4)
    draws, n_null, n_real, n = 1999, 40, 10, 150
    false, power = [], []
    for _ in range(n):
        observed = rng.normal(size=n_null + n_real)
        observed[n_null:] += 4.0
        # the draws of one null, shared by all entries: their p-values depend on each other
        null = np.sort(rng.normal(size=draws))
        above = draws - np.searchsorted(null, observed, side="left")
        called = benjamini_hochberg((1 + above) / (1 + draws)) <= 0.1
        false.append(called[:n_null].sum() / max(called.sum(), 1))
        power.append(called[n_null:].mean())
    # rate times share of nulls: .08; and not far below
    error = np.std(false, ddof=1) / np.sqrt(n)
    assert abs(np.mean(false) - 0.1 * n_null / (n_null + n_real)) < 3 * error
    assert np.mean(power) > 0.8


def test_draws_are_functions_of_the_key_and_more_begin_with_the_same():
    a, b = SideInputs(latents=codes(0)), SideInputs(latents=codes(1))
    steps = []
    run = lambda draws, seed=0: null_values(
        pearson_of_first,
        a,
        b,
        "token_shift",
        jax.random.key(seed),
        draws,
        progress=lambda done, of: steps.append((done, of)),
    )
    few, more, other = run(4), run(6), run(4, seed=1)
    assert steps[:4] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    np.testing.assert_array_equal(few, more[:4])
    assert (few != other).any()
    with pytest.raises(ConfigError, match="more than one draw"):
        run(1)


def test_where_draws_are_few_each_is_taken_once():
    a, b = SideInputs(latents=codes(0, n=12)), SideInputs(latents=codes(1, n=12))
    shifts = [np.roll(np.asarray(b.latents), k, axis=0) for k in range(12)]
    every = [pearson_of_first(a, SideInputs(latents=v)) for v in shifts]
    got = significance(pearson_of_first, a, b, "token_shift", KEY, 999)
    np.testing.assert_allclose(got.null, every[1:], rtol=1e-6)
    # the observed shift is one of twelve: its rank among them
    assert got.p == sum(v >= every[0] - 1e-12 for v in every) / 12
    stand_ins = tuple(SideInputs(latents=codes(seed, n=12)) for seed in range(2, 5))
    b = dataclasses.replace(b, stand_ins={"disjoint_coupled": stand_ins})
    got = significance(pearson_of_first, a, b, "disjoint_coupled", KEY)
    np.testing.assert_allclose(got.null, [pearson_of_first(a, side) for side in stand_ins])
    assert got.resolution == 1 / 4


def test_shifts_within_activity_get_the_bins_of_both_sides():
    a, b = SideInputs(latents=codes(0, n=160)), SideInputs(latents=codes(1, n=160))
    bins = np.asarray(matching.token_bins(a.latents, b.latents))
    assert np.unique(bins).size > 4
    seen = []

    def bins_of(a, b):
        seen.append(b.token_bins)
        return 0.0

    null_values(bins_of, a, b, "activity_shift", KEY, 2)
    np.testing.assert_array_equal(seen[0], bins)
    own = dataclasses.replace(b, token_bins=np.arange(160) // 40)
    null_values(bins_of, a, own, "activity_shift", KEY, 2)
    np.testing.assert_array_equal(seen[-1], own.token_bins)
    null_values(bins_of, a, b, "token_shift", KEY, 2)
    assert seen[-1] is None
    with pytest.raises(ConfigError, match="latents of both sides"):
        with_token_bins(a, SideInputs())


def test_pairs_are_judged_by_nulls_of_pairs():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(30, 3))
    y = x + 0.3 * rng.normal(size=x.shape)
    m = Matching(np.arange(30), np.arange(30), np.ones(30), np.ones(30, bool))
    alike = lambda rows, m: float((rows[0][m.row] * rows[1][m.col]).sum())
    got = significance(alike, (x, y), m, matching.pair_nulls["partner_shuffle"], KEY, 99)
    assert got.p == 0.01
    noise = rng.normal(size=x.shape)
    assert significance(alike, (x, noise), m, matching.pair_nulls["partner_shuffle"], KEY, 99).p > (
        0.02
    )
    changing = iter([np.zeros(2), np.zeros(3), np.zeros(2)])
    with pytest.raises(ConfigError, match="same shape in every draw"):
        null_values(lambda a, b: next(changing), x, m, lambda key, m: m, KEY, 3)


def test_whole_pipelines_are_run_again():
    # latents 0 to 3 are shared, 4 and 5 are not, 6 is too rare, 7 never fires in A
    n = 400
    a, b = codes(6, n, 8), codes(7, n, 8)
    b[:, :4] = a[:, :4]
    a[10:, 6] = 0.0
    a[:, 7] = 0.0
    a, b = SideInputs(latents=a), SideInputs(latents=b)
    pipeline = Pipeline("phi", "assignment", 0.2, (("min_firings", {"at_least": 20}),))
    run = lambda read: significance(
        pipeline_statistic(pipeline, read), a, b, "token_shift", KEY, 9, ceiling=8.0
    )
    matched = run("n_matched")
    assert matched.observed == 4
    assert matched.p == 0.1
    # nothing reaches the threshold by chance: 0 matched, a mean of nothing
    assert matched.null.max() == 0
    assert matched.effect == 4 / 8
    mean = run("mean_score")
    assert np.isnan(mean.p)
    assert mean.reasons["p"] == "the statistic is undefined in every draw of the null"
    assert run("best_score").p == 0.1
    of_rows = run("row_scores")
    assert of_rows.p[:4].tolist() == [0.1] * 4
    assert of_rows.p_family[:6].tolist() == [0.1] * 4 + [1.0] * 2
    assert np.isnan(of_rows.p[6:]).all()
    assert of_rows.reasons["p"] == (
        "2 of 8 entries: the statistic is undefined for what was observed"
    )
    # without a threshold chance finds partners for all
    bare = pipeline_statistic(pipeline.unfiltered(), "n_matched")
    assert significance(bare, a, b, "token_shift", KEY, 2).p == 1.0
    with pytest.raises(ConfigError, match="Did you mean 'n_matched'"):
        pipeline_statistic(pipeline, "n_match")
