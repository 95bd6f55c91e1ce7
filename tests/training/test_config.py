"""What a training config accepts, and the number of steps that follows from it."""

import dataclasses

import numpy as np
import pytest

from synthsae_jax import registry
from synthsae_jax.errors import ConfigError
from synthsae_jax.training import TrainConfig, ranges


def test_defaults_are_the_published_recipe():
    # SynthSAEBench: Adam at 3e-4 with betas (.9, .999), no warm-up or decay, batches of 1,024, dead
    # after 1,000 steps, gradients clipped to norm 1
    expected = {
        "n_samples": 4_000_000,
        "batch_size": 1024,
        "lr": 3e-4,
        "lr_warm_up_steps": 0,
        "lr_decay_steps": 0,
        "dead_window": 1000,
        "grad_clip": 1.0,
        "dtype": "float32",
        "adam_b1": 0.9,
        "adam_b2": 0.999,
        "adam_eps": 1e-8,
    }
    assert expected.items() <= dataclasses.asdict(TrainConfig()).items()


@pytest.mark.parametrize(("n_samples", "n_steps"), [(1, 1), (64, 1), (65, 2), (128, 2), (129, 3)])
def test_steps_are_whole_batches_that_reach_the_samples(n_samples, n_steps):
    assert TrainConfig(n_samples=n_samples, batch_size=64).n_steps == n_steps


def test_equal_configs_are_equal_and_numpy_numbers_welcome():
    config = TrainConfig(n_samples=np.int64(640), batch_size=64, lr=np.float32(0.5))
    assert config == TrainConfig(n_samples=640, batch_size=64, lr=0.5)
    assert hash(config) == hash(TrainConfig(n_samples=640, batch_size=64, lr=0.5))


def test_every_number_and_word_is_in_the_table_and_can_be_explained():
    own_checks = {"anneal", "snapshots"}  # tuples, which depend on other fields
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    assert set(ranges.FIELDS) == names - own_checks
    for name in ranges.FIELDS:
        assert [kind for kind, _ in registry.explain(name) if kind == "training option"], name
    (_, explanation), *_ = registry.explain("dead_window")
    assert explanation.range == "a whole number >= 0"


def test_the_schedule_may_take_all_steps():
    config = TrainConfig(n_samples=640, batch_size=64, lr_warm_up_steps=4, lr_decay_steps=6)
    assert config.n_steps == 10


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_samples": 0}, "TrainConfig.n_samples must be a whole number >= 1, got 0"),
        ({"n_samples": 4e6}, "TrainConfig.n_samples must be a whole number >= 1, got 4000000.0"),
        ({"batch_size": 64.0}, "TrainConfig.batch_size must be a whole number >= 1, got 64.0"),
        ({"batch_size": "64"}, "TrainConfig.batch_size must be a whole number >= 1, got '64'"),
        ({"history_points": 0}, "TrainConfig.history_points must be a whole number >= 1, got 0"),
        ({"lr_warm_up_steps": -1}, "TrainConfig.lr_warm_up_steps must be a whole number >= 0"),
        ({"lr_decay_steps": 0.5}, "TrainConfig.lr_decay_steps must be a whole number >= 0"),
        ({"dead_window": -1}, "TrainConfig.dead_window must be a whole number >= 0, got -1"),
        ({"lr": 0.0}, "TrainConfig.lr must be positive and finite, got 0.0"),
        ({"lr": float("nan")}, "TrainConfig.lr must be positive and finite, got nan"),
        ({"lr": float("inf")}, "TrainConfig.lr must be positive and finite, got inf"),
        ({"adam_eps": 0.0}, "TrainConfig.adam_eps must be positive and finite, got 0.0"),
        ({"adam_b1": 1.0}, r"TrainConfig.adam_b1 must be in \[0, 1\), got 1.0"),
        ({"adam_b2": -0.1}, r"TrainConfig.adam_b2 must be in \[0, 1\), got -0.1"),
        ({"n_samples": True}, "TrainConfig.n_samples must be a whole number >= 1, got True"),
        ({"lr": "fast"}, "TrainConfig.lr must be positive and finite, got 'fast'"),
        ({"lr_end": 1.0}, r"TrainConfig.lr_end must lie in 0..lr = 0.0003, got 1.0"),
        ({"lr_end": -1.0}, "TrainConfig.lr_end must be finite and not negative, got -1.0"),
        ({"target_l0": float("inf")}, "TrainConfig.target_l0 must be > 0 or None, got inf"),
        ({"resample_every": 0}, "resample_every must be a whole number >= 1 or None, got 0"),
        ({"resample_until": 9}, "resample_until says nothing without resample_every, got 9"),
        ({"snapshots": (1.5,)}, "snapshots must be increasing whole steps in 0..3907"),
        ({"grad_clip": 0.0}, "TrainConfig.grad_clip must be > 0 or None, got 0.0"),
        ({"dtype": "bfloat"}, "Unknown TrainConfig.dtype 'bfloat'. Did you mean 'bfloat16'"),
        (
            {"n_samples": 640, "batch_size": 64, "lr_warm_up_steps": 5, "lr_decay_steps": 6},
            "warm-up and decay take 11 steps, but there are 10",
        ),
    ],
)
def test_values_out_of_range_are_refused_in_one_line(given, message):
    with pytest.raises(ConfigError, match=message) as error:
        TrainConfig(**given)
    assert "\n" not in str(error.value)
