"""Directions: closed forms against what they stand for, and the geometry each kind promises."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from synthsae_jax.worlds import dictionary as directions
from synthsae_jax.worlds import superposition_statistics

SIGMA = 4.5


def gram_by_pairs(a, b):
    """Correlation of the cosines of all pairs of rows, one by one."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    upper = np.triu_indices(len(a), 1)
    return np.corrcoef((a @ a.T)[upper], (b @ b.T)[upper])[0, 1]


def test_orthogonalisation_follows_the_gradient_of_its_loss(key):
    n, steps, rate = 24, 30, 0.01
    rows = directions.random_rows(key, n, 8)

    def loss(v):
        gram = v @ v.T
        pairs = jnp.sum(gram**2) - jnp.sum(jnp.diagonal(gram) ** 2)
        return pairs + n * jnp.sum((jnp.sum(v**2, axis=1) - 1) ** 2)

    adam = optax.adam(rate)

    @jax.jit
    def step(v, state):
        update, state = adam.update(jax.grad(loss)(v), state)
        return optax.apply_updates(v, update), state

    v, state = rows, adam.init(rows)
    for _ in range(steps):
        v, state = step(v, state)
    expected = v / np.linalg.norm(v, axis=1, keepdims=True)
    found = directions.orthogonalize(rows, steps, rate)
    # Adam divides by the gradient's size, so rounding of small gradients is enlarged
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert loss(found) < 0.95 * loss(rows)


def test_orthogonalisation_lowers_overlap_and_keeps_unit_rows(key):
    rows = directions.random_rows(key, 256, 32)
    after = directions.orthogonalize(rows, 100, 3e-3)
    np.testing.assert_allclose(np.linalg.norm(after, axis=1), 1, atol=1e-5)
    before, after = superposition_statistics(rows), superposition_statistics(after)
    assert after.mean_max < before.mean_max - 0.02
    # F > D: mean squared cosine cannot pass the Welch bound (F - D) / (D (F - 1))
    assert after.mean > 0.5 * np.sqrt((256 - 32) / (32 * 255))


def test_few_directions_become_orthogonal(key):
    rows = directions.orthogonalize(directions.random_rows(key, 6, 12), 400, 1e-2)
    np.testing.assert_allclose(rows @ rows.T, np.eye(6), atol=1e-3)


@pytest.mark.parametrize(("narrow", "wide"), [(8, 8), (8, 12)])
def test_isometry_keeps_angles_towards_more_dimensions(key, narrow, wide):
    q = np.asarray(directions.random_isometry(key, narrow, wide))
    assert q.shape == (narrow, wide)
    np.testing.assert_allclose(q @ q.T, np.eye(narrow), atol=1e-5)
    back = np.asarray(directions.random_isometry(key, wide, narrow))
    np.testing.assert_allclose(back.T @ back, np.eye(narrow), atol=1e-5)


def test_isometries_are_uniform():
    q = jax.vmap(lambda k: directions.random_isometry(k, 3, 3))(
        jax.random.split(jax.random.key(3), 4000)
    )
    # an entry of a uniform rotation has mean 0 and mean square 1/3; both signs of det occur
    z = np.asarray(q).mean(0) * np.sqrt(3 * 4000)
    assert np.abs(z).max() < SIGMA
    np.testing.assert_allclose(
        (np.asarray(q) ** 2).mean(0), 1 / 3, atol=SIGMA * 0.3 / np.sqrt(4000)
    )
    turns = np.linalg.det(np.asarray(q)) > 0
    assert abs(turns.mean() - 0.5) < SIGMA * 0.5 / np.sqrt(4000)


@pytest.mark.parametrize("t", [0.0, 0.3, 0.9, 1.0])
def test_mixing_realises_its_cosine(key, t):
    reference, fresh = (directions.random_rows(k, 50, 8) for k in jax.random.split(key))
    rows = directions.mix(reference, fresh, t)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.sum(rows * reference, axis=1), t, atol=1e-5)


def test_gram_correlation_in_closed_form(key):
    keys = jax.random.split(key, 3)
    a = directions.random_rows(keys[0], 40, 8)
    b = directions.mix(a, directions.random_rows(keys[1], 40, 8), 0.8)
    c = directions.anisotropic_rows(keys[2], 40, 12, 0.3, 1.0)
    for x, y in ((a, b), (a, c), (b, c), (c, c)):
        np.testing.assert_allclose(
            directions.gram_correlation(x, y), gram_by_pairs(x, y), atol=2e-5
        )
    turned = a @ directions.random_isometry(keys[2], 8, 12)
    np.testing.assert_allclose(directions.gram_correlation(a, turned), 1, atol=1e-5)


def test_independent_random_dictionaries_share_no_relations(key):
    a, b = (directions.random_rows(k, 300, 16) for k in jax.random.split(key))
    # cosines of different pairs are uncorrelated: the sd over 300 * 299 / 2 pairs
    assert abs(directions.gram_correlation(a, b)) < SIGMA / np.sqrt(300 * 299 / 2)


def test_random_rows_are_uniform(key):
    rows = np.asarray(directions.random_rows(key, 20_000, 4), np.float64)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert np.abs(rows.mean(0)).max() < SIGMA * 0.5 / np.sqrt(20_000)
    # second moments 1/4 on the diagonal, each with an sd below .3 / sqrt(n)
    assert np.abs(rows.T @ rows / 20_000 - np.eye(4) / 4).max() < SIGMA * 0.3 / np.sqrt(20_000)


def test_anisotropic_rows_have_a_common_mean_and_a_power_law_spectrum(key):
    rows = np.asarray(directions.anisotropic_rows(key, 4000, 32, 0.3, 1.0), np.float64)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    mean = rows.mean(0)
    # unit rows sqrt(.3) m + sqrt(.7) r with r.m about +-.2: renormalising moves the share by .02
    assert abs(mean @ mean - 0.3) < 0.03
    values = np.sort(np.linalg.eigvalsh(np.cov(rows.T)))[::-1]
    slope = np.polyfit(np.log(np.arange(1, 17)), np.log(values[:16]), 1)[0]
    assert -1.3 < slope < -0.6
    other = np.asarray(directions.anisotropic_rows(jax.random.key(5), 4000, 32, 0.3, 1.0))
    # neither the mean nor the spectrum's axes are those of another draw: chance is 1 / sqrt(32)
    assert abs(mean @ other.mean(0)) / 0.3 < 0.6
    axis, axis_of_other = (np.linalg.eigh(np.cov(x.T))[1][:, -1] for x in (rows, other))
    assert abs(axis @ axis_of_other) < 0.6


def test_structured_rows_mix_relations_and_chance(key):
    table = directions.random_rows(key, 60, 32)
    keys = jax.random.split(key, 2)
    shared = [directions.structured_rows(k, table, 48, 1.0) for k in keys]
    for rows in shared:  # gamma 1: an isometric copy of the table
        np.testing.assert_allclose(directions.gram_correlation(rows, table), 1, atol=1e-4)
    chance = directions.structured_rows(keys[0], table, 48, 0.0)
    assert abs(directions.gram_correlation(chance, table)) < SIGMA / np.sqrt(60 * 59 / 2)
    narrow = directions.structured_rows(keys[0], table, 12, 0.5)
    np.testing.assert_allclose(np.linalg.norm(narrow, axis=1), 1, atol=1e-5)
