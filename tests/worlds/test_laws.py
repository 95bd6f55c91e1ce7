"""Firing and magnitude laws: SAELens' own numbers, hand-worked ones, JSON and refusals."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from synthsae_jax.errors import ConfigError
from synthsae_jax.worlds import laws
from synthsae_jax.worlds.firing import Constant, Linear, Random, ScaledZipf, Zipfian, firing_laws
from synthsae_jax.worlds.magnitude import (
    ConstantMagnitude,
    ExponentialMagnitude,
    FoldedNormal,
    LinearMagnitude,
    magnitude_laws,
)

FIRING = {
    "zipfian": Zipfian(),
    "linear": Linear(),
    "random": Random(),
    "constant": Constant(),
    "scaled_zipf": ScaledZipf(0.7, 4.0),
}
MAGNITUDE = {
    "constant": ConstantMagnitude(),
    "linear": LinearMagnitude(5.0, 4.0),
    "exponential": ExponentialMagnitude(1.0, 3.0),
    "folded_normal": FoldedNormal(min_value=0.01),
}


def test_every_law_has_an_example_here():
    assert set(FIRING) == set(firing_laws)
    assert set(MAGNITUDE) == set(magnitude_laws)


def test_laws_give_the_numbers_of_saelens(golden):
    cases = json.loads((golden / "saelens-laws.json").read_text())["laws"]
    kinds = {
        "firing": (laws.firing_from_json, laws.probabilities),
        "magnitude": (laws.magnitude_from_json, laws.magnitudes),
    }
    for case in cases:
        read, numbers = kinds[case["kind"]]
        ours = numbers(read(case["law"]), case["n"], case["seed"])
        assert ours.dtype == np.float64
        # float32 on their side: some units in the last place of numbers up to 8
        np.testing.assert_allclose(ours, case["values"], rtol=1e-6, atol=1e-7, err_msg=str(case))


@pytest.mark.parametrize("law", FIRING.values(), ids=FIRING)
def test_firing_laws_give_probabilities(law):
    p = laws.probabilities(law, 300, 0)
    assert p.shape == (300,)
    assert (p > 0).all()
    assert (p <= 1).all()
    np.testing.assert_array_equal(p, laws.probabilities(law, 300, 0))


@pytest.mark.parametrize("law", MAGNITUDE.values(), ids=MAGNITUDE)
def test_magnitude_laws_are_positive_and_repeat(law):
    values = laws.magnitudes(law, 300, 5)
    assert values.shape == (300,)
    assert (values > 0).all()
    np.testing.assert_array_equal(values, laws.magnitudes(law, 300, 5))


def test_zipf_worked_by_hand():
    # ranks 1, 1/2, 1/3 stretched from [1/3, 1] onto [.1, .3]
    p = laws.probabilities(Zipfian(1.0, 0.3, 0.1), 3, None)
    np.testing.assert_allclose(p, [0.3, 0.15, 0.1], rtol=1e-12)


def test_scaled_zipf_has_its_mean_l0_and_its_slope():
    p = laws.probabilities(ScaledZipf(0.7, 6.0), 256, None)
    assert p.sum() == pytest.approx(6.0, rel=1e-12)
    assert p[0] / p[9] == pytest.approx(10**0.7, rel=1e-12)
    with pytest.raises(ConfigError, match="lower mean_l0"):
        laws.probabilities(ScaledZipf(2.0, 3.0), 256, None)


def test_folded_normal_mean():
    # E|N(.5, .5^2)| = sd sqrt(2/pi) exp(-1/2) + m (1 - 2 Phi(-1))
    values = laws.magnitudes(FoldedNormal(0.5, 0.5), 100_000, 3)
    expected = 0.5 * np.sqrt(2 / np.pi) * np.exp(-0.5) + 0.5 * 0.6826894921
    assert abs(values.mean() - expected) < 4.5 * values.std() / np.sqrt(1e5)


@pytest.mark.parametrize("law", [*FIRING.values(), *MAGNITUDE.values()], ids=str)
def test_json_comes_back_with_fields_in_order_and_the_name_last(law):
    read = laws.firing_from_json if type(law) in map(firing_laws.__getitem__, firing_laws) else None
    read = read or laws.magnitude_from_json
    value = json.loads(json.dumps(laws.to_json(law)))
    names = [field.name for field in dataclasses.fields(law)]
    assert list(value) == [*names, "generator_name"]
    assert read(value) == law


def test_a_number_is_a_law_of_magnitude():
    np.testing.assert_array_equal(laws.magnitudes(2, 3, None), [2, 2, 2])
    assert laws.to_json(0.0) == 0.0
    assert laws.magnitude_from_json(1.5) == 1.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Zipfian(exponent=0), "exponent must be > 0"),
        (lambda: Zipfian(max_prob=0.1, min_prob=0.1), "min_prob < max_prob"),
        (lambda: Zipfian(min_prob=0.0), "0 < min_prob"),
        (lambda: Zipfian(max_prob="much"), "max_prob must be a finite number"),
        (lambda: Linear(max_prob=1.5), "max_prob <= 1"),
        (lambda: Random(max_prob=0.01), "min_prob < max_prob"),
        (lambda: Constant(-0.1), r"probability must lie in \[0, 1\]"),
        (lambda: ScaledZipf(1.0, -1.0), "mean_l0 must be > 0"),
        (lambda: LinearMagnitude(0.0, 1.0), "start must be > 0"),
        (lambda: ExponentialMagnitude(1.0, -1.0), "end must be > 0"),
        (lambda: FoldedNormal(std=0), "std must be > 0"),
        (lambda: FoldedNormal(min_value=-1), "min_value must be >= 0"),
        (lambda: FoldedNormal(max_value=0), "max_value must be > 0"),
        (lambda: FoldedNormal(min_value=2, max_value=1), "min_value must be <= max_value"),
        (lambda: ConstantMagnitude(float("nan")), "value must be a finite number"),
        (lambda: laws.magnitudes(FoldedNormal(), 4, None), "needs a seed"),
        (lambda: laws.probabilities(Zipfian(), 0, 1), "n_features must be >= 1"),
        (lambda: laws.probabilities(FoldedNormal(), 3, 1), "expected a firing law"),
        (lambda: laws.magnitudes(Zipfian(), 3, 1), "expected a number or a magnitude law"),
        (lambda: laws.firing_from_json({"exponent": 1}), "generator_name"),
        (lambda: laws.firing_from_json({"generator_name": "zipfain"}), "Did you mean 'zipfian'"),
        (
            lambda: laws.firing_from_json({"generator_name": "zipfian", "expnent": 1}, "a.json: p"),
            "a.json: p: .*'expnent'. Did you mean 'exponent'",
        ),
        (lambda: laws.magnitude_from_json({"generator_name": "linear", "end": 1}), "missing start"),
        (lambda: laws.magnitude_from_json("high"), "expected an object"),
    ],
)
def test_refusals_say_where_and_what(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
