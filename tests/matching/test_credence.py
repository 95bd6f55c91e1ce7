"""The calibrated matcher: mixtures whose posterior is known, selection, the prior, the artefact."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from scipy.stats import beta

from synthsae_jax import matching
from synthsae_jax.errors import ConfigError
from synthsae_jax.matching.credence import credence
from synthsae_jax.matching.credence_chance import correlation_tail, cosine_tail, mean_tail
from synthsae_jax.matching.credence_latent import at_least_one, latent_credence
from synthsae_jax.matching.credence_laws import Context, Shrinkage, fit_laws
from synthsae_jax.matching.credence_model import (
    CredenceModel,
    Support,
    dump_credence,
    load_credence,
)
from synthsae_jax.matching.credence_prior import estimate_priors, posterior

DIM = 32  # of the planted cosines: chance is then Beta((D - 1)/2, (D - 1)/2)
SAME, OTHER = beta(12, 4), beta(4, 8)  # planted laws of same ones and of each row's look-alike


def planted(rng, rows: int, candidates: int, share: float):
    """Rows with a look-alike each, M strangers by chance, and a same one with a given share."""
    has = rng.random(rows) < share
    same = np.where(has, SAME.rvs(rows, random_state=rng), np.nan)
    alike = OTHER.rvs(rows, random_state=rng)
    half = (DIM - 1) / 2
    # the best of M chance scores, by its quantile
    best = 2 * beta.ppf(rng.random(rows) ** (1 / candidates), half, half) - 1
    return same, np.maximum(alike, best)


def context(rows: int, candidates: int) -> Context:
    fill = lambda v: np.full(rows, float(v))
    nan = fill(np.nan)
    return Context(nan, np.full((rows, 8), np.nan), nan, fill(candidates), fill(DIM))


def exact(score, candidates: int, share: float):
    """The closed-form posterior that the best of the row is the same feature."""
    half = (DIM - 1) / 2
    cdf = lambda s: OTHER.cdf(s) * beta.cdf((1 + s) / 2, half, half) ** candidates
    width = 1e-5
    density = (cdf(score + width) - cdf(score - width)) / (2 * width)
    right = share * SAME.pdf(score) * cdf(score)
    wrong = (share * SAME.cdf(score) + 1 - share) * density
    return right / (right + wrong)


@pytest.fixture(scope="module")
def model() -> CredenceModel:
    rng = np.random.default_rng(0)
    same, other = planted(rng, 60_000, 50, 0.5)
    laws = fit_laws("decoder_cosine", context(60_000, 50), same, other, ["planted"] * 60_000)
    ranges = {"score": (-1.0, 1.0), "candidates": (5.0, 2000.0), "dim": (8.0, 64.0)}
    return CredenceModel(
        {"decoder_cosine": laws}, {"decoder_cosine": Support(ranges)}, {"ece": 0.01}, {"seed": 0}
    )


@pytest.mark.parametrize("candidates", [10, 1000])
@pytest.mark.parametrize("share", [0.2, 0.6])
def test_the_posterior_of_a_planted_mixture(model, candidates, share):
    """Fitted among 50 candidates; selection from 10 or 1000 is right without another fit."""
    rng = np.random.default_rng(candidates)
    same, other = planted(rng, 20_000, candidates, share)
    best = np.fmax(same, other)
    right = same > other
    got = credence(
        model, {"decoder_cosine": best}, prior=share, candidates=candidates, dim=DIM
    ).credence
    # bins of the score are .05 wide where the posterior moves by up to .2 within one
    np.testing.assert_allclose(got, exact(best, candidates, share), atol=0.12)
    assert np.abs(got - exact(best, candidates, share)).mean() < 0.015
    # nominal in every tenth of credence: within 4.5 standard errors and what bins round off
    for low in np.arange(0, 1, 0.1):
        at = (got >= low) & (got < low + 0.1)
        if at.sum() > 200:
            p = got[at].mean()
            assert abs(right[at].mean() - p) < 4.5 * np.sqrt(p * (1 - p) / at.sum()) + 0.025


def test_more_candidates_make_a_chance_score_worth_less(model):
    score = np.full(5, 0.55)
    one = lambda m: credence(
        model, {"decoder_cosine": score}, prior=0.5, candidates=m, dim=8
    ).credence[0]
    assert one(1000) < one(100) < one(10)


def test_a_pulled_prior_lies_between_its_own_and_the_mean(model):
    same, other = planted(np.random.default_rng(8), 2_000, 100, 0.6)
    laws = model.laws["decoder_cosine"].at(np.fmax(same, other), context(2_000, 100))
    at = [estimate_priors(laws, Shrinkage(pull=p, mean=0.1))[0] for p in (0, 0.3, 1, 1e6)]
    assert (np.diff(at) < -0.02).all()
    assert at[0] == pytest.approx(0.6, abs=0.03)
    assert at[-1] == pytest.approx(0.1, abs=1e-3)


def test_the_fewer_rows_tell_the_more_kinds_are_believed(model):
    """Two kinds, one of which fits: believed alone by 20 rows, hardly more than the other by 1."""
    right = model.laws["decoder_cosine"]
    turn = lambda t: np.concatenate([t, t[..., ::-1]])
    two = dataclasses.replace(
        right,
        kinds=("planted", "reversed"),
        same=turn(right.same),
        hazard_some=turn(right.hazard_some),
        hazard_none=turn(right.hazard_none),
    )
    same, other = planted(np.random.default_rng(9), 500, 100, 0.4)
    laws = two.at(np.fmax(same, other), context(500, 100))
    kinds = [posterior(laws, shrinkage=Shrinkage(tell=t)).kinds for t in (0.01, 1.0, 20.0)]
    assert np.diff([k[0] for k in kinds]).min() > 0
    assert kinds[0][0] == pytest.approx(0.5, abs=0.05)
    assert kinds[2][0] > 0.99


@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
def test_the_prior_is_estimated(model, share):
    same, other = planted(np.random.default_rng(3), 20_000, 100, share)
    said = credence(model, {"decoder_cosine": np.fmax(same, other)}, candidates=100, dim=DIM)
    # the rows' information bounds the standard error by .005; the fit adds as much
    assert said.prior == pytest.approx(share, abs=0.02)
    assert said.prior_source == "estimated"


def test_em_is_at_the_maximum(model):
    same, other = planted(np.random.default_rng(4), 500, 100, 0.4)
    laws = model.laws["decoder_cosine"].at(np.fmax(same, other), context(500, 100))
    odds = np.exp(np.logaddexp(laws.right, laws.wrong) - laws.none)[0]
    grid = np.linspace(0.01, 0.99, 981)
    value = [np.log(p * odds + 1 - p).sum() + 0.5 * np.log(p * (1 - p)) for p in grid]
    assert estimate_priors(laws)[0] == pytest.approx(grid[np.argmax(value)], abs=0.002)


def test_a_higher_score_is_never_worth_less(model):
    scores = np.linspace(-1, 1, 401)
    laws = model.laws["decoder_cosine"].at(scores, context(401, 300))
    assert (np.diff(posterior(laws, 0.3).credence) >= -1e-9).all()


def test_outside_the_support_there_is_a_reason(model):
    said = credence(
        model, {"decoder_cosine": np.array([0.5, np.nan])}, prior=0.5, candidates=5000, dim=DIM
    )
    assert np.isnan(said.credence).all()
    assert said.reason[0] == "candidates 5000 is outside the fitted 5 to 2000"
    assert said.reason[1] == "it has no candidate with a score"
    assert said.records()[0]["credence"] is None
    json.dumps(said.records(), allow_nan=False)
    ratio = model.log_ratio([0.5], candidates=5000, form="decoder_cosine", dim=DIM)
    assert np.isnan(ratio).all()
    assert np.isfinite(model.log_ratio([0.5], candidates=50, form="decoder_cosine", dim=DIM)).all()


def test_a_matrix_finds_its_best_and_leaves_the_dead_out(model):
    rng = np.random.default_rng(5)
    matrix = rng.uniform(-0.2, 0.9, (6, 8))
    alive = np.ones(8, bool)
    alive[matrix[0].argmax()] = False
    dead_row = np.array([True] * 5 + [False])
    said = credence(
        model, {"decoder_cosine": matrix}, prior=0.5, dim=DIM, alive_a=dead_row, alive_b=alive
    )
    expected = np.where(alive, matrix, -2).argmax(1)
    np.testing.assert_array_equal(said.col, expected)
    assert said.candidates == 7
    assert said.reason[5] == "it never fires"
    assert np.isfinite(said.credence[:5]).all()
    vector = credence(
        model,
        {"decoder_cosine": matrix[np.arange(6), expected]},
        prior=0.5,
        dim=DIM,
        candidates=7,
        col=expected,
        alive_a=dead_row,
    )
    np.testing.assert_allclose(vector.credence, said.credence)


def test_the_artefact_survives_a_round_trip_and_nothing_else(model, tmp_path):
    path = tmp_path / "credence.json"
    path.write_text(dump_credence(model))
    back = load_credence(path)
    assert back.forms == model.forms
    assert back.supports == model.supports
    assert back.laws["decoder_cosine"].shrinkage == model.laws["decoder_cosine"].shrinkage
    assert back.calibration == {"ece": 0.01}
    for name in ("edges", "knots", "same", "hazard_some", "hazard_none"):
        old, new = (getattr(m.laws["decoder_cosine"], name) for m in (model, back))
        np.testing.assert_allclose(new, old, rtol=1e-3)
    content = json.loads(path.read_text())
    content["latent_dependence"] = 0.5
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="does not match its hash"):
        load_credence(path)
    path.write_text("{}")
    with pytest.raises(ConfigError, match="schema 2"):
        load_credence(path)
    path.write_text("no")
    with pytest.raises(ConfigError, match=r"(cannot be read as JSON|no such file)"):
        load_credence(path)
    with pytest.raises(ConfigError, match=r"(cannot be read as JSON|no such file)"):
        load_credence(tmp_path / "absent.json")


def test_inputs_are_checked(model):
    vector = {"decoder_cosine": np.zeros(3)}
    with pytest.raises(ConfigError, match="needs dim"):
        credence(model, vector, candidates=10)
    with pytest.raises(ConfigError, match="need candidates"):
        credence(model, vector, dim=DIM)
    with pytest.raises(ConfigError, match="a prior is"):
        credence(model, vector, dim=DIM, candidates=10, prior=1.0)
    with pytest.raises(ConfigError, match="Unknown form of evidence"):
        credence(model, np.zeros((3, 3)), np.ones(3), np.ones(3), 100)
    with pytest.raises(ConfigError, match="credence takes"):
        credence(model, {"encoder_cosine": np.zeros(3)})


@pytest.mark.parametrize(("a", "b"), [(40, 60), (200, 500), (1500, 2500)])
def test_the_chance_of_a_correlation(a, b):
    """Independent on-off codes: the tail bounds the share that reaches a score, and is near it."""
    rng = np.random.default_rng(a)
    n = 8192
    joint = rng.hypergeometric(a, n - a, b, 200_000)
    r = (joint - a * b / n) / np.sqrt(a * b * (1 - a / n) * (1 - b / n))
    for level in (0.5, 0.1, 0.01):
        # half way to the next value that can occur: the tail is smooth, the counts are not
        score = np.quantile(r, 1 - level)
        step = 0.5 / np.sqrt(a * b * (1 - a / n) * (1 - b / n))
        low, high = (correlation_tail(score + d, a, b, n) for d in (step, -step))
        assert low * 0.7 <= (r >= score).mean() <= high * 1.4


def test_the_chance_of_a_cosine_and_of_the_mean():
    rng = np.random.default_rng(1)
    v = rng.normal(size=(200_000, 16))
    cos = v[:, 0] / np.linalg.norm(v, axis=1)
    for score in (0.0, 0.2, 0.5):
        share = (cos >= score).mean()
        # 4.5 standard errors of 200,000 draws
        assert cosine_tail(score, dim=16) == pytest.approx(share, abs=0.005)
    # where firing says nothing the mean is half a cosine
    both = mean_tail(0.2, 4000, 4000, 10_000_000_000, 16)
    assert both == pytest.approx(float(cosine_tail(0.4, dim=16)), abs=0.01)


def test_latents_over_three_saes(model):
    pair = credence(
        model, {"decoder_cosine": np.array([0.9, 0.3])}, prior=0.5, candidates=50, dim=DIM
    )
    pairs = {(a, b): pair for a in range(3) for b in range(3) if a != b}
    said = latent_credence(pairs, 3, dataclasses.replace(model, latent_dependence=1.0))
    assert len(said) == 3
    np.testing.assert_allclose(said[0].reappearance, pair.credence)
    np.testing.assert_allclose(said[0].credence, 1 - (1 - pair.credence) ** 2)
    assert said[0].n_known.tolist() == [2, 2]
    with pytest.raises(ConfigError, match="are missing"):
        latent_credence({(0, 1): pair}, 2, model)
    c = np.array([[0.5, np.nan, np.nan], [0.9, 0.2, np.nan]])
    np.testing.assert_allclose(at_least_one(c, 0.0), [0.9, 0.2, np.nan])
    np.testing.assert_allclose(at_least_one(c, 1.0), [0.95, 0.2, np.nan])


def test_the_shipped_artefact_says_how_good_it_is():
    shipped = load_credence()
    assert "activation_pearson" in shipped.forms
    assert shipped.version == "credence@1"
    for form in shipped.forms:
        for split in ("held_out", "transport"):
            assert shipped.calibration["forms"][form][split]["estimated_prior"]["ece"]["n_worlds"]
    # a good match among common latents, and a row with nothing but chance
    said = matching.credence(
        shipped,
        np.array([[0.95, 0.02], [0.02, 0.03]]),
        np.array([600, 600]),
        np.array([600, 600]),
        65_536,
        candidates=128,
        prior=0.5,
    )
    assert said.credence[0] > 0.8
    assert said.credence[1] < 0.2


def test_the_shipped_artefact_speaks_of_saes_as_wide_as_real_ones():
    # 131,072 candidates in the dimensions of language models, a million tokens
    shipped, rows = load_credence(), 64
    scores = np.r_[np.full(rows // 2, 0.95), np.full(rows // 2, 0.2)]
    fired = np.full(rows, 2_000)
    others = {"firings_b": np.full(131_072, 2_000), "candidates": 131_072}
    for dim in (768, 4096):
        by_codes = matching.credence(shipped, scores, fired, n_tokens=10**6, **others)
        evidence = {"decoder_cosine": scores, "encoder_cosine": scores}
        by_weights = matching.credence(shipped, evidence, candidates=131_072, dim=dim)
        for said in (by_codes, by_weights):
            assert np.isfinite(said.credence).all()
            assert said.credence[: rows // 2].min() > said.credence[rows // 2 :].max()
    beyond = matching.credence(shipped, {"decoder_cosine": scores}, candidates=10**6, dim=768)
    assert np.isnan(beyond.credence).all()
    assert "candidates" in beyond.reason[0]
