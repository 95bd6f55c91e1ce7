"""Latents that fire above a threshold each learns for itself: the JumpReLU SAE."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.errors import check_choice, require
from synthsae_jax.numerics import row_norms
from synthsae_jax.registry import Explanation
from synthsae_jax.saes import parts
from synthsae_jax.saes.base import architecture
from synthsae_jax.saes.records import Options, Rules, SAEParams

Array = jax.Array

MODES = ("step", "tanh", "quadratic")


@dataclasses.dataclass(frozen=True, kw_only=True)
class JumpReLUOptions(Options):
    jumprelu_sparsity_loss_mode: str = "step"  # what l0_coefficient buys: see `sparsity`
    jumprelu_ste_to_input: bool = False  # the jump's estimated slope reaches the encoder too

    def __post_init__(self):
        super().__post_init__()
        check_choice("jumprelu_sparsity_loss_mode", self.jumprelu_sparsity_loss_mode, MODES)


@struct.dataclass
class JumpReLUHyper:
    l0_coefficient: float = 1.0  # float32 []
    l0_warm_up_steps: int = 0  # int32 []: the coefficient rises linearly from 0 over these steps
    jumprelu_init_threshold: float = 0.01  # float32 []
    jumprelu_bandwidth: float = 0.05  # float32 []: width around a threshold that moves it
    jumprelu_tanh_scale: float = 4.0  # float32 []: with mode "tanh"
    target_l0: float | None = None  # float32 []: with mode "quadratic", which needs it
    pre_act_loss_coefficient: float | None = None  # float32 []; None leaves the term out


def _check(options: JumpReLUOptions, hyper: JumpReLUHyper) -> None:
    for name, value in vars(hyper).items():
        if name in ("jumprelu_bandwidth", "jumprelu_tanh_scale"):
            require(value > 0, f"{name} must be positive, got {name}={value}.")
        elif value is not None:
            require(value >= 0, f"{name} must not be negative, got {name}={value}.")
    target = hyper.target_l0
    sizes = f"got target_l0={target}, d_sae={options.d_sae}."
    if options.jumprelu_sparsity_loss_mode == "quadratic":
        require(
            target is not None and 0 < target <= options.d_sae,
            "target_l0 must satisfy 0 < target_l0 <= d_sae with jumprelu_sparsity_loss_mode "
            f"'quadratic', {sizes}",
        )


@architecture(
    "jumprelu",
    Explanation(
        what="A latent is 0 up to a threshold of its own and itself above; thresholds learn from "
        "the samples near them, by an estimated slope of the jump.",
        formula="z = h * [h > t], h = (x - b_dec) W_enc + b_enc; |x_hat - x|^2 + l0_coefficient * "
        "S, S = #{h > t} (step), sum tanh(scale z |W_dec|) or 2 (#{h > t} - target)^2 / target",
        source="Rajamanoharan et al. 2024, arXiv:2407.14435; tanh and the pre-activation loss: "
        "Anthropic's circuits update of January 2025; quadratic: Gemma Scope 2",
    ),
    options=JumpReLUOptions,
    hyper=JumpReLUHyper,
    sparsity="penalty",
    example={
        "l0_coefficient": 0.1,
        "jumprelu_bandwidth": 1.0,
        "jumprelu_init_threshold": 0.02,
        "pre_act_loss_coefficient": 0.1,
    },
    check=_check,
    probe_mcc=0.98,  # thresholds cut the smallest activations off
    penalty="l0_coefficient",
    initial=("jumprelu_init_threshold",),
)
def jumprelu(options: JumpReLUOptions) -> Rules:
    """The rules of a JumpReLU SAE; training and inference encode alike.

    Thresholds are trained as they are (not their logarithm). A negative one counts as 0, which
    `project` makes it after every update; its gradient stays. At step t the coefficient is
    `l0_coefficient * min(t / l0_warm_up_steps, 1)`.
    """

    def init(key, hyper):
        threshold = jnp.full(options.d_sae, hyper.jumprelu_init_threshold, jnp.float32)
        return parts.init_params(key, options).replace(threshold=threshold)

    def encode(params, x, hyper):
        return parts.jump_relu(parts.pre_activations(params, x, options), params.threshold)

    def train_encode(params, x, hyper, state):
        return encode(params, x, hyper)

    def decode(params, latents):
        return parts.reconstruct(params, latents, options)

    def loss(params: SAEParams, x, dead, hyper, state, key):
        pre = parts.pre_activations(params, x, options)
        threshold = _at_least_zero(params.threshold)
        near = _Near.of(pre, threshold, hyper.jumprelu_bandwidth, options.jumprelu_ste_to_input)
        latents = near.jump_relu()
        norms = row_norms(params.W_dec)
        coefficient = parts.warmed_up(hyper.l0_coefficient, state.step, hyper.l0_warm_up_steps)
        terms = {
            "mse_loss": parts.squared_error(decode(params, latents), x),
            "l0_loss": coefficient * sparsity(near, latents, norms, hyper, options),
        }
        if hyper.pre_act_loss_coefficient is not None:
            short = pre_act_loss(pre, threshold, norms, dead)
            terms["pre_act_loss"] = hyper.pre_act_loss_coefficient * short
        info = {"latents": latents, "state": parts.StepState(state.step + 1), "terms": terms}
        return sum(terms.values()), info

    def finalize(params, state):
        return project(params)

    return Rules(init, encode, decode, train_encode, loss, parts.first_step, finalize, project)


def project(params: SAEParams) -> SAEParams:
    """The weights with negative thresholds set to 0."""
    return params.replace(threshold=jnp.maximum(params.threshold, 0.0))


@dataclasses.dataclass(frozen=True)
class _Near:
    """Pre-activations seen from their thresholds: the jump, and its estimated slope."""

    pre: Array  # [n, L]
    threshold: Array  # [L]
    above: Array  # bool [n, L]: pre > threshold
    slope: Array  # [n, L]: 1 / bandwidth within half a bandwidth of the threshold, else 0
    moved: Array  # [n, L]: 0, with the gradient of pre - threshold, or of -threshold alone

    @classmethod
    def of(cls, pre: Array, threshold: Array, bandwidth: Array, to_input: bool) -> _Near:
        """A rectangle of area 1 and width `bandwidth` estimates the slope of the jump."""
        distance = jax.lax.stop_gradient(pre - threshold[None])
        inside = jnp.abs(distance / bandwidth) < 0.5
        source = (pre if to_input else jax.lax.stop_gradient(pre)) - threshold[None]
        return cls(
            pre=pre,
            threshold=threshold,
            above=distance > 0,
            slope=jnp.where(inside, 1.0 / bandwidth, 0.0),
            moved=source - jax.lax.stop_gradient(source),
        )

    def step(self) -> Array:
        """1 above the threshold, else 0, `[n, L]`."""
        return self.above + self.slope * self.moved

    def jump_relu(self) -> Array:
        """The pre-activation above the threshold, else 0, `[n, L]`."""
        height = jax.lax.stop_gradient(self.threshold)[None] * self.slope
        return jnp.where(self.above, self.pre, 0.0) + height * self.moved


def sparsity(
    near: _Near, latents: Array, norms: Array, hyper: JumpReLUHyper, options: JumpReLUOptions
) -> Array:
    """What a batch pays per unit of `l0_coefficient`: a scalar.

    "step": L0; "quadratic": `2 (L0 - target_l0)^2 / target_l0`, which also pulls up from below;
    "tanh": `sum tanh(jumprelu_tanh_scale * z * |W_dec|)`. All averaged over samples.
    """
    mode = options.jumprelu_sparsity_loss_mode
    if mode == "tanh":
        return jnp.mean(jnp.sum(jnp.tanh(hyper.jumprelu_tanh_scale * latents * norms[None]), -1))
    l0 = jnp.sum(near.step(), axis=-1)
    if mode == "quadratic":
        target = jnp.asarray(hyper.target_l0)  # `_check` saw that there is one
        return jnp.mean(2.0 / target * jnp.square(l0 - target))
    return jnp.mean(l0)


def pre_act_loss(pre: Array, threshold: Array, norms: Array, dead: Array | None) -> Array:
    """How far dead latents stay below their thresholds, in decoder units: a scalar."""
    if dead is None:
        return jnp.zeros((), jnp.float32)
    short = jax.nn.relu(threshold[None] - pre) * norms[None]
    return jnp.mean(jnp.sum(jnp.where(dead[None], short, 0.0), axis=-1))


def _at_least_zero(threshold: Array) -> Array:
    """Thresholds with negative ones as 0, and the gradient of thresholds that were not."""
    return threshold + jax.lax.stop_gradient(jnp.maximum(threshold, 0.0) - threshold)
