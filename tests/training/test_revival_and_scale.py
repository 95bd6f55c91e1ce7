"""Dead latents that start again, and inputs scaled while training."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from synthsae_jax import metrics, saes, worlds
from synthsae_jax.errors import ConfigError
from synthsae_jax.training import TrainConfig, train
from synthsae_jax.training.batches import Streams, data_of
from synthsae_jax.training.program import Program, estimated_scale
from synthsae_jax.training.resample import forgotten, resampled
from synthsae_jax.training.runs import numbers_of_runs
from synthsae_jax.training.scale import folded, folded_records
from synthsae_jax.training.step import StepRule
from synthsae_jax.worlds.inputs import program_inputs

CONFIG = TrainConfig(n_samples=12 * tiny.BATCH, batch_size=tiny.BATCH, lr=3e-3, dead_window=2)


def test_dead_latents_point_to_badly_reconstructed_inputs():
    rng = np.random.default_rng(0)
    params = saes.SAEParams(
        W_enc=jnp.asarray(rng.normal(size=(8, 6)), jnp.float32),
        b_enc=jnp.ones(6),
        W_dec=jnp.asarray(rng.normal(size=(6, 8)), jnp.float32),
        b_dec=jnp.full(8, 0.5),
        threshold=jnp.arange(6.0),
    )
    x = jnp.asarray(rng.normal(size=(20, 8)), jnp.float32)
    error = jnp.zeros(20).at[7].set(3.0)  # only sample 7 can be drawn
    dead = jnp.array([False, True, False, False, True, False])
    new = jax.jit(resampled)(jax.random.key(0), params, dead, x, error)
    alive = ~np.asarray(dead)
    for name in ("W_dec", "b_enc", "threshold"):
        np.testing.assert_array_equal(getattr(new, name)[alive], getattr(params, name)[alive])
    np.testing.assert_array_equal(new.W_enc[:, alive], params.W_enc[:, alive])
    direction = np.asarray(x[7]) - 0.5
    direction /= np.linalg.norm(direction)
    norms = np.linalg.norm(params.W_dec, axis=1)[alive].mean()
    np.testing.assert_allclose(new.W_dec[~alive], [norms * direction] * 2, rtol=1e-5)
    norms = 0.2 * np.linalg.norm(params.W_enc, axis=0)[alive].mean()
    np.testing.assert_allclose(new.W_enc[:, ~alive].T, [norms * direction] * 2, rtol=1e-5)
    assert not np.any(new.b_enc[~alive])
    np.testing.assert_allclose(new.threshold[~alive], np.arange(6)[alive].mean())
    moments = forgotten(params, dead)
    assert not np.any(moments.W_enc[:, ~alive])
    assert not np.any(moments.W_dec[~alive])
    np.testing.assert_array_equal(moments.b_dec, params.b_dec)


def test_inputs_are_drawn_by_their_squared_loss():
    params = saes.SAEParams(W_dec=jnp.ones((4000, 2)), b_dec=jnp.zeros(2))
    dead = jnp.ones(4000, bool).at[0].set(False)
    new = resampled(jax.random.key(1), params, dead, jnp.eye(2), jnp.array([1.0, 2.0]))
    share = np.mean(np.asarray(new.W_dec[1:, 1]) > 0)
    assert abs(share - 0.8) < 4.5 * np.sqrt(0.8 * 0.2 / 3999)  # 4 : 1


def test_latents_of_coupled_models_start_again_within_their_model():
    sae = saes.build("mutual", d_in=4, d_sae=4, k=2.0, n_members=2)
    rows = np.kron(np.eye(2), np.ones((2, 2))).astype(np.float32)  # two latents in each model
    params = saes.SAEParams(W_enc=rows.T, b_enc=np.ones(4), W_dec=rows, b_dec=np.zeros(4))
    again = jax.jit(functools.partial(resampled, project=sae.project))
    args = (np.ones((3, 4), np.float32), np.ones(3, np.float32))
    new = again(jax.random.key(1), params, np.array([True, False, False, False]), *args)
    np.testing.assert_allclose(new.W_dec[0], [1, 1, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(new.W_enc[:, 0], [0.2, 0.2, 0, 0], rtol=1e-5)
    np.testing.assert_array_equal(new.W_dec[1:], rows[1:])
    # where no latent lives there is no mean to take: rows keep the length they had
    all_new = again(jax.random.key(1), params, np.ones(4, bool), *args)
    np.testing.assert_allclose(all_new.W_dec, rows, rtol=1e-5)


def test_resampling_while_training_revives():
    # k of 1 in 32 and no auxiliary loss: most latents die
    sae = tiny.sae("topk", k=1, aux_loss_coefficient=0.0)
    config = dataclasses.replace(CONFIG, n_samples=60 * tiny.BATCH, history_points=60)
    plain = train(tiny.world(), tiny.instance(), sae, config, [0, 1], 0)
    again = train(
        tiny.world(),
        tiny.instance(),
        sae,
        dataclasses.replace(config, resample_every=10, resample_until=45),
        [0, 1],
        0,
    )
    assert again.config.resample_steps() == (10, 20, 30, 40)
    np.testing.assert_array_equal(again.history["loss"][:, :10], plain.history["loss"][:, :10])
    dead = again.history["dead_latents"]
    for step in again.config.resample_steps():
        assert np.all(dead[:, step - 1] > 0)
        np.testing.assert_array_equal(dead[:, step], 0)  # the step after: all count from 0 again
    assert np.all(dead[:, 50] > 0)
    assert set(again.status) == {"ok"}


def test_resampling_needs_decoder_rows_that_move():
    frozen = [n for n in saes.names() if "W_dec" in _frozen(n)]
    assert frozen, "some architecture keeps its decoder fixed"
    for name in frozen:
        example = saes.architectures[name].example
        sae = saes.build(name, d_in=tiny.D, d_sae=tiny.L, **example)
        config = dataclasses.replace(CONFIG, resample_every=4)
        with pytest.raises(ConfigError, match="resample_every sets decoder rows"):
            train(tiny.world(), tiny.instance(), sae, config)


def test_resampling_leaves_frozen_encoders_alone():
    sae = tiny.sae("frozen", frozen_weights=("W_enc", "b_dec"))
    config = dataclasses.replace(CONFIG, resample_every=4)
    for given in (sae, saes.leave_one_out(sae)):
        with pytest.raises(ConfigError, match="keeps W_enc fixed"):
            train(tiny.world(), tiny.instance(), given, config)


def _frozen(name):
    entry = saes.architectures[name]
    options = saes.build(name, d_in=8, d_sae=16, **entry.example).options
    return entry.frozen(options)


@pytest.mark.parametrize("name", saes.names())
def test_folding_a_scale_changes_only_units(name):
    """f(x) with offsets divided by s is f'(s x) / s, for every architecture's inference."""
    entry = saes.architectures[name]
    sae = saes.build(name, d_in=8, d_sae=16, **{**entry.example, **_stops_early(name)})
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda leaf: leaf + jnp.asarray(0.2 * rng.random(leaf.shape), jnp.float32),
        sae.finalize(sae.init(jax.random.key(0)), sae.init_state()),
    )
    x = jnp.asarray(rng.normal(size=(30, 8)), jnp.float32)
    scale = 4.0  # a power of two: exact
    plain = folded(params, scale)
    numbers = jax.tree.map(lambda value: jnp.asarray(value)[None, None], sae.hyper)
    numbers = folded_records(numbers, jnp.asarray([scale]))
    numbers = jax.tree.map(lambda value: value[0, 0], numbers)
    x_hat = sae.decode(plain, sae.encode(plain, x, hyper=numbers))
    expected = sae.decode(params, sae.encode(params, scale * x)) / scale
    np.testing.assert_allclose(x_hat, expected, rtol=1e-5, atol=1e-6)


def _stops_early(name):
    """A pursuit's stopping rule is in the units of the inputs; samples are about 11 long."""
    return {"residual_threshold": 10.0} if name == "matching_pursuit" else {}


def test_training_on_scaled_inputs_gives_weights_for_inputs_as_they_are():
    config = dataclasses.replace(
        CONFIG, normalize_activations="expected_average_only_in", n_batches_for_norm_estimate=5
    )
    world, instance = tiny.world(), tiny.instance()
    scaled = train(world, instance, tiny.sae(), config, [0, 1], 0)
    codes = worlds.sample_codes(jax.random.key(5), world, 20_000)
    x = worlds.embed(instance, worlds.observe(instance, codes))
    expected = np.sqrt(tiny.D) / np.linalg.norm(x, axis=1).mean()
    assert float(scaled.input_scale) == pytest.approx(expected, rel=0.03)
    # the same as training on an instance whose directions and bias are longer by the scale
    s = float(scaled.input_scale)
    longer = instance.replace(dictionary=instance.dictionary * s, bias=instance.bias * s)
    direct = train(world, longer, tiny.sae(), CONFIG, [0, 1], 0)
    np.testing.assert_allclose(scaled.params.W_dec, direct.params.W_dec, atol=1e-4)
    np.testing.assert_allclose(scaled.params.b_dec * s, direct.params.b_dec, atol=1e-4)
    found = metrics.evaluate_runs(
        world, instance, tiny.sae(), (scaled.params, scaled.hyper, None), 4_000, 0
    )
    theirs = metrics.evaluate_runs(
        world, longer, tiny.sae(), (direct.params, direct.hyper, None), 4_000, 0
    )
    for name in ("explained_variance", "l0", "f1"):
        np.testing.assert_allclose(found[name], theirs[name], rtol=1e-3, err_msg=name)
    # raw weights too, with the training rule, and what is carried beside them
    one = tiny.pick((scaled.state.params, scaled.state.carried, scaled.params), 1)
    np.testing.assert_allclose(tiny.sae().finalize(*one[:2]).threshold, one[2].threshold, rtol=1e-6)
    raw = (scaled.state.params, scaled.hyper, scaled.state.carried)
    by_batch = metrics.evaluate_runs(world, instance, tiny.sae(), raw, 4_000, 0, rule="train")
    np.testing.assert_allclose(by_batch["l0"], [3, 3], atol=0.02)


def test_a_stream_of_its_own_has_a_scale_of_its_own():
    """Or a run's numbers would depend on which runs are trained beside it."""
    world, instance, _ = program_inputs(tiny.world(), tiny.instance())
    streams = Streams(tiny.BATCH, own=True, world_stacked=False, same_codes=False)
    program = Program(StepRule(tiny.sae().static), streams, scaled=True, revival="never")
    numbers = numbers_of_runs(CONFIG, tiny.sae(), np.zeros((1, 2), np.int32))
    scales = [
        estimated_scale(
            program,
            data_of(streams, world, instance, numbers, jnp.array([seeds]), jnp.ones((1, 2))),
            jnp.int32(2),
        )
        for seeds in ([5, 6], [5, 5])
    ]
    assert scales[0][0, 0] != scales[0][0, 1]
    np.testing.assert_array_equal(scales[1], np.full((1, 2), scales[0][0, 0]))
