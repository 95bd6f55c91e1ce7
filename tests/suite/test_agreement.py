"""Features that two SAEs recover together, from known counts."""

import math

import pytest

from synthsae_jax.suite.agreement import Together


def test_independent_finds_are_at_chance_and_nested_ones_at_the_ceiling():
    independent = Together(common=100, a=50, b=40, both=20)
    assert independent.co_recovery == 0
    assert independent.recovered_shared == independent.chance == 0.5
    nested = Together(common=100, a=50, b=40, both=40)
    assert nested.co_recovery == nested.recovered_shared == 1
    assert nested.jaccard == 40 / 50
    # half way between what chance gives and what numbers allow
    assert Together(100, 50, 40, 30).co_recovery == pytest.approx(0.5)


def test_what_has_no_room_is_undefined():
    nothing = Together(common=100, a=0, b=40, both=0)
    assert math.isnan(nothing.co_recovery)
    assert math.isnan(nothing.recovered_shared)
    # a side that recovers all leaves nothing to be beyond chance
    everything = Together(common=100, a=100, b=40, both=40)
    assert math.isnan(everything.co_recovery)
    assert everything.recovered_shared == everything.chance == 1
    assert math.isnan(Together(100, 0, 0, 0).jaccard)
