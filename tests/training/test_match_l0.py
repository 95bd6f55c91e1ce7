"""Matched L0: the controller on a plant that can be worked out, and on SAEs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from synthsae_jax import metrics, saes
from synthsae_jax.errors import ConfigError
from synthsae_jax.training import Anneal, TrainConfig, train
from synthsae_jax.training.match_l0 import init_control, updated_control

N_STEPS = 2000
CONFIG = TrainConfig(
    n_samples=1500 * 256,
    batch_size=256,
    lr=5e-3,
    lr_decay_steps=500,
    dead_window=10_000,
    target_l0=4.0,
)
PENALTIES = [n for n in saes.names() if saes.architectures[n].penalty]


@pytest.mark.parametrize("elasticity", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("lag", [5.0, 100.0])
def test_a_lagging_sae_settles_at_the_target(elasticity, lag):
    """log L0 drifts towards a - elasticity * log(coefficient), with a time constant.

    Seen with 2 % of noise, as in batches of 512 at L0 5.
    """
    rng = np.random.default_rng(0)
    noise = jnp.asarray(0.02 * rng.normal(size=N_STEPS), jnp.float32)

    def step(carry, noise):
        control, log_l0 = carry
        aim = jnp.log(50.0) - elasticity * control.log_factor
        log_l0 = log_l0 + (aim - log_l0) / lag
        seen = jnp.exp(log_l0 + noise)
        return (updated_control(control, seen, 10.0, N_STEPS), log_l0), jnp.exp(log_l0)

    start = (init_control(), jnp.log(200.0))
    _, l0 = jax.jit(lambda: jax.lax.scan(step, start, noise))()
    off = np.asarray(l0[-400:]) / 10 - 1
    assert abs(off.mean()) < 0.02
    assert np.abs(off).max() < 0.06  # it wanders: looking ahead takes some noise for a trend
    # it comes down from 200 without falling far through the target
    assert l0.min() > 5


def test_an_sae_that_never_fires_is_let_go():
    control = init_control()
    for _ in range(200):
        control = updated_control(control, jnp.float32(0), jnp.float32(10), jnp.float32(N_STEPS))
    # an error of half at most, at a tenth of the gain, which itself rises over a tenth of the steps
    risen = np.minimum(np.arange(200) / 200, 1).sum()
    assert float(control.log_factor) == pytest.approx(-risen * 0.1 * 40 / 2000 * 0.5, rel=1e-4)


@pytest.mark.parametrize("name", PENALTIES)
def test_each_penalty_architecture_reaches_the_target(name):
    sae = saes.build(name, d_in=tiny.D, d_sae=tiny.L, **_quick(name))
    world, instance = tiny.world(), tiny.instance()
    result = train(world, instance, sae, CONFIG, [0, 1], 0, target_l0=[2.0, 3.0])
    runs = (result.params, result.hyper, result.state.carried)
    l0 = metrics.evaluate_runs(world, instance, sae, runs, 20_000, 0)["l0"]
    # 1,500 batches are a very short run; the features' own L0 is 3.6
    np.testing.assert_allclose(l0, [2.0, 3.0], rtol=0.05)
    penalty = saes.architectures[name].penalty
    assert result.history[penalty].shape == result.history["l0"].shape
    coefficient = np.asarray(getattr(result.hyper, penalty))
    assert coefficient[0] > coefficient[1]  # more sparsity takes more
    np.testing.assert_allclose(coefficient, result.history[penalty][:, -1], rtol=0.2)


def _quick(name):
    """Thresholds that move far enough in a short run."""
    if name == "jumprelu":
        return {"jumprelu_bandwidth": 0.5, "jumprelu_init_threshold": 0.1}
    return {}


def test_targets_that_cannot_be():
    world, instance = tiny.world(), tiny.instance()
    with pytest.raises(ConfigError, match=r"'batchtopk' has none: set its k. With one: .*standard"):
        train(world, instance, tiny.sae(), CONFIG)
    with pytest.raises(ConfigError, match=r"target_l0 must lie in 0..d_sae=32"):
        train(world, instance, tiny.sae("standard"), dataclasses.replace(CONFIG, target_l0=100.0))
    both = dataclasses.replace(CONFIG, anneal=(Anneal("l1_coefficient", 0.0),))
    with pytest.raises(ConfigError, match="annealed and steered"):
        train(world, instance, tiny.sae("standard"), both)
    sae = tiny.sae("standard")
    for hyper in (sae.hyper.replace(l1_coefficient=np.array([1.0, 0.0])), None):
        given = tiny.sae("standard", l1_coefficient=0.0) if hyper is None else sae
        with pytest.raises(ConfigError, match="l1_coefficient must be positive where it is"):
            train(world, instance, given, CONFIG, [0, 1], hyper=hyper)
    options = {"jumprelu_sparsity_loss_mode": "quadratic", "target_l0": 4.0}
    own = saes.build("jumprelu", d_in=tiny.D, d_sae=tiny.L, **options)
    with pytest.raises(ConfigError, match="'quadratic' pulls L0 to its own target_l0"):
        train(world, instance, own, CONFIG)
