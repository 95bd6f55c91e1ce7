"""Overlap: what is asked for is what the rows have, whichever way it is moved."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

from synthsae_jax import worlds
from synthsae_jax.errors import ConfigError
from synthsae_jax.worlds import dictionary as directions
from synthsae_jax.worlds.overlap import pair_cosine

F, D = 256, 160
# The overlap of one row has an sd of about .03 here, so the mean over 256 rows one of .002.
TOLERANCE = 0.008


@functools.cache
def world(n_features=F):
    return worlds.make_world(np.full(n_features, 0.1), slots=(1, 8, 8))


def realised(n_features, dim, **options):
    config = worlds.InstanceConfig(dim, orthogonalize_steps=0, **options)
    a = worlds.init_instance(jax.random.key(3), world(n_features), config)
    np.testing.assert_allclose(np.linalg.norm(a.dictionary, axis=1), 1, atol=1e-5)
    return worlds.superposition_statistics(a.dictionary)


@pytest.mark.parametrize(("n_features", "dim"), [(256, 64), (64, 16)])
def test_random_rows_have_the_overlap_of_the_formula(n_features, dim):
    found = realised(n_features, dim).mean_max
    assert abs(found - worlds.overlap_of(n_features, dim)) < 3 * TOLERANCE * np.sqrt(
        256 * 16 / (n_features * dim)
    )


def test_the_published_overlaps():
    # 16,384 random directions (worked numbers of SynthSAEBench's dictionary before its 100 steps)
    for dim, value in ((256, 0.2548), (768, 0.1486), (1536, 0.1053)):
        assert abs(worlds.overlap_of(16_384, dim) - value) < 1e-3


@pytest.mark.parametrize("overlap", [0.10, 0.15, 0.20, 0.30])
def test_three_ways_to_one_overlap(overlap):
    dim = worlds.dim_for_overlap(64, overlap)
    assert abs(worlds.overlap_of(64, dim) - overlap) < 2e-3
    assert abs(realised(64, dim).mean_max - overlap) < 2 * TOLERANCE
    if overlap >= 0.15:
        n = worlds.features_for_overlap(D, overlap, most=2**16)
        assert abs(worlds.overlap_of(n, D) - overlap) < 5e-3
    if overlap > worlds.overlap_of(F, D):
        assert abs(realised(F, D, overlap=overlap).mean_max - overlap) < TOLERANCE


def test_pairs_leave_the_other_cosines_as_they_were():
    wanted = 0.5
    found, plain = realised(F, D, overlap=wanted), realised(F, D)
    assert found.largest < wanted + 1e-3
    assert abs(found.mean - plain.mean) < 0.01
    rows = directions.paired_rows(
        jax.random.key(0), directions.random_rows(jax.random.key(1), 64, 256), 0.6
    )
    cosine = np.abs(np.asarray(rows) @ np.asarray(rows).T) - np.eye(64)
    assert ((cosine > 0.5999).sum(axis=1) == 1).all()
    signs = np.sign((np.asarray(rows) @ np.asarray(rows).T)[cosine > 0.5999])
    assert {-1.0, 1.0} == set(signs)


def test_an_orthogonal_arm():
    assert realised(48, 64, geometry="orthogonal").largest < 1e-5
    # more rows than dimensions: bases of their own, so a row has 63 others at no overlap
    rows = np.asarray(directions.orthogonal_rows(jax.random.key(0), 100, 64), np.float64)
    overlap = np.abs(rows @ rows.T)
    assert ((overlap < 1e-5).sum(axis=1) >= 35).all()
    assert worlds.superposition_statistics(rows).mean_max > 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: realised(F, D, overlap=0.1), r"overlap 0.1 is below the 0.2"),
        (lambda: realised(63, D, overlap=0.5), "must be even; got 63"),
        (lambda: worlds.InstanceConfig(D, overlap=1.0), "between 0 and 1"),
        (lambda: worlds.InstanceConfig(D, overlap=0.3, geometry="structured"), "geometry 'random'"),
        (lambda: worlds.dim_for_overlap(F, 0.0), "between 0 and 1"),
        (lambda: worlds.features_for_overlap(D, 0.01), "overlaps go from"),
        (lambda: pair_cosine(F, D, 2.0), "between 0 and 1"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
