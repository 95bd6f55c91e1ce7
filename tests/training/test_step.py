"""One step of one run, against numpy; the learning rate, against numbers of SAELens."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from synthsae_jax.training.schedules import Schedule, learning_rate
from synthsae_jax.training.step import Batch, Numbers, StepRule, init_state, train_step

SAE = tiny.sae("topk")
# Adam's first steps divide by the gradient's own size, so that float32 rounding of a gradient near
# its eps of 1e-8 shows; entries of the parameters are below 1
ROUNDING = 2e-6


def schedule_of(lr, warm_up, decay, n_steps):
    whole = (jnp.int32(n) for n in (warm_up, decay, n_steps))
    return Schedule(jnp.float32(lr), jnp.float32(0), *whole)


def numbers(lr=3e-3, warm_up=0, decay=0, n_steps=10, dead_window=2, grad_clip=1.0, hyper=None):
    return Numbers(
        schedule=schedule_of(lr, warm_up, decay, n_steps),
        dead_window=jnp.int32(dead_window),
        grad_clip=jnp.float32(grad_clip),
        init_seed=jnp.int32(0),
        hyper=jax.tree.map(jnp.asarray, SAE.hyper if hyper is None else hyper),
        target_l0=jnp.float32(1),
    )


@functools.partial(jax.jit, static_argnames="any_dead")
def step_of(state, numbers, x, step, any_dead=True):
    batch = Batch(x, step, jax.random.key(0))
    return train_step(StepRule(SAE.static), state, numbers, batch, any_dead=any_dead)


@jax.jit
def gradient_of(params, x, dead):
    loss = lambda params: SAE.loss(params, x, dead, key=jax.random.key(0))
    return jax.value_and_grad(loss, has_aux=True)(params)


@pytest.fixture(scope="module")
def start():
    return jax.jit(lambda hyper: init_state(StepRule(SAE), jax.random.key(1), hyper))(
        jax.tree.map(jnp.asarray, SAE.hyper)
    )


@pytest.fixture(scope="module")
def batches():
    return jnp.asarray(np.random.default_rng(5).normal(size=(3, tiny.BATCH, tiny.D)), jnp.float32)


# Learning rates that an optimiser saw with sae_lens 6.54.12's constant schedule at lr 1, by
# (training_steps, warm_up_steps, decay_steps); torch's SequentialLR of linear pieces.
SAELENS = {
    (10, 0, 0): [1.0] * 10,
    (10, 4, 0): [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    (10, 0, 4): [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25],
    (10, 3, 4): [0.333333, 0.666667, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25],
    (10, 1, 0): [1.0] * 10,
    (10, 1, 3): [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.666667, 0.333333],
    (10, 2, 1): [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    (10, 5, 5): [0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2],
    (10, 10, 0): [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
    (10, 0, 10): [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1],
    (10, 2, 8): [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125],
    (1, 0, 1): [1.0],
}


@pytest.mark.parametrize("schedule", SAELENS)
def test_learning_rate_equals_saelens(schedule):
    n_steps, warm_up, decay = schedule
    rates = learning_rate(schedule_of(0.5, warm_up, decay, n_steps), jnp.arange(n_steps))
    # the numbers are written down to six digits
    np.testing.assert_allclose(rates, 0.5 * np.array(SAELENS[schedule]), atol=1e-6)


def test_learning_rate_is_never_zero_or_above_its_value_while_training():
    rates = learning_rate(schedule_of(2.0, 3, 7, 10), jnp.arange(10))
    assert float(rates.min()) > 0
    assert float(rates.max()) == 2.0
    # it would reach 0 right after the last step
    assert float(learning_rate(schedule_of(3e-3, 0, 7, 10), jnp.int32(10))) == 0.0


def adam_in_numpy(params, gradients, rates, clip):
    """Parameters after Adam on gradients clipped by their global norm, in float64."""
    m, v = {}, {}
    for t, (gradient, rate) in enumerate(zip(gradients, rates), start=1):
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradient.values()))
        for name, g in gradient.items():
            g = g * min(1.0, clip / norm)
            m[name] = 0.9 * m.get(name, 0) + 0.1 * g
            v[name] = 0.999 * v.get(name, 0) + 0.001 * g**2
            m_hat, v_hat = m[name] / (1 - 0.9**t), v[name] / (1 - 0.999**t)
            params[name] = params[name] - rate * m_hat / (np.sqrt(v_hat) + 1e-8)
    return params


def arrays(params):
    return {k: np.asarray(v, np.float64) for k, v in vars(params).items() if v is not None}


@pytest.mark.parametrize("clip", [0.05, 1.0, math.inf])
def test_three_steps_equal_clipped_adam_in_numpy(start, batches, clip):
    given = numbers(grad_clip=clip, warm_up=2, decay=1, n_steps=3, dead_window=0)
    state, gradients, norms = start, [], []
    for step, x in enumerate(batches):
        dead = state.since_fired > 0
        _, gradient = gradient_of(state.params, x, dead)
        state, report = step_of(state, given, x, jnp.int32(step))
        gradients.append(arrays(gradient))
        norms.append(math.sqrt(sum((g**2).sum() for g in gradients[-1].values())))
        assert float(report["grad_norm"]) == pytest.approx(norms[-1], rel=1e-5)
    assert min(norms) > clip or clip == math.inf  # a finite limit is one that binds
    rates = 3e-3 * np.array([0.5, 1.0, 1.0])
    expected = adam_in_numpy(arrays(start.params), gradients, rates, clip)
    for name, value in arrays(state.params).items():
        np.testing.assert_allclose(value, expected[name], atol=ROUNDING, err_msg=name)
    assert int(state.optimizer.count) == 3


# Twelve steps of sae_lens 6.54.12's trainer on the problem below: topk, k 3, lr .03, warm-up 3,
# decay 4, dead after 2 steps.
SAELENS_LOSSES = (
    *(13.39662, 12.47138, 12.64052, 11.65528, 10.25233, 8.31068),
    *(8.77914, 8.68451, 8.64174, 8.09923, 8.84298, 7.2651),
)
SAELENS_DEAD = [0, 0, 0, 1, 2, 2, 2, 2, 1, 1, 1, 1]
SAELENS_DECODER_NORMS = [0.80859, 0.80546, 0.86948, 0.8475]


def test_training_equals_saelens(start):
    rng = np.random.default_rng(8)
    rows = rng.normal(size=(3, 32, 32))
    rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    fires = rng.uniform(size=(12, 64, 32)) < 0.1
    batches = (fires * rng.uniform(1, 3, size=fires.shape)) @ rows[0] + 0.3 * rows[1][0]
    w_dec = jnp.asarray(0.1 * rows[2], jnp.float32)
    state = start.replace(params=start.params.replace(W_dec=w_dec, W_enc=w_dec.T))
    given = numbers(lr=0.03, warm_up=3, decay=4, n_steps=12, dead_window=2)
    losses, dead = [], []
    for step, x in enumerate(jnp.asarray(batches, jnp.float32)):
        state, report = step_of(state, given, x, jnp.int32(step))
        losses.append(float(report["loss"]))
        dead.append(int(report["dead_latents"]))
    # written to five decimals, and two libraries' float32 over twelve steps
    np.testing.assert_allclose(losses, SAELENS_LOSSES, atol=1e-4)
    assert dead == SAELENS_DEAD
    norms = np.linalg.norm(np.asarray(state.params.W_dec), axis=1)
    np.testing.assert_allclose(norms[:4], SAELENS_DECODER_NORMS, atol=1e-4)


def test_a_gradient_within_the_limit_is_left_alone(start, batches):
    wide, none = (step_of(start, numbers(grad_clip=c), batches[0], 0)[0] for c in (1e6, math.inf))
    for a, b in zip(jax.tree.leaves(wide), jax.tree.leaves(none)):
        np.testing.assert_array_equal(a, b)


def test_dead_means_longer_silent_than_the_window_before_the_step(start, batches):
    since = jnp.arange(tiny.L) % 5  # window 2: those with 3 and 4 are dead, those with 2 are not
    dead = np.asarray(since) > 2
    state = start.replace(since_fired=since)
    after, report = step_of(state, numbers(dead_window=2), batches[0], 0)
    (loss, info), _ = gradient_of(start.params, batches[0], jnp.asarray(dead))
    fires = (np.asarray(info["latents"]) != 0).any(0)
    assert (fires & dead).any()  # so a mask taken after the step would be another
    assert float(report["dead_latents"]) == dead.sum()
    assert float(report["loss"]) == pytest.approx(float(loss), rel=1e-6)
    assert float(report["auxiliary_reconstruction_loss"]) > 0.01
    np.testing.assert_array_equal(after.since_fired, np.where(fires, 0, np.asarray(since) + 1))


def test_without_dead_latents_the_short_way_is_the_same(start, batches):
    full, short = (step_of(start, numbers(), batches[0], 0, any_dead=d) for d in (True, False))
    for a, b in zip(jax.tree.leaves(full), jax.tree.leaves(short)):
        np.testing.assert_allclose(a, b, atol=ROUNDING)


def test_the_report_says_what_the_step_saw(start, batches):
    _, report = step_of(start, numbers(), batches[0], 0)
    (loss, info), _ = gradient_of(start.params, batches[0], jnp.zeros(tiny.L, bool))
    assert set(report) == {"loss", "grad_norm", "l0", "dead_latents", *info["terms"]}
    assert float(report["loss"]) == pytest.approx(float(loss), rel=1e-6)
    assert float(report["l0"]) == np.count_nonzero(info["latents"]) / tiny.BATCH
    assert all(value.shape == () and value.dtype == jnp.float32 for value in report.values())


def test_a_loss_that_is_not_finite_marks_the_run_for_good(start, batches):
    state, _ = step_of(start, numbers(), batches[0].at[0, 0].set(jnp.inf), 0)
    assert bool(state.diverged)
    healed = state.replace(params=start.params, optimizer=start.optimizer)
    again, report = step_of(healed, numbers(), batches[1], 1)
    assert bool(jnp.isfinite(report["loss"]))
    assert bool(again.diverged)
