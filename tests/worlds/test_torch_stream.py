"""The torch stream against numbers that torch drew (scripts/make_golden_torch_stream)."""

from __future__ import annotations

import numpy as np
import pytest

from synthsae_jax.worlds.torch_stream import DEFAULT_SEED, TorchStream


@pytest.fixture(scope="module")
def drawn(golden):
    with np.load(golden / "torch_stream.npz") as arrays:
        return dict(arrays)


def replay(stream, calls):
    parts = [getattr(stream, kind)(int(n)) for kind, n in (call.split() for call in calls)]
    return np.concatenate(parts)


def test_every_recorded_stream_is_redrawn(drawn):
    for name, expected in drawn.items():
        seed, calls = name.split("/")
        stream = TorchStream(DEFAULT_SEED if seed == "default" else int(seed))
        ours = replay(stream, calls.split(","))
        assert ours.dtype == np.float32
        if "randn" in calls:
            # torch's own logarithm and cosine differ from build to build in the last places
            np.testing.assert_allclose(ours, expected, atol=5e-7, err_msg=name)
        else:
            np.testing.assert_array_equal(ours, expected, err_msg=name)


def test_shapes_are_filled_row_by_row():
    flat = TorchStream(3).randn(60)
    np.testing.assert_array_equal(TorchStream(3).randn(12, 5), flat.reshape(12, 5))
    assert TorchStream(3).rand(2, 3).shape == (2, 3)
    assert TorchStream(3).randn(0).shape == (0,)


def test_seeds_count_modulo_a_word():
    np.testing.assert_array_equal(TorchStream(7).rand(4), TorchStream(7 + 2**32).rand(4))
    assert not np.array_equal(TorchStream(7).rand(4), TorchStream(8).rand(4))


def test_normals_are_standard():
    draws = TorchStream(1).randn(400_000)
    # standard errors: 1/sqrt(n) of the mean, sqrt(2/n) of the variance; 4.5 of them
    assert abs(draws.mean(dtype=np.float64)) < 4.5 / np.sqrt(4e5)
    assert abs(draws.var(dtype=np.float64) - 1) < 4.5 * np.sqrt(2 / 4e5)
