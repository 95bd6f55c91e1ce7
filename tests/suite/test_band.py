"""Truth as a band, rungs, checks and shares: each rule with the fault that it is to catch."""

import dataclasses
import math

import pytest

from synthsae_jax.errors import ConfigError
from synthsae_jax.io.rows import make_row
from synthsae_jax.suite.band import Band, unsettled_by
from synthsae_jax.suite.claims import Claim, judge
from synthsae_jax.suite.quantity import number


def rows(values, metric="gain", variant="geometric .7", **columns):
    """A row per world."""
    undefined = {"status": "undefined", "reason": "nothing is tracked"}
    return [
        make_row(
            benchmark="toy@1",
            run_id=f"r{world}",
            step=1,
            metric=metric,
            variant=variant,
            value=None if math.isnan(value) else value,
            world_seed=world,
            **(undefined if math.isnan(value) else {}),
            **columns,
        )
        for world, value in enumerate(values)
    ]


GAIN = {truth: number("gain", truth) for truth in ("geometric .7", "functional .7", "causal .5")}
PASSED = {truth: number("passes", truth) for truth in GAIN}
UP = [0.50, 0.52, 0.49, 0.51, 0.50]
DOWN = [-value for value in UP]


def claim(**more):
    settings = {"smallest_effect": 0.3, "margin": 0.1, **more}
    return Claim("H", "A sentence.", GAIN["geometric .7"], **settings)


def test_a_sign_that_depends_on_truth_leaves_a_claim_undecided():
    both = rows(UP) + rows(DOWN, variant="functional .7")
    (alone,) = judge([claim()], both)
    (banded,) = judge([claim(band=Band(GAIN))], both)
    assert alone["verdict"] == "supported"
    assert "band" not in alone
    assert banded["verdict"] == "undecided"
    assert banded["band"] == pytest.approx([-0.504, 0.504])
    assert "functional .7" in banded["unsettled"]
    assert "geometric .7" in banded["unsettled"]


def test_a_truth_that_oracles_fail_is_out_of_the_band():
    both = rows(UP) + rows(DOWN, variant="functional .7")
    passes = rows([0.9] * 5, "passes") + rows([0.2] * 5, "passes", "functional .7")
    (banded,) = judge([claim(band=Band(GAIN, PASSED))], both + passes)
    assert banded["verdict"] == "supported"
    assert banded["truths"] == {"in": ["geometric .7"], "out": ["functional .7"]}


def test_a_truth_without_a_number_takes_no_side():
    some = rows(UP) + rows([math.nan] * 5, variant="functional .7")
    (banded,) = judge([claim(band=Band(GAIN))], some)
    assert banded["verdict"] == "supported"
    assert banded["truths"]["in"] == ["geometric .7"]


@pytest.mark.parametrize(
    ("kind", "under", "settled"),
    [
        ("effect", {"a": 0.5, "b": 0.01}, True),
        ("effect", {"a": 0.5, "b": -0.01}, False),
        ("effect", {"a": 0.5, "b": 0.0}, True),
        ("equivalent", {"a": 0.05, "b": -0.05}, True),  # about 0: its sign means nothing
        ("equivalent", {"a": 0.05, "b": 0.2}, False),
        ("equivalent", {"a": 0.5, "b": 0.2}, True),
        ("equivalent", {"a": 0.5, "b": -0.5}, False),
        ("noninferior", {"a": 0.5, "b": -0.05}, True),
        ("noninferior", {"a": 0.5, "b": -0.2}, False),
        ("effect", {}, False),
    ],
)
def test_what_a_band_leaves_open(kind, under, settled):
    assert (unsettled_by(under, kind, margin=0.1) == "") == settled


def test_a_check_is_no_verdict_and_takes_no_power_from_claims():
    just = [0.30 + 0.02, 0.31 + 0.02, 0.33 + 0.02, 0.36 + 0.02, 0.40 + 0.02]
    data = rows(just)
    checks = [
        Claim(f"C{i}", "Built so.", GAIN["geometric .7"], smallest_effect=0.3, check=True)
        for i in range(8)
    ]
    claims = [
        Claim(f"H{i}", "Built so.", GAIN["geometric .7"], smallest_effect=0.3) for i in range(8)
    ]
    beside_checks = judge([claim(margin=0.1), *checks], data)
    beside_claims = judge([claim(margin=0.1), *claims], data)
    assert beside_checks[0]["verdict"] == "supported"
    assert beside_claims[0]["verdict"] == "undecided"
    assert {record["claim"] for record in beside_checks[1:]} == {"check"}
    (lone,) = judge([checks[0]], rows(DOWN))
    (clear,) = judge([checks[0]], rows(UP))
    assert (lone["verdict"], clear["verdict"]) == ("fails", "holds")


def test_the_other_rungs_stand_beside_and_decide_nothing():
    oracle = number("gain", "oracle")
    about = claim(rung="trained", beside={"oracle": oracle, "untrained": number("gain", "start")})
    (record,) = judge([about], rows(UP) + rows(DOWN, variant="oracle"))
    assert record["verdict"] == "supported"
    assert record["rung"] == "trained"
    assert record["beside"] == {"oracle": pytest.approx(-0.504), "untrained": None}
    assert oracle in about.quantities()


def test_rungs_and_truths_are_checked():
    with pytest.raises(ConfigError, match="Did you mean 'oracle'"):
        claim(rung="oracl")
    with pytest.raises(ConfigError, match="stands beside it"):
        claim(rung="oracle", beside={"oracle": GAIN["causal .5"]})
    with pytest.raises(ConfigError, match="truth of the band"):
        Band({"geometric .7": GAIN["geometric .7"]}, {"geometry .7": PASSED["causal .5"]})


def test_none_of_n_observations_has_room_left():
    pairs = [rows([0.0] * 6, condition=f"c{i}") for i in range(10)]
    data = [row for some in pairs for row in some]
    plain = GAIN["geometric .7"].over(data).interval
    counted = dataclasses.replace(GAIN["geometric .7"], trials=True).over(data)
    assert (plain.lo, plain.hi) == (0.0, 0.0)
    assert counted.interval.method == "exact"
    assert counted.interval.hi == pytest.approx(1 - 0.025 ** (1 / 60))


def test_fields_without_use_leave_the_specification_as_it_was():
    assert not {"rung", "band", "check", "beside"} & set(claim().spec())
    assert claim(band=Band(GAIN)).spec()["band"] == sorted(GAIN)
    assert claim(rung="oracle").spec()["rung"] == "oracle"
