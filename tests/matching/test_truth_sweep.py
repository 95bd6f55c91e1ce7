"""Truths at all settings at once against one at a time."""

import math

import numpy as np
import pytest

from synthsae_jax.errors import ConfigError
from synthsae_jax.matching import (
    CoMoments,
    TruthCounts,
    bands,
    causal_counts,
    match_report,
    solve,
    truth_from_counts,
)
from synthsae_jax.matching.moments import pearson
from synthsae_jax.matching.truth import truth_inputs
from synthsae_jax.matching.truth_methods import truth_methods
from synthsae_jax.matching.truth_sweep import report_sweep, truth_sweep

N, F, L = 300, 8, 10


def within(acts, child, parent):
    """Feature `parent` while `child` is on, and no other feature."""
    return acts * (np.arange(F) == parent) * (acts[:, [child]] > 0)


def side(seed, acts):
    """Latents that track features more and more badly."""
    rng = np.random.default_rng(seed)
    features = np.eye(F, dtype=np.float32)
    source = rng.integers(0, F, L)
    blur = np.linspace(0.0, 0.6, L)[:, None]
    w_dec = (features[source] + blur * rng.normal(size=(L, F))).astype(np.float32)
    latents = np.maximum(acts @ w_dec.T - 0.4, 0)
    counts = TruthCounts.init(L, F).update(latents, acts)
    evidence = {
        "moments": CoMoments.init(L, F).update(latents, acts),
        "feature_correlation": pearson(CoMoments.init(F, F).update(acts, acts)),
        # feature 0 is 1's parent
        "with_child": TruthCounts.init(L, F).update(latents, within(acts, 1, 0)),
        "causal": causal_counts(lambda z: (z @ w_dec.T - 0.4).clip(0), acts[:8], np.ones(F)),
    }
    return w_dec, counts, features, evidence


@pytest.fixture(scope="module")
def sides():
    rng = np.random.default_rng(0)
    acts = ((rng.random((N, F)) < 0.3) * (1 + rng.random((N, F)))).astype(np.float32)
    return [side(seed, acts) for seed in (1, 2)]


@pytest.fixture(scope="module")
def sweeps(sides):
    return [truth_sweep(truth_inputs(w, c, d, **e)) for w, c, d, e in sides]


def test_each_setting_is_the_map_of_that_setting(sides, sweeps):
    w_dec, counts, features, evidence = sides[0]
    sweep = sweeps[0]
    assert {m for m, _ in sweep.settings} == set(truth_methods.names())
    assert {t for _, t in sweep.settings} == {0.5, 0.6, 0.7, 0.8, 0.9}
    for method, t in sweep.settings:
        if t in (0.5, 0.9):
            one = truth_from_counts(
                w_dec, counts, features, method, cosine=t, f1=t, r2=t, switch=t, **evidence
            )
            np.testing.assert_array_equal(sweep.of(method, t), one)
    # a stricter threshold attributes fewer, and never another feature
    for method in truth_methods.names():
        loose, strict = sweep.of(method, 0.5), sweep.of(method, 0.9)
        assert ((strict == loose) | (strict == -1)).all()
        assert (loose >= 0).any()
        # the planted latents differ: the threshold does something
        assert (loose != strict).any()


def test_only_what_the_evidence_allows(sides):
    w_dec, counts, features, _ = sides[0]
    inputs = truth_inputs(w_dec, counts, features)
    found = truth_sweep(inputs, thresholds=(0.5,))
    assert [m for m, _ in found.settings] == ["geometric", "functional", "agree"]
    with pytest.raises(ConfigError, match="'code' needs moments"):
        truth_sweep(inputs, ["code"])
    with pytest.raises(ConfigError, match="at least one"):
        truth_sweep(inputs, [])
    with pytest.raises(ConfigError, match=r"No truth map at \(code, 0.5\)"):
        found.of("code", 0.5)


def test_reports_and_bands_over_all_truths(sweeps):
    a, b = sweeps
    m = solve("assignment", np.random.default_rng(3).random((L, L)))
    found = report_sweep(m, a, b)
    for k in (0, 7, len(a.settings) - 1):
        one = match_report(m, a.maps[k], b.maps[k])
        assert {n: v[k] for n, v in found.items()} == pytest.approx(one, nan_ok=True)
    total = found["precision"] + found["false_universality"] + found["artefact_rate"]
    np.testing.assert_allclose(total, 1.0)
    band = bands(found)["precision"]
    assert (band.lo, band.hi) == (found["precision"].min(), found["precision"].max())
    assert band.undefined == 0
    with pytest.raises(ConfigError, match="same settings"):
        report_sweep(m, a, truth_sweep_of(b, 3))


def truth_sweep_of(sweep, n):
    return type(sweep)(sweep.settings[:n], sweep.maps[:n])


def test_a_sign_holds_only_if_all_settings_have_it():
    nan = math.nan
    found = bands({"up": [0.1, nan, 0.3], "both": [-0.1, 0.2], "none": [nan], "zero": [0.0, 0.0]})
    signs = {name: band.sign for name, band in found.items()}
    assert signs == {"up": 1, "both": None, "none": None, "zero": 0}
    assert found["up"].undefined == 1
    assert math.isnan(found["none"].lo)
