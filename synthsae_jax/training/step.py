"""One training step of one run, as a pure function. Runs are added by `fit`, and nowhere else."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from synthsae_jax.saes import SAE, SAEParams

Array = jax.Array


class Adam(NamedTuple):
    """Adam's constants, compiled in."""

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8

    def transform(self) -> optax.GradientTransformation:
        """The update direction before the learning rate."""
        return optax.scale_by_adam(self.b1, self.b2, self.eps)


@struct.dataclass
class RunState:
    """All that a run carries from step to step, in one record."""

    params: SAEParams
    optimizer: Any
    carried: Any  # the architecture's own state
    since_fired: Array  # int32 [L]: steps since each latent last fired
    diverged: Array  # bool []: some loss was not finite


@struct.dataclass
class Numbers:
    """What may differ between the runs of one program."""

    lr: Array  # float32 []
    warm_up: Array  # int32 []: steps
    decay: Array  # int32 []: steps
    n_steps: Array  # int32 []
    dead_window: Array  # int32 []
    grad_clip: Array  # float32 []: inf does not clip
    init_seed: Array  # int32 []
    hyper: Any  # the SAE's record


def init_state(sae: SAE, adam: Adam, key: Array, hyper: Any) -> RunState:
    """A run before its first step."""
    params = sae.init(key, hyper=hyper)
    return RunState(
        params=params,
        optimizer=adam.transform().init(params),
        carried=sae.init_state(),
        since_fired=jnp.zeros(sae.d_sae, jnp.int32),
        diverged=jnp.zeros((), bool),
    )


def learning_rate(numbers: Numbers, step: Array) -> Array:
    """Linear warm-up from lr / steps, constant, linear decay that would reach 0 after the end."""
    warm = (step + 1) / jnp.maximum(numbers.warm_up, 1)
    left = (numbers.n_steps - step) / jnp.maximum(numbers.decay, 1)
    warm = jnp.where(numbers.warm_up > 0, warm, 1.0)
    left = jnp.where(numbers.decay > 0, left, 1.0)
    return numbers.lr * jnp.minimum(jnp.minimum(warm, left), 1.0)


def train_step(
    sae: SAE,
    adam: Adam,
    state: RunState,
    numbers: Numbers,
    x: Array,
    step: Array,
    key: Array,
    any_dead: bool = True,
) -> tuple[RunState, dict[str, Array]]:
    """The run after one batch `x [n, D]`, and what a person wants to know of the step: scalars.

    The dead mask is that of before the step (`any_dead=False` promises that it is empty, and saves
    the auxiliary loss); gradients are clipped by their global norm, then go through Adam. A run
    whose loss is not finite is marked and goes on: its neighbours must not notice.
    """
    dead = state.since_fired > numbers.dead_window

    def objective(params):
        mask = dead if any_dead else None
        return sae.loss(params, x, mask, hyper=numbers.hyper, state=state.carried, key=key)

    (loss, info), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
    norm = optax.tree.norm(gradient)
    scale = jnp.where(norm > numbers.grad_clip, numbers.grad_clip / norm, 1.0)
    gradient = jax.tree.map(lambda g: g * scale, gradient)
    direction, optimizer = adam.transform().update(gradient, state.optimizer)
    lr = learning_rate(numbers, step)
    params = sae.project(jax.tree.map(lambda p, d: p - lr * d, state.params, direction))

    fires = info["latents"] != 0
    since_fired = jnp.where(jnp.any(fires, axis=0), 0, state.since_fired + 1)
    state = RunState(
        params=params,
        optimizer=optimizer,
        carried=info["state"],
        since_fired=since_fired,
        diverged=state.diverged | ~jnp.isfinite(loss),
    )
    report = {"loss": loss, "grad_norm": norm, **info["terms"]}
    report["l0"] = jnp.sum(fires) / x.shape[0]
    report["dead_latents"] = jnp.sum(dead).astype(jnp.float32)
    return state, report
