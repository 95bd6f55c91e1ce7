"""One training step of one run, as a pure function. Runs are added by `program`, nowhere else."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from synthsae_jax.numerics import fires
from synthsae_jax.saes import SAE, SAEParams
from synthsae_jax.training.match_l0 import Control, init_control, steered, updated_control
from synthsae_jax.training.schedules import Ramp, Schedule, annealed, learning_rate

Array = jax.Array
Report = dict[str, Array]


class StepRule(NamedTuple):
    """What of a step is compiled in: the SAE, Adam's constants, and which code runs."""

    sae: SAE
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    lr_decay: str = "linear"
    penalty: str | None = None  # the number that matched L0 steers; None: it is off
    capacity: int | None = None  # active latents per sample of a sparse loss; None: it is dense


@struct.dataclass
class Numbers:
    """What may differ between the runs of one program."""

    schedule: Schedule
    dead_window: Array  # int32 []
    grad_clip: Array  # float32 []: inf does not clip
    init_seed: Array  # int32 []
    hyper: Any  # the SAE's record
    target_l0: Array  # float32 []: unused without a steered penalty
    # numbers of `hyper` that start elsewhere
    ramps: dict[str, Ramp] = struct.field(default_factory=dict)
    # bool [] by name of a weight: this run leaves it as it is
    frozen: dict[str, Array] = struct.field(default_factory=dict)


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


class Batch(NamedTuple):
    """What a run reads in one step."""

    x: Array  # float32 [n, D]
    step: Array  # int32 []
    key: Array  # for architectures that draw while training


class Learned(NamedTuple):
    """What a run takes from a batch before its weights move."""

    gradient: SAEParams  # not clipped
    rest: RunState  # the new state without weights and optimiser, which have not changed
    report: Report


def init_state(rule: StepRule, key: Array, hyper: Any) -> RunState:
    """A run before its first step."""
    params = rule.sae.init(key, hyper=hyper)
    return RunState(
        params=params,
        optimizer=init_moments(params),
        carried=rule.sae.init_state(),
        since_fired=jnp.zeros(rule.sae.d_sae, jnp.int32),
        diverged=jnp.zeros((), bool),
        control=init_control() if rule.penalty else None,
    )


def dead_latents(state: RunState, numbers: Numbers) -> Array:
    """Which latents are dead, bool [L] or [I, R, L]: silent for more than `dead_window` steps.

    The only place that says so while training; afterwards `numerics.is_alive` does.
    """
    window = numbers.dead_window
    return state.since_fired > (window[..., None] if window.ndim else window)


def train_step(
    rule: StepRule, state: RunState, numbers: Numbers, batch: Batch, any_dead: bool = True
) -> tuple[RunState, Report]:
    """The run after one batch, and what a person wants to know of the step: scalars.

    The dead mask is that of before the step (`any_dead=False` promises that it is empty, and saves
    the auxiliary loss); gradients are clipped by their global norm, then go through Adam. A run
    whose loss is not finite is marked and goes on: its neighbours must not notice.
    """
    learned = learn(rule, state, numbers, batch, any_dead)
    return updated(rule, state, numbers, batch.step, learned)


def learn(
    rule: StepRule, state: RunState, numbers: Numbers, batch: Batch, any_dead: bool = True
) -> Learned:
    """The first half of `train_step`: all but the update of the weights."""
    sae = rule.sae
    dead = dead_latents(state, numbers)
    hyper = annealed(numbers.hyper, numbers.ramps, batch.step)
    if rule.penalty:
        hyper = steered(hyper, rule.penalty, state.control)

    def objective(params):
        mask = dead if any_dead else None
        inputs = {"hyper": hyper, "state": state.carried, "key": batch.key}
        if rule.capacity is not None:
            return sae.sparse_loss(params, batch.x, mask, capacity=rule.capacity, **inputs)
        return sae.loss(params, batch.x, mask, **inputs)

    (loss, info), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
    if "fired" in info:
        l0, fired = info["l0"], info["fired"]
    else:
        on = fires(info["latents"])
        l0, fired = jnp.sum(on) / batch.x.shape[0], jnp.any(on, axis=0)
    since_fired = jnp.where(fired, 0, state.since_fired + 1)
    report = {"loss": loss, **info["terms"], "l0": l0}
    report["dead_latents"] = jnp.sum(dead).astype(jnp.float32)
    control = state.control
    if rule.penalty:
        report[rule.penalty] = getattr(hyper, rule.penalty)
        control = updated_control(control, l0, numbers.target_l0, numbers.schedule.n_steps)
    rest = RunState(
        params=None,
        optimizer=None,
        carried=info["state"],
        since_fired=since_fired,
        diverged=state.diverged | ~jnp.isfinite(loss),
        control=control,
    )
    return Learned(gradient, rest, report)


def updated(
    rule: StepRule, state: RunState, numbers: Numbers, step: Array, learned: Learned
) -> tuple[RunState, Report]:
    """The second half of `train_step`: the state with new weights, and the whole report."""
    gradient, norm = clipped(learned.gradient, numbers)
    moments = moved_moments(rule, gradient, state.optimizer)
    # the weights read the new moments: where they computed them again from the old, these would
    # have to be kept, and nothing could be updated in place
    moments = jax.lax.optimization_barrier(moments)
    params = moved_weights(rule, numbers, step, state.params, moments)
    state = learned.rest.replace(params=params, optimizer=moments)
    return state, {**learned.report, "grad_norm": norm}


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


def moved_moments(rule: StepRule, gradient: SAEParams, moments: Moments) -> Moments:
    """Adam's running moments after a gradient (Kingma and Ba 2015, arXiv:1412.6980).

    Adam is put together from optax's parts, and is not `optax.scale_by_adam`: that gives moments
    and direction at once, and a compiler then computes the direction from the old moments, which
    have to be kept for it. In two halves the moments are written in place, and read from there.
    """
    return Moments(
        mu=optax.tree.update_moment(gradient, moments.mu, rule.b1, 1),
        nu=optax.tree.update_moment_per_elem_norm(gradient, moments.nu, rule.b2, 2),
        count=moments.count + 1,
    )


def moved_weights(
    rule: StepRule, numbers: Numbers, step: Array, params: SAEParams, moments: Moments
) -> SAEParams:
    """The weights after a step of Adam with these moments, where the architecture allows them."""
    mean = optax.tree.bias_correction(moments.mu, rule.b1, moments.count)
    square = optax.tree.bias_correction(moments.nu, rule.b2, moments.count)
    lr = learning_rate(numbers.schedule, step, rule.lr_decay)
    moved = jax.tree.map(
        lambda p, m, v: p - lr * (m / (jnp.sqrt(v) + rule.eps)), params, mean, square
    )
    return rule.sae.project(moved)
