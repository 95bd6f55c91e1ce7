"""One training step of one run, as a pure function. Runs are added by `fit`, and nowhere else."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from synthsae_jax.saes import SAE, SAEParams
from synthsae_jax.training import schedules
from synthsae_jax.training.match_l0 import Control, init_control, steered, updated_control
from synthsae_jax.training.schedules import Ramp, annealed

Array = jax.Array


class Recipe(NamedTuple):
    """What of a training's choices is compiled in: Adam's constants, and which code runs."""

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    lr_decay: str = "linear"
    penalty: str | None = None  # the number that matched L0 steers; None: it is off

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
    control: Control | None = None  # of matched L0


@struct.dataclass
class Numbers:
    """What may differ between the runs of one program."""

    lr: Array  # float32 []
    lr_end: Array  # float32 []
    warm_up: Array  # int32 []: steps
    decay: Array  # int32 []: steps
    n_steps: Array  # int32 []
    dead_window: Array  # int32 []
    grad_clip: Array  # float32 []: inf does not clip
    init_seed: Array  # int32 []
    hyper: Any  # the SAE's record
    ramps: dict[str, Ramp]  # numbers of it that start elsewhere
    target_l0: Array  # float32 []: unused without a steered penalty


def init_state(sae: SAE, recipe: Recipe, key: Array, hyper: Any) -> RunState:
    """A run before its first step."""
    params = sae.init(key, hyper=hyper)
    return RunState(
        params=params,
        optimizer=recipe.transform().init(params),
        carried=sae.init_state(),
        since_fired=jnp.zeros(sae.d_sae, jnp.int32),
        diverged=jnp.zeros((), bool),
        control=init_control() if recipe.penalty else None,
    )


def learning_rate(numbers: Numbers, step: Array, shape: str = "linear") -> Array:
    """The learning rate of a run at a step, float32 []."""
    return schedules.learning_rate(
        step,
        lr=numbers.lr,
        end=numbers.lr_end,
        warm_up=numbers.warm_up,
        decay=numbers.decay,
        n_steps=numbers.n_steps,
        shape=shape,
    )


def train_step(
    sae: SAE,
    recipe: Recipe,
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
    hyper = annealed(numbers.hyper, numbers.ramps, step)
    if recipe.penalty:
        hyper = steered(hyper, recipe.penalty, state.control)

    def objective(params):
        mask = dead if any_dead else None
        return sae.loss(params, x, mask, hyper=hyper, state=state.carried, key=key)

    (loss, info), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
    norm = optax.tree.norm(gradient)
    scale = jnp.where(norm > numbers.grad_clip, numbers.grad_clip / norm, 1.0)
    gradient = jax.tree.map(lambda g: g * scale, gradient)
    direction, optimizer = recipe.transform().update(gradient, state.optimizer)
    lr = learning_rate(numbers, step, recipe.lr_decay)
    params = sae.project(jax.tree.map(lambda p, d: p - lr * d, state.params, direction))

    fires = info["latents"] != 0
    l0 = jnp.sum(fires) / x.shape[0]
    since_fired = jnp.where(jnp.any(fires, axis=0), 0, state.since_fired + 1)
    report = {"loss": loss, "grad_norm": norm, **info["terms"], "l0": l0}
    report["dead_latents"] = jnp.sum(dead).astype(jnp.float32)
    control = state.control
    if recipe.penalty:
        report[recipe.penalty] = getattr(hyper, recipe.penalty)
        control = updated_control(control, l0, numbers.target_l0, numbers.n_steps)
    state = RunState(
        params=params,
        optimizer=optimizer,
        carried=info["state"],
        since_fired=since_fired,
        diverged=state.diverged | ~jnp.isfinite(loss),
        control=control,
    )
    return state, report
