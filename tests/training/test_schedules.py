"""Annealed numbers and the shapes of a decaying learning rate."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from synthsae_jax import saes
from synthsae_jax.errors import ConfigError
from synthsae_jax.training import Anneal, TrainConfig, log_spaced, train
from synthsae_jax.training.schedules import Ramp, Schedule, annealed, learning_rate

CONFIG = TrainConfig(n_samples=8 * tiny.BATCH, batch_size=tiny.BATCH, lr=3e-3, history_points=8)


def rates(shape, end=0.0, decay=6, warm_up=2):
    schedule = Schedule(*(jnp.float32(v) for v in (1.0, end, warm_up, decay, 10)))
    return learning_rate(schedule, jnp.arange(11), shape)


def test_linear_decay_ends_where_it_should():
    expected = [0.5, 1, 1, 1, 1, *(0.25 + 0.75 * np.arange(5, -1, -1) / 6)]
    np.testing.assert_allclose(rates("linear", end=0.25), expected, rtol=1e-6)


def test_cosine_decay_is_half_a_cosine():
    expected = [0.5, 1, 1, 1, 1, *(0.5 * (1 + np.cos(np.pi * np.arange(1, 7) / 6)))]
    np.testing.assert_allclose(rates("cosine"), expected, atol=1e-6)


@pytest.mark.parametrize(("step", "k"), [(0, 12), (1, 10), (2, 8), (3, 5), (4, 3), (9, 3)])
def test_a_whole_number_is_annealed_in_whole_numbers(step, k):
    # 12 - 9 / 4 * step: 12, 9.75, 7.5, 5.25, 3; halves round to the even number
    ramp = Ramp(start=jnp.float32(12), steps=jnp.int32(4))
    hyper = annealed(tiny.sae("topk").hyper, {"k": ramp}, jnp.int32(step))
    assert (int(hyper.k), hyper.k.dtype) == (k, jnp.int32)


def test_k_falls_while_training_and_ends_at_the_saes_own():
    config = dataclasses.replace(CONFIG, anneal=(Anneal("k", 12, steps=4),))
    result = train(tiny.world(), tiny.instance(), tiny.sae(), config, [0, 1], 0)
    # batchtopk keeps exactly k n latents of a batch that has as many
    expected = [12, 9.75, 7.5, 5.25, 3, 3, 3, 3]
    np.testing.assert_allclose(result.history["l0"], [expected] * 2, atol=1 / tiny.BATCH)
    np.testing.assert_array_equal(result.hyper.k, [3, 3])


@pytest.mark.parametrize(
    ("anneal", "message"),
    [
        ((Anneal("kk", 12),), "Unknown number of SAE 'batchtopk' to anneal 'kk'. Did you mean 'k'"),
        ((Anneal("k", 1000),), "k must satisfy 0 < k <= d_sae"),
    ],
)
def test_what_cannot_be_annealed_says_so(anneal, message):
    config = dataclasses.replace(CONFIG, anneal=anneal)
    with pytest.raises(ConfigError, match=message):
        train(tiny.world(), tiny.instance(), tiny.sae(), config)


def test_numbers_that_only_init_reads_are_not_annealed():
    sae = saes.build("jumprelu", d_in=tiny.D, d_sae=tiny.L)
    config = dataclasses.replace(CONFIG, anneal=(Anneal("jumprelu_init_threshold", 1.0),))
    with pytest.raises(ConfigError, match=r"to anneal 'jumprelu_init_threshold'.*Known: jumprelu_"):
        train(tiny.world(), tiny.instance(), sae, config)
    with pytest.raises(ConfigError, match=r"Anneal.start must be finite, got nan"):
        Anneal("k", float("nan"))


def test_a_refined_sae_is_checked_as_its_base_is():
    sae = saes.leave_one_out(tiny.sae("topk"))
    config = dataclasses.replace(CONFIG, anneal=(Anneal("k", 1000),))
    with pytest.raises(ConfigError, match="k must satisfy 1 <= k <= d_sae"):
        train(tiny.world(), tiny.instance(), sae, config)
    with pytest.raises(ConfigError, match="k must satisfy 1 <= k <= d_sae"):
        train(tiny.world(), tiny.instance(), sae, CONFIG, hyper=sae.hyper.replace(k=0))


def test_snapshots_are_the_weights_on_the_way():
    config = dataclasses.replace(CONFIG, snapshots=(0, 3, 8))
    result = train(tiny.world(), tiny.instance(), tiny.sae(), config, [0, 1], 0)
    assert [s.W_dec.shape for s in result.snapshots] == [(2, tiny.L, tiny.D)] * 3
    np.testing.assert_array_equal(result.snapshots[-1].W_dec, result.params.W_dec)
    # no decay: three of eight steps are the same as a run of three
    short = dataclasses.replace(CONFIG, n_samples=3 * tiny.BATCH)
    three = train(tiny.world(), tiny.instance(), tiny.sae(), short, [0, 1], 0)
    np.testing.assert_allclose(result.snapshots[1].W_dec, three.params.W_dec, atol=1e-5)
    np.testing.assert_allclose(result.snapshots[1].threshold, three.params.threshold, atol=1e-5)
    # a chunk's end inside a row of the history does not change the row
    plain = train(tiny.world(), tiny.instance(), tiny.sae(), CONFIG, [0, 1], 0)
    np.testing.assert_allclose(result.history["loss"], plain.history["loss"], rtol=1e-5)


def test_log_spaced_steps():
    assert log_spaced(1000, 4) == (1, 10, 100, 1000)
    assert log_spaced(5, 50) == (1, 2, 3, 4, 5)
