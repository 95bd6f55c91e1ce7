"""`SAE`: the record of pure functions that `build` returns, and the registry of architectures."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from synthsae_jax.errors import ConfigError, require
from synthsae_jax.modes import fixed
from synthsae_jax.registry import Explanation, Registry
from synthsae_jax.saes.records import Architecture, Options, Rules, SAEParams

Array = jax.Array

architectures: Registry[Architecture] = Registry("sae")


def architecture(
    name: str, explanation: Explanation, **traits: Any
) -> Callable[[Callable[[Any], Rules]], Callable[[Any], Rules]]:
    """Decorator that registers a factory `(options) -> Rules` as an architecture.

    `traits` are the fields of `Architecture` but its factory, which says what each is: `options`,
    `hyper`, `sparsity` and `example`, and what is not as usual.
    """

    def add(factory: Callable[[Any], Rules]) -> Callable[[Any], Rules]:
        architectures.register(name, explanation)(Architecture(factory, **traits))
        return factory

    return add


@dataclasses.dataclass(frozen=True)
class SAE:
    """One architecture with its choices: pure functions of weights and data, and no weights.

    Two SAEs are equal, with equal hash, when architecture and static options agree. `hyper`, the
    record of numbers (k, coefficients), does not count: an SAE passed to `jit` as a static
    argument is traced once however often it is built again and whatever its k. For the same
    reason a function jitted that way has to get the numbers as an argument of its own:

        @functools.partial(jax.jit, static_argnames="sae")
        def latents(sae, params, x, hyper):
            return sae.encode(params, x, hyper=hyper)

        latents(sae.static, params, x, sae.hyper)

    `sae.static` has no numbers and raises where one is read that was not passed, so that nothing
    can be left over from an earlier trace. Where an SAE is not an argument of `jit`
    (`jax.jit(sae.encode)`, a closure), `hyper` may be left out.

    All functions take one batch `[n, D]`; runs are stacked by `jax.vmap` over params, hyper and
    state.
    """

    name: str
    options: Options
    factory: Callable[[Any], Rules] = dataclasses.field(repr=False)
    hyper: Any = dataclasses.field(compare=False)
    params: SAEParams | None = dataclasses.field(default=None, compare=False, repr=False)
    # params: only a wrapped SAE brings its own

    @property
    def d_in(self) -> int:
        """D: dimensions of the input."""
        return self.options.d_in

    @property
    def d_sae(self) -> int:
        """L: how many latents there are."""
        return self.options.d_sae

    @property
    def static(self) -> SAE:
        """This SAE without its numbers: equal to it, and safe as a static argument of `jit`."""
        return dataclasses.replace(self, hyper=_NotPassed(self.name))

    def with_options(self, **choices) -> SAE:
        """This SAE with other static options, `sae.with_options(dtype="bfloat16")`."""
        return dataclasses.replace(self, options=dataclasses.replace(self.options, **choices))

    def init(self, key: Array, *, hyper=None) -> SAEParams:
        """Initial weights drawn from the key."""
        return self._rules.init(key, self._numbers(hyper))

    def encode(self, params: SAEParams, x: Array, *, hyper=None) -> Array:
        """Latents of a batch under the inference rule, `[n, D] -> [n, L]`.

        Meant for finalized weights; others are treated as finalized before any training step.
        """
        self._check_batch(x, self.d_in, "x")
        return self._rules.encode(params, x, self._numbers(hyper))

    def decode(self, params: SAEParams, latents: Array) -> Array:
        """Reconstruction from latents of either rule, `[n, L] -> [n, D]`."""
        self._check_batch(latents, self.d_sae, "latents")
        return self._rules.decode(params, latents)

    def train_encode(self, params: SAEParams, x: Array, *, hyper=None, state=None) -> Array:
        """Latents of a batch under the training rule, `[n, D] -> [n, L]`.

        Where the rule ranks over the batch, a sample's latents depend on its neighbours.
        """
        self._check_batch(x, self.d_in, "x")
        return self._rules.train_encode(params, x, self._numbers(hyper), self._carried(state))

    def loss(
        self,
        params: SAEParams,
        x: Array,
        dead: Array | None = None,
        *,
        hyper=None,
        state=None,
        key: Array | None = None,
    ) -> tuple[Array, dict[str, Any]]:
        """The training loss of one batch and what came with it.

        `dead` marks latents that an auxiliary loss should revive, bool `[L]`. The loss is the sum
        of `info["terms"]`, named as in SAELens; `info["latents"]` `[n, L]` are those of the
        training rule, `info["state"]` is for the next step.
        """
        self._check_batch(x, self.d_in, "x")
        if dead is not None:
            require(
                dead.shape == (self.d_sae,),
                f"dead must have one entry per latent, shape ({self.d_sae},), got {dead.shape}.",
            )
        return self._rules.loss(params, x, dead, self._numbers(hyper), self._carried(state), key)

    @property
    def has_sparse_loss(self) -> bool:
        """Whether there is a `sparse_loss`."""
        return self._rules.sparse_loss is not None and self.options.dtype != "bfloat16"

    def sparse_loss(
        self,
        params: SAEParams,
        x: Array,
        dead: Array | None = None,
        *,
        capacity: int,
        hyper=None,
        state=None,
        key: Array | None = None,
    ) -> tuple[Array, dict[str, Any]]:
        """`loss` by way of the active latents alone: the same numbers but for rounding.

        `capacity`: the most active latents per sample, on average over the batch; a quarter more
        than k is fastest, and with less than k the loss is NaN. `info` has besides "fired", bool
        `[L]`, and "l0", a scalar, which save reading "latents".
        """
        self._check_batch(x, self.d_in, "x")
        rule = self._rules.sparse_loss
        if rule is None or not self.has_sparse_loss:
            raise ConfigError(
                f"SAE {self.name!r} with dtype {self.options.dtype!r} has no sparse_loss."
            )
        numbers, carried = self._numbers(hyper), self._carried(state)
        return rule(params, x, dead, numbers, carried, key, capacity)

    def init_state(self) -> Any:
        """What the architecture carries besides its weights, before the first step."""
        return self._rules.init_state()

    def finalize(self, params: SAEParams, state=None) -> SAEParams:
        """Weights for inference: running thresholds written in, scales folded."""
        return self._rules.finalize(params, self._carried(state))

    def project(self, params: SAEParams) -> SAEParams:
        """Weights after an update, back where the architecture allows them to be."""
        return self._rules.project(params)

    def config(self) -> dict[str, Any]:
        """All options by name as plain Python values; `build(sae.name, **config)` undoes it."""
        require(not isinstance(self.hyper, _NotPassed), "sae.static has no numbers to write down.")
        choices = {n: v for n, v in vars(self.options).items() if not callable(v)}
        return choices | {n: _plain(v) for n, v in vars(self.hyper).items()}

    @property
    def _rules(self) -> Rules:
        return _rules(self.factory, self.options)

    def _numbers(self, hyper):
        return self.hyper if hyper is None else hyper

    def _carried(self, state):
        return self.init_state() if state is None else state

    def _check_batch(self, batch: Array, width: int, what: str) -> None:
        shape = np.shape(batch)
        require(
            len(shape) == 2 and shape[1] == width,
            f"{what} must have shape (n, {width}), got {shape}.",
        )


@functools.lru_cache(maxsize=256)
def _rules(factory: Callable[[Any], Rules], options: Options) -> Rules:
    return Rules(*(rule and fixed(rule) for rule in factory(options)))


class _NotPassed:
    """Stands for the numbers of `SAE.static`: reading one is an error that says what to pass."""

    def __init__(self, sae: str):
        self._sae = sae

    def __getattr__(self, name: str):
        if name.startswith("_"):
            raise AttributeError(name)
        raise ConfigError(
            f"The number {name!r} of SAE {self._sae!r} is read where it is not known; "
            f"pass hyper=sae.hyper as an argument of the jitted function."
        )


def _plain(value):
    """A Python number; a float32 becomes the shortest decimal that names it (0.1)."""
    if value is None:
        return None
    value = np.asarray(value)
    return int(value) if np.issubdtype(value.dtype, np.integer) else float(str(value))
