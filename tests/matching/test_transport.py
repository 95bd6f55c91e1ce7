"""Soft matchings against linear programs and the assignment they contain."""

import jax
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from synthsae_jax import matching
from synthsae_jax.errors import ConfigError
from synthsae_jax.matching.transport import partial_transport, soft_matching
from synthsae_jax.matching.transport import sinkhorn as plain_sinkhorn

SHAPE = (9, 6)
sinkhorn = jax.jit(lambda s, a, b: plain_sinkhorn(s, a, b, epsilon=0.02, iterations=1200))
partial = jax.jit(lambda s: partial_transport(s, unmatched=0.5, epsilon=0.01))
part = jax.jit(lambda s: partial_transport(s, mass=0.3, epsilon=0.01))


@pytest.fixture(scope="module")
def s():
    return np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


def test_sinkhorn_has_its_marginals_and_comes_near_the_linear_program(s):
    even = np.ones(SHAPE[0]), np.ones(SHAPE[1])
    plan = sinkhorn(s, *even)
    np.testing.assert_allclose(plan.mass.sum(0), 1 / SHAPE[1], atol=1e-5)
    np.testing.assert_allclose(plan.mass.sum(1), 1 / SHAPE[0], atol=1e-4)
    assert float(plan.matched) == pytest.approx(1, abs=1e-5)
    assert float(plan.error) < 1e-3
    exact = soft_matching(s)
    # the entropy costs at most epsilon sd(s) ln(L_a L_b)
    assert 0 < float(exact.value - plan.value) < 0.02 * s.std() * np.log(s.size)

    weights = np.arange(1, 10), np.arange(6)
    plan = sinkhorn(s, *weights)
    np.testing.assert_allclose(plan.mass.sum(0), weights[1] / 15, atol=1e-5)
    np.testing.assert_allclose(plan.mass.sum(1), weights[0] / 45, atol=1e-3)
    # no weight, no mass
    assert (np.asarray(plan.mass)[:, 0] == 0).all()


def test_dead_latents_carry_no_mass(s):
    s = s.copy()
    s[2] = np.nan
    s[:, 1] = np.nan
    even = np.ones(SHAPE[0]), np.ones(SHAPE[1])
    for plan in (sinkhorn(s, *even), soft_matching(s), partial(s)):
        mass = np.asarray(plan.mass)
        assert np.isfinite(mass).all()
        assert (mass[2] == 0).all()
        assert (mass[:, 1] == 0).all()
    assert float(sinkhorn(s, *even).matched) == pytest.approx(1, abs=1e-5)
    nothing = np.full(SHAPE, np.nan, np.float32)
    for plan in (sinkhorn(nothing, *even), soft_matching(nothing), partial(nothing)):
        assert not np.asarray(plan.mass).any()
        assert float(plan.matched) == 0
        assert np.isnan(float(plan.value))


def test_soft_matching_of_equal_widths_is_the_assignment(s):
    square = s[:6]
    plan = soft_matching(square)
    best = square[linear_sum_assignment(square, maximize=True)].mean()
    assert float(plan.value) == pytest.approx(best, abs=1e-5)
    assert float(plan.error) < 1e-6


def test_soft_matching_of_a_doubled_side_splits_each_latent_in_two(s):
    # every latent of B twice: each original shares its mass between its copies
    square = s[:6]
    doubled = np.repeat(square, 2, axis=1)
    plan = soft_matching(doubled)
    assert float(plan.value) == pytest.approx(float(soft_matching(square).value), abs=1e-5)
    np.testing.assert_allclose(plan.mass.sum(0), 1 / 12, atol=1e-6)
    # rows and columns swapped: the same plan, transposed
    swapped = soft_matching(doubled.T)
    assert float(swapped.value) == pytest.approx(float(plan.value), abs=1e-5)


def test_an_unconnected_plan_is_undefined():
    # two latents of A may only go to one of B, which has a third of the mass
    s = np.full((3, 3), np.nan)
    s[0, 0] = s[1, 0] = s[2, 1] = s[2, 2] = 1.0
    plan = soft_matching(s)
    assert np.isnan(plan.value)
    assert plan.matched == 0


def test_partial_transport_estimates_the_shared_part():
    # 4 of 9 and of 6 latents have a partner: at equal weights 4 x 1/9 of A's mass can go
    rng = np.random.default_rng(1)
    s = 0.02 * rng.normal(size=SHAPE).astype(np.float32)
    s[np.arange(4), [5, 2, 0, 3]] += 1.0
    plan = partial(s)
    assert float(plan.matched) == pytest.approx(4 / 9, abs=0.02)
    options = {"unmatched": 0.5, "epsilon": 0.01}
    m = jax.jit(lambda s: matching.solve("partial_transport", s, **options))(s)
    found = [(int(i), int(j)) for i, j, v in zip(m.row, m.col, m.valid) if v]
    assert found == [(0, 5), (1, 2), (2, 0), (3, 3)]
    # or the part is given, and what moves is the best of it
    given = part(s)
    assert float(given.matched) == pytest.approx(0.3, abs=2e-3)
    assert float(given.value) == pytest.approx(0.3, abs=0.02)


def test_choices_are_checked(s):
    with pytest.raises(ConfigError, match="epsilon > 0"):
        plain_sinkhorn(s, epsilon=0.0)
    with pytest.raises(ConfigError, match=r"share in \(0, 1\)"):
        partial_transport(s, mass=1.0)
    with pytest.raises(ConfigError, match=r"weight_a must be float \[9\]"):
        plain_sinkhorn(s, np.ones(3))
