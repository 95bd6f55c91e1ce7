"""Twin registries: equal statistics, nothing in common, and what each coupling makes equal."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal
from world_reference import FOREST, TAIL, densify, organised_world, rate_p, sample

from synthsae_jax import worlds
from synthsae_jax.errors import ConfigError

N, BATCHES = 4096, 8
SIGMA = 4.5


@functools.cache
def base():
    """Slots that no token of these tests overflows."""
    return worlds.init_world(jax.random.key(0), FOREST, slots=(8, 24, 16, 16, 32))


@functools.cache
def copies(coupling):
    """Which features of the base and of its twins are active, bool [n, F] each."""
    world = worlds.twin(base(), coupling)
    active = []
    for k in jax.random.split(jax.random.key(1), BATCHES):
        codes = sample(k, world, N)
        assert not codes.overflow.any()
        active.append(np.asarray(densify(codes, world.n_features)) > 0)
    active = np.concatenate(active)
    return active[:, : base().n_base], active[:, base().n_base :]


@functools.cache
def rates():
    return worlds.expected_rates(base())


def classes():
    forest = base().forest
    free = np.asarray(forest.free)
    return {"free": free, "trees": np.setdiff1d(np.arange(base().n_base), free)}


every_coupling = pytest.mark.parametrize("coupling", worlds.COUPLINGS)


@every_coupling
def test_ids_and_empty_slots(coupling, key):
    world = worlds.twin(base(), coupling)
    n = base().n_base
    assert (world.n_base, world.n_features, world.n_slots) == (n, 2 * n, 64)
    codes, plain = sample(key, world, N), sample(key, base(), N)
    indices, values = np.asarray(codes.indices), np.asarray(codes.values)
    assert indices.shape == (N, 64)
    assert ((indices == 2 * n) == (values == 0)).all()
    # the first copy is the plain world's draw; the second has ids of its own
    first, second = indices[:, :32], indices[:, 32:]
    np.testing.assert_array_equal(np.where(first == 2 * n, n, first), plain.indices)
    np.testing.assert_array_equal(values[:, :32], plain.values)
    assert (second >= n).all()


@every_coupling
def test_the_hierarchy_holds_among_twins(coupling):
    _, twins = copies(coupling)
    parent, group = np.asarray(base().forest.parent), np.asarray(base().forest.group)[:-1]
    child = np.flatnonzero(parent >= 0)
    assert not (twins[:, child] & ~twins[:, parent[child]]).any()
    member = np.eye(group.max() + 1)[group[group >= 0]]
    assert (twins[:, group >= 0] @ member).max() == 1


@pytest.mark.parametrize("coupling", ["independent", "factors"])
def test_twins_have_the_rates_of_the_base(coupling):
    # quadrature over factors is off by .2 % at rates of 1e-3, which is small beside the noise
    for active in copies(coupling):
        assert rate_p(active.sum(0), len(active), rates()).min() > TAIL


def test_twins_with_equal_counts_have_almost_the_rates_of_the_base():
    first, twins = copies("counts")
    n = len(twins)
    noise = SIGMA * np.sqrt(rates() * (1 - rates()) / n) + 3 / n
    assert (np.abs(twins.mean(0) - rates()) < 0.02 * rates() + noise).all()
    for ids in classes().values():
        a, b = (x[:, ids].sum(1, dtype=float) for x in (first, twins))
        assert abs(b.mean() / a.mean() - 1) < 0.02 + SIGMA * (a - b).std() / a.mean() / np.sqrt(n)
    assert abs(twins.sum() / first.sum() - 1) < 0.01


def test_what_each_coupling_makes_equal():
    found = {}
    for coupling in worlds.COUPLINGS:
        a, b = (x.sum(1) for x in copies(coupling))
        found[coupling] = np.corrcoef(a, b)[0, 1], (a == b).mean()
    independent, factors, counts = (found[c] for c in worlds.COUPLINGS)
    assert abs(independent[0]) < SIGMA / np.sqrt(N * BATCHES)
    assert factors[0] > 0.08
    assert factors[1] < 0.2
    assert counts[0] > 0.99
    assert counts[1] > 0.97


def test_independent_twins_fire_together_by_chance():
    a, b = copies("independent")
    assert rate_p((a & b).sum(0), len(a), rates() ** 2).min() > TAIL


def test_twins_with_shared_factors_fire_together_as_the_factors_say():
    a, b = copies("factors")
    world = base()
    threshold = np.asarray(world.threshold, np.float64)
    for i in classes()["free"][:30]:
        latent = float(np.sum(np.asarray(world.factor[i], np.float64) ** 2))
        fired = multivariate_normal(cov=[[1, latent], [latent, 1]]).cdf([-threshold[i]] * 2)
        # no magnitude is cut to 0 here: means are at least 4 and sds about .6
        assert rate_p((a[:, i] & b[:, i]).sum(), len(a), fired) > TAIL


def test_twins_with_equal_counts_are_still_strangers():
    # a count in common adds to what the factors do, and to twins no more than to other pairs
    more = {}
    for name, turn in (("twins", 0), ("others", 1)):
        sums = []
        for coupling in ("counts", "factors"):
            a, b = (x[:, rates() > 0.02] for x in copies(coupling))
            sums.append((a & np.roll(b, turn, axis=1)).sum())
        more[name] = sums[0] / sums[1]
    assert 1 < more["twins"] < 1.1 * more["others"] < 2


def test_refused():
    with pytest.raises(ConfigError, match="Did you mean 'counts'"):
        worlds.twin(base(), "count")
    with pytest.raises(ConfigError, match="takes a plain world"):
        worlds.twin(worlds.twin(base()))
    with pytest.raises(ConfigError, match="without mutual exclusion; use 'factors'"):
        worlds.twin(organised_world(), "counts")
    assert worlds.twin(organised_world(), "factors").copies == 2
