"""Options of a registered function are its keyword-only parameters, and nothing else is."""

from __future__ import annotations

import pytest

from synthsae_jax.errors import ConfigError
from synthsae_jax.options import check_options


def solver(scores, *, temperature=1.0, steps=10):
    return scores, temperature, steps


def test_own_options_pass():
    check_options("solver 'x'", solver, {})
    check_options("solver 'x'", solver, {"steps": 3, "temperature": 2.0})


@pytest.mark.parametrize("given", ["stpes", "scores"])
def test_other_names_are_refused(given):
    with pytest.raises(ConfigError, match=f"option of solver 'x' '{given}'.*steps, temperature"):
        check_options("solver 'x'", solver, {given: 1})
