"""A small SAE of each registered architecture, a probe problem, and programs that tests share."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from synthsae_jax import saes

D_IN, D_SAE, BATCH = 8, 16, 24
LR = np.float32(1e-2)


class Outputs(NamedTuple):
    latents: jax.Array
    x_hat: jax.Array
    train_latents: jax.Array
    train_x_hat: jax.Array
    final: saes.SAEParams
    final_latents: jax.Array
    final_x_hat: jax.Array
    final_twice: saes.SAEParams


def small(name: str, **options):
    example = saes.architectures[name].example
    return saes.build(name, d_in=D_IN, d_sae=D_SAE, **{**example, **options})


@functools.partial(jax.jit, static_argnames="sae")
def _random_params(sae, hyper, seed):
    params = sae.init(jax.random.key(seed), hyper=hyper)
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    moved = [leaf + 0.2 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys)]
    return jax.tree.unflatten(structure, moved)


@functools.partial(jax.jit, static_argnames="sae")
def loss_and_gradient(sae, params, x, dead, hyper, state):
    return jax.value_and_grad(sae.loss, has_aux=True)(
        params, x, dead, hyper=hyper, state=state, key=jax.random.key(7)
    )


def random_params(sae, seed: int = 0):
    """Initial weights moved off their symmetric start, so that no gradient is zero by design."""
    return _random_params(sae.static, sae.hyper, seed)


@functools.partial(jax.jit, static_argnames="sae")
def outputs(sae, params, x, hyper, state):
    """What an SAE makes of a batch before and after `finalize`, by both rules."""
    latents = sae.encode(params, x, hyper=hyper)
    train_latents = sae.train_encode(params, x, hyper=hyper, state=state)
    final = sae.finalize(params, state)
    final_latents = sae.encode(final, x, hyper=hyper)
    return Outputs(
        latents=latents,
        x_hat=sae.decode(params, latents),
        train_latents=train_latents,
        train_x_hat=sae.decode(params, train_latents),
        final=final,
        final_latents=final_latents,
        final_x_hat=sae.decode(final, final_latents),
        final_twice=sae.finalize(final, state),
    )


@functools.partial(jax.jit, static_argnames=("sae", "n_steps"))
def train(sae, params, hyper, dictionary, key, n_steps, lr=LR, state=None):
    """Adam on fresh samples of the probe problem; the loss of every step."""
    adam = optax.adam(lr)

    def step(carry, key):
        params, moments, state = carry
        x = probe_batch(dictionary, key)
        grad = jax.value_and_grad(sae.loss, has_aux=True)
        (loss, info), gradient = grad(params, x, hyper=hyper, state=state, key=key)
        updates, moments = adam.update(gradient, moments)
        return (optax.apply_updates(params, updates), moments, info["state"]), loss

    state = sae.init_state() if state is None else state
    carry = (params, adam.init(params), state)
    (params, _, state), losses = jax.lax.scan(step, carry, jax.random.split(key, n_steps))
    return params, state, losses


def probe_batch(dictionary, key):
    """One or two of the dictionary's orthogonal rows in each sample, with magnitude 1 to 2."""
    key_which, key_size = jax.random.split(key)
    n_features = dictionary.shape[0]
    scores = jax.random.uniform(key_which, (64, n_features))
    fires = scores >= jnp.sort(scores, axis=-1)[:, -2][:, None]
    sizes = jax.random.uniform(key_size, (64, n_features), minval=1.0, maxval=2.0)
    return jnp.where(fires, sizes, 0.0) @ dictionary


@pytest.fixture(params=saes.names())
def sae(request):
    return small(request.param)


@pytest.fixture(scope="session")
def x():
    return jax.random.normal(jax.random.key(11), (BATCH, D_IN))


@pytest.fixture(scope="session")
def dead():
    return jnp.arange(D_SAE) % 5 == 0  # 4 of 16


@pytest.fixture(scope="session")
def dictionary():
    basis, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(D_IN, D_IN)))
    return jnp.asarray(basis, jnp.float32)


@pytest.fixture(scope="session")
def tools():
    return SimpleNamespace(
        small=small,
        random_params=random_params,
        outputs=outputs,
        loss_and_gradient=loss_and_gradient,
        train=train,
    )
