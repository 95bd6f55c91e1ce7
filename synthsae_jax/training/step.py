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
    capacity: int | None = None  # active latents per sample of a sparse loss; None: it is dense


@struct.dataclass
class Moments:
    """Adam's running moments of the gradient, without bias correction."""

    mu: SAEParams  # mean
    nu: SAEParams  # mean square
    count: Array  # int32 []: steps in them


@struct.dataclass
class RunState:
    """All that a run carries from step to step, in one record."""

    params: SAEParams
    optimizer: Moments
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
    # bool [] by name of a weight: this run leaves it as it is
    frozen: dict[str, Array] = struct.field(default_factory=dict)


def init_state(sae: SAE, recipe: Recipe, key: Array, hyper: Any) -> RunState:
    """A run before its first step."""
    params = sae.init(key, hyper=hyper)
    return RunState(
        params=params,
        optimizer=init_moments(params),
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
    found = learned(sae, recipe, state, numbers, x, step, key, any_dead)
    return updated(sae, recipe, state, numbers, step, *found)


def learned(
    sae: SAE,
    recipe: Recipe,
    state: RunState,
    numbers: Numbers,
    x: Array,
    step: Array,
    key: Array,
    any_dead: bool = True,
) -> tuple[SAEParams, RunState, dict[str, Array]]:
    """The first half of `train_step`: the gradient, not clipped, and all but the weights' update.

    The state returned lacks weights and optimiser, which have not changed.
    """
    dead = state.since_fired > numbers.dead_window
    hyper = annealed(numbers.hyper, numbers.ramps, step)
    if recipe.penalty:
        hyper = steered(hyper, recipe.penalty, state.control)

    def objective(params):
        mask = dead if any_dead else None
        given = {"hyper": hyper, "state": state.carried, "key": key}
        if recipe.capacity is not None:
            return sae.sparse_loss(params, x, mask, capacity=recipe.capacity, **given)
        return sae.loss(params, x, mask, **given)

    (loss, info), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
    if "fired" in info:
        l0, fired = info["l0"], info["fired"]
    else:
        fires = info["latents"] != 0
        l0, fired = jnp.sum(fires) / x.shape[0], jnp.any(fires, axis=0)
    since_fired = jnp.where(fired, 0, state.since_fired + 1)
    report = {"loss": loss, **info["terms"], "l0": l0}
    report["dead_latents"] = jnp.sum(dead).astype(jnp.float32)
    control = state.control
    if recipe.penalty:
        report[recipe.penalty] = getattr(hyper, recipe.penalty)
        control = updated_control(control, l0, numbers.target_l0, numbers.n_steps)
    rest = RunState(
        params=None,
        optimizer=None,
        carried=info["state"],
        since_fired=since_fired,
        diverged=state.diverged | ~jnp.isfinite(loss),
        control=control,
    )
    return gradient, rest, report


def updated(
    sae: SAE,
    recipe: Recipe,
    state: RunState,
    numbers: Numbers,
    step: Array,
    gradient: SAEParams,
    rest: RunState,
    report: dict[str, Array],
) -> tuple[RunState, dict[str, Array]]:
    """The second half of `train_step`: the state with new weights, and the whole report."""
    gradient, norm = clipped(gradient, numbers)
    optimizer = moved_moments(recipe, gradient, state.optimizer)
    # the weights read the new moments: where they computed them again from the old, these would
    # have to be kept, and nothing could be updated in place
    optimizer = jax.lax.optimization_barrier(optimizer)
    params = moved_weights(sae, recipe, numbers, step, state.params, optimizer)
    return rest.replace(params=params, optimizer=optimizer), {**report, "grad_norm": norm}


def clipped(gradient: SAEParams, numbers: Numbers) -> tuple[SAEParams, Array]:
    """The gradient, 0 for frozen weights and of norm `grad_clip` at most; its norm before that."""
    frozen = {
        name: jnp.where(stays, 0.0, getattr(gradient, name))
        for name, stays in numbers.frozen.items()
    }
    gradient = gradient.replace(**frozen) if frozen else gradient
    norm = optax.tree.norm(gradient)
    scale = jnp.where(norm > numbers.grad_clip, numbers.grad_clip / norm, 1.0)
    return jax.tree.map(lambda g: g * scale, gradient), norm


def init_moments(params: SAEParams) -> Moments:
    """Before the first gradient."""
    zeros = jax.tree.map(jnp.zeros_like, params)
    return Moments(mu=zeros, nu=zeros, count=jnp.zeros((), jnp.int32))


def moved_moments(recipe: Recipe, gradient: SAEParams, moments: Moments) -> Moments:
    """Adam's running moments after a gradient (Kingma and Ba 2015, arXiv:1412.6980).

    Adam is put together from optax's parts, and is not `optax.scale_by_adam`: that gives moments
    and direction at once, and a compiler then computes the direction from the old moments, which
    have to be kept for it. In two halves the moments are written in place, and read from there.
    """
    return Moments(
        mu=optax.tree.update_moment(gradient, moments.mu, recipe.b1, 1),
        nu=optax.tree.update_moment_per_elem_norm(gradient, moments.nu, recipe.b2, 2),
        count=moments.count + 1,
    )


def moved_weights(
    sae: SAE, recipe: Recipe, numbers: Numbers, step: Array, params: SAEParams, moments: Moments
) -> SAEParams:
    """The weights after a step of Adam with these moments, where the architecture allows them."""
    mean = optax.tree.bias_correction(moments.mu, recipe.b1, moments.count)
    square = optax.tree.bias_correction(moments.nu, recipe.b2, moments.count)
    lr = learning_rate(numbers, step, recipe.lr_decay)
    moved = jax.tree.map(
        lambda p, m, v: p - lr * (m / (jnp.sqrt(v) + recipe.eps)), params, mean, square
    )
    return sae.project(moved)
