"""Learned geometry: directions that a toy model found for a world's codes, not drawn from a law.

Random unit vectors have no relations that two models could share. A model that is trained to keep
a world's features in few dimensions places them by what the data is like, so two models' geometry
can be alike without anyone having set it: the sharing is measured. Data statistics (the world),
the model (dimensions, optimiser) and the training seed are crossed causes of it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from synthsae_jax import keys
from synthsae_jax.errors import check_choice, is_number, require
from synthsae_jax.modes import fixed
from synthsae_jax.numerics import product, row_norms, safe_ratio
from synthsae_jax.worlds.codes import densify
from synthsae_jax.worlds.inputs import bare, raise_on_lost, whole_seeds
from synthsae_jax.worlds.records import World
from synthsae_jax.worlds.sample import sample_codes

Array = jax.Array

OPTIMIZERS = {
    "adam": lambda c: optax.adam(c.learning_rate),
    "adamw": lambda c: optax.adamw(c.learning_rate, weight_decay=c.weight_decay),
    "sgd": lambda c: optax.sgd(c.learning_rate, momentum=c.momentum),
}


@dataclasses.dataclass(frozen=True)
class LearnedConfig:
    """How a toy model is trained. Its dimensions are the instance's."""

    optimizer: str = "adam"
    learning_rate: float = 3e-3
    steps: int = 500
    batch_size: int = 256
    weight_decay: float = 0.01  # of "adamw"
    momentum: float = 0.9  # of "sgd"
    importance: float = 0.0  # a feature's error weighs (firing probability / mean)^importance
    init_norm: float = 0.3  # of a row at the start; small, so that what is not learned shows
    least_norm: float = 0.5  # a feature whose row stays shorter is absent from the instance
    snapshots: tuple[int, ...] = ()  # steps after which the rows are kept
    common_data: bool = False  # every model reads the same tokens in the same order
    common_init: bool = False  # every model starts from the same rows

    def __post_init__(self):
        check_choice("LearnedConfig.optimizer", self.optimizer, OPTIMIZERS)
        for name in ("steps", "batch_size"):
            value = getattr(self, name)
            require(
                isinstance(value, int) and not isinstance(value, bool) and value >= 1,
                f"LearnedConfig.{name} must be a whole number >= 1, got {value!r}.",
            )
        for name in ("learning_rate", "init_norm"):
            value = getattr(self, name)
            require(
                is_number(value) and value > 0, f"LearnedConfig.{name} must be > 0, got {value!r}."
            )
        for name in ("weight_decay", "momentum", "least_norm"):
            value = getattr(self, name)
            require(
                is_number(value) and value >= 0,
                f"LearnedConfig.{name} must be a finite number >= 0, got {value!r}.",
            )
        require(
            is_number(self.importance),
            f"LearnedConfig.importance must be a finite number, got {self.importance!r}.",
        )
        at = self.snapshots
        require(
            isinstance(at, tuple)
            and all(isinstance(s, int) and 0 <= s <= self.steps for s in at)
            and list(at) == sorted(set(at)),
            f"LearnedConfig.snapshots must be increasing steps from 0 to {self.steps}, got {at!r}.",
        )


@struct.dataclass
class Learned:
    """A trained toy model, or several with a leading axis R."""

    rows: Array  # float32 [F, D]: as trained, norms included
    bias: Array  # float32 [F]: of the outputs
    loss: Array  # float32 [steps]: squared error over the squared codes, per batch
    snapshots: Array  # float32 [S, F, D]: rows after each of `LearnedConfig.snapshots` steps
    lost: Array  # int32 []: samples with more active features than slots

    @property
    def norms(self) -> Array:
        """Norm of each row [F]: its square is the share of a feature's value that it gives back."""
        return row_norms(self.rows)


def log_spaced(steps: int, count: int) -> tuple[int, ...]:
    """About `count` snapshot steps from 1 to `steps` in equal ratios, without repeats."""
    require(steps >= 1 and count >= 1, f"log_spaced needs steps, count >= 1, got {steps}, {count}.")
    ratio = steps ** (1 / max(count - 1, 1))
    return tuple(sorted({round(steps / ratio**i) for i in range(count)}))


@fixed
def learn(key: Array, world: World, hidden_dim: int, config: LearnedConfig) -> Learned:
    """The toy model that one seed learns from a world's codes; pure JAX, vmaps over keys.

    Minimises `mean_n sum_i I_i (x_i - a_i)^2` with `x = relu(R R' a + b)`, rows R [F, D] and codes
    a in units of the world's mean magnitude (Toy Models of Superposition, arXiv 2209.10652). Every
    step has fresh tokens. Of a twin registry one copy is learned, [F_base, D].
    """
    shared = jax.random.fold_in(jax.random.wrap_key_data(world.geometry_key), 3)
    world = bare(world.replace(copies=1, equal_counts=False))
    key_init, key_data = (
        jax.random.fold_in(shared if common else key, i)
        for i, common in enumerate((config.common_init, config.common_data))
    )
    optimizer = OPTIMIZERS[config.optimizer](config)
    unit = jnp.mean(world.mean)
    weight = (world.probabilities / jnp.mean(world.probabilities)) ** config.importance

    def loss_of(model: tuple[Array, Array], codes: Array) -> Array:
        rows, bias = model
        # the outputs are dense anyway, and a gather's gradient is a slow scatter: no sparse codes
        output = jax.nn.relu(product(product(codes, rows), rows.T) + bias[None])
        return jnp.sum(weight[None] * jnp.square(output - codes)) / codes.shape[0]

    def step(i: Array, carry):
        model, state, snapshots, losses, lost = carry
        codes = sample_codes(jax.random.fold_in(key_data, i), world, config.batch_size)
        dense = densify(codes, world.n_base) / unit
        loss, gradient = jax.value_and_grad(loss_of)(model, dense)
        energy = jnp.sum(weight[None] * jnp.square(dense)) / config.batch_size
        update, state = optimizer.update(gradient, state, model)
        losses = losses.at[i].set(safe_ratio(loss, energy))
        lost = lost + jnp.sum(codes.overflow, dtype=jnp.int32)
        return optax.apply_updates(model, update), state, snapshots, losses, lost

    def stretch(carry, ends):
        """From one snapshot to the next; the number of steps between them is not compiled in."""
        first, last, slot = ends
        carry = jax.lax.fori_loop(first, last, step, carry)
        (rows, bias), state, snapshots, *rest = carry
        if config.snapshots:
            # the last stretch is followed by no snapshot: its slot is out of bounds and drops
            snapshots = snapshots.at[slot].set(rows, mode="drop")
        return ((rows, bias), state, snapshots, *rest), None

    rows = jax.random.normal(key_init, (world.n_base, hidden_dim))
    # so that a row's norm, not its entries, is `init_norm` in any number of dimensions
    rows = rows * (config.init_norm / hidden_dim**0.5)
    model = rows, jnp.zeros(world.n_base)
    at = config.snapshots
    ends = jnp.array([0, *at]), jnp.array([*at, config.steps]), jnp.arange(len(at) + 1)
    snapshots = jnp.zeros((len(at), *rows.shape))
    start = model, optimizer.init(model), snapshots, jnp.zeros(config.steps), jnp.int32(0)
    (model, _, snapshots, losses, lost), _ = jax.lax.scan(stretch, start, ends)
    return Learned(*model, losses, snapshots, lost)


@fixed
def learn_dictionaries(
    world: World, hidden_dim: int, config: LearnedConfig, seeds: Sequence[int]
) -> Learned:
    """The toy models of some instance seeds, [R, ...]: one compiled program, vmapped over seeds.

    Seed s learns what `init_instance(keys.instance_key(s), ...)` does with geometry "learned".
    `learned_instances` makes instances of them, and of their snapshots.
    """
    checked = whole_seeds("learn_dictionaries: seeds", list(seeds))
    require(checked.ndim == 1 and checked.size > 0, "learn_dictionaries needs at least one seed.")
    # the first of an instance's keys: `InstanceKeys.directions`
    model_keys = jax.vmap(lambda seed: jax.random.fold_in(keys.instance_key(seed), 0))(checked)
    learned = _learn_many(model_keys, bare(world), hidden_dim, config)
    raise_on_lost(int(learned.lost.sum()), world, "toy model")
    return learned


def learn_once(key: Array, world: World, hidden_dim: int, config: LearnedConfig) -> Learned:
    """`learn`, compiled; an eager call of the same arguments gives the last results again.

    Instances of one family learn the same reference over and over; outside a trace that is done
    once. Raises `ConfigError` where samples overflowed and that can be known.
    """
    world = bare(world.replace(copies=1, equal_counts=False))
    leaves = jax.tree.leaves((jax.random.key_data(key), world))
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        return _learn_one(key, world, hidden_dim, config)
    # By content: a world that was built again is the same question, and an id could be another's.
    digest = hashlib.sha256(repr((hidden_dim, config, world.slots)).encode())
    for leaf in leaves:
        digest.update(np.asarray(leaf).tobytes())
    digest = digest.digest()
    if digest not in _learned:
        learned = _learn_one(key, world, hidden_dim, config)
        raise_on_lost(int(learned.lost), world, "toy model")
        if len(_learned) >= _MOST_MODELS:
            _learned.pop(next(iter(_learned)))
        _learned[digest] = learned
    return _learned[digest]


_MOST_MODELS = 8
_learned: dict[bytes, Learned] = {}
_learn_one = functools.partial(jax.jit, static_argnums=(2, 3))(learn)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _learn_many(model_keys: Array, world: World, hidden_dim: int, config: LearnedConfig) -> Learned:
    return jax.vmap(lambda key: learn(key, world, hidden_dim, config))(model_keys)
