"""Families of models: what their members have in common, and the plain view of each."""

import jax
import numpy as np
import pytest

from synthsae_jax import keys, worlds
from synthsae_jax.worlds import family

CONDITIONS = (
    family.IDENTICAL,
    family.ROTATED,
    family.HALF,
    family.DISJOINT_INDEPENDENT,
    family.DISJOINT_COUPLED,
)


@pytest.fixture(scope="module")
def members():
    parents = np.full(60, -1)
    parents[12:36] = np.repeat(np.arange(12), 2)
    world = worlds.make_world(np.linspace(0.3, 0.05, 60), parents, slots=(16, 40, 24, 40))
    config = worlds.InstanceConfig(hidden_dim=24, orthogonalize_steps=5)
    return family.init_family(world, config, CONDITIONS, seed=3)


def test_features_in_common_are_what_the_conditions_say(members):
    a = np.asarray(members.reference.present)
    assert a[:60].all()
    assert not a[60:].any()
    shares = [
        (a & np.asarray(members.partner(i).present)).sum() / 60 for i in range(len(CONDITIONS))
    ]
    assert shares[0] == shares[1] == 1
    assert abs(shares[2] - 0.5) <= 3 / 60  # whole trees of three
    assert shares[3] == shares[4] == 0


def test_geometry_in_common_is_what_the_conditions_say(members):
    assert members.gram_correlation(0) == pytest.approx(1, abs=1e-4)
    assert members.gram_correlation(1) == pytest.approx(1, abs=1e-4)
    # independent directions: mean 0, sd about 1 / sqrt(number of pairs) = .024
    assert abs(members.gram_correlation(2)) < 0.12
    first = np.asarray(members.reference.dictionary)
    np.testing.assert_allclose(members.partner(0).dictionary, first, atol=1e-6)
    assert np.abs((np.asarray(members.partner(1).dictionary) * first).sum(1)).mean() < 0.5


def test_a_plain_view_has_the_rows_and_the_law_of_the_instance(members):
    b = members.partner(2)
    view = family.plain_view(b)
    own = np.asarray(b.present)[:60]
    expected = np.where(own[:, None], b.dictionary[:60], b.dictionary[60:])
    np.testing.assert_array_equal(view.dictionary, expected)
    registry = members.registry("factors")
    draw = jax.jit(worlds.draw, static_argnums=3)
    n = 20_000
    codes, _ = draw(keys.data_key(0, "pilot"), registry, b.replace(config=None), n)
    plain, _ = draw(keys.data_key(1, "pilot"), members.base, view.replace(config=None), n)
    rates = np.bincount(np.asarray(codes.indices).ravel(), minlength=121)[:120] / n
    of_view = np.bincount(np.asarray(plain.indices).ravel(), minlength=61)[:60] / n
    assert rates[~np.asarray(b.present)].sum() == 0
    of_instance = rates[:60] + rates[60:]
    error = np.sqrt(2 * of_view * (1 - of_view) / n) + 1e-9
    assert (np.abs(of_instance - of_view) / error).max() < 4.5
