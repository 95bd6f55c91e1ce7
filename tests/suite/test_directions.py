"""Cosines of paired directions against a pairing written out."""

import numpy as np
import pytest

from synthsae_jax.suite.directions import assigned_cosine


def test_assigned_cosines_are_those_of_the_best_pairing():
    rows = np.eye(4)[:3]
    turned = np.stack([-2 * rows[2], rows[0], rows[1] + rows[2], np.zeros(4)])
    # signed: rows 0 and 1 have partners of cosine 1 and 2^-1/2, and row 2 is left with 0
    assert assigned_cosine(rows, turned) == pytest.approx((1 + 0.5**0.5) / 3)
    assert assigned_cosine(rows, turned, absolute=True) == pytest.approx((2 + 0.5**0.5) / 3)
