"""Claims are judged from rows, and the record says all that a reader needs."""

import json

import numpy as np
import pytest

from synthsae_jax.errors import ConfigError
from synthsae_jax.io.rows import make_row
from synthsae_jax.suite.claims import Claim, judge, write_verdicts
from synthsae_jax.suite.quantity import number


def claim(name="H", smallest=0.3, margin=0.1, **more):
    quantity = number("f1", title="a mean")
    return Claim(name, "A sentence.", quantity, smallest, margin, "more worlds", **more)


def rows_of(values):
    """A row for each of some worlds."""
    return [
        make_row(
            benchmark="toy@1",
            run_id="a",
            step=1,
            world_seed=world,
            metric="f1",
            value=None if np.isnan(value) else value,
            status="undefined" if np.isnan(value) else "ok",
            reason="all latents are dead" if np.isnan(value) else None,
        )
        for world, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.50, 0.52, 0.49, 0.51, 0.50], "supported"),
        ([0.01, 0.02, -0.01, 0.0, 0.01], "refuted"),
        ([0.9, -0.5, 0.4, 0.1, 0.3], "undecided"),
        ([0.5, 0.5, 0.5, 0.5], "undecided"),  # four worlds are too few for an interval
        ([np.nan] * 6, "undecided"),
    ],
)
def test_verdicts_follow_the_interval(values, expected):
    (found,) = judge([claim()], rows_of(values))
    assert found["verdict"] == expected
    assert (found["lo"] is None) == (np.isfinite(values).sum() < 5)


def test_holm_acts_within_a_family():
    # alone each is just decided; eight alike are not
    values = np.array([0.30, 0.31, 0.33, 0.36, 0.40]) + 0.02
    rows = rows_of(values)
    (alone,) = judge([claim()], rows)
    many = judge([claim(f"H{i}") for i in range(8)], rows)
    apart = judge([claim(f"H{i}", family=f"F{i}") for i in range(8)], rows)
    assert {record["verdict"] for record in apart} == {alone["verdict"]} == {"supported"}
    assert {record["verdict"] for record in many} == {"undecided"}


def test_verdicts_are_written_as_plain_json(tmp_path):
    found = judge([claim()], rows_of([np.nan, 0.5]))
    path = write_verdicts(tmp_path, "validity@1", True, found)
    (record,) = json.loads(path.read_text())
    assert record["hypothesis"] == "H"
    assert record["pilot"] is True
    assert record["would_change"] == "more worlds"
    assert record["lo"] is None
    assert (record["defined"], record["observations"]) == (1, 2)


def test_a_claim_without_room_between_its_numbers_is_refused():
    with pytest.raises(ConfigError, match="margin"):
        claim(smallest=0.1, margin=0.2)
