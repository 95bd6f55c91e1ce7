"""ReLU latents that pay the p-th power of their length, p falling from 1 while training."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.errors import require
from synthsae_jax.numerics import row_norms, safe_ratio
from synthsae_jax.registry import Explanation
from synthsae_jax.saes import parts
from synthsae_jax.saes.base import architecture
from synthsae_jax.saes.records import Options, Rules, SAEParams

Array = jax.Array
MEMORY = 0.9  # of the running means: about ten batches, the length of the authors' queue


@struct.dataclass
class PAnnealingHyper:
    l1_coefficient: float = 1.0  # float32 []: of the penalty while p is p_start
    l1_warm_up_steps: int = 0  # int32 []: the coefficient rises linearly from 0 over these steps
    p_start: float = 1.0  # float32 []: exponent before and at the first annealing step
    p_end: float = 0.2  # float32 []: exponent from the last one on
    p_anneal_start: int = 0  # int32 []: steps before p begins to fall
    p_anneal_steps: int = 10_000  # int32 []: steps over which it falls
    p_updates: int = 10  # int32 []: equal decrements in which it falls; at most p_anneal_steps


@struct.dataclass
class PAnnealingState:
    step: Array  # int32 []: batches seen
    scale: Array  # float32 []: what the coefficient is multiplied by for the present p
    now: Array  # float32 []: running mean of the penalty under the present p
    ahead: Array  # float32 []: and of the penalty under the p that comes next


def _check(options: Options, hyper: PAnnealingHyper) -> None:
    for name, value in vars(hyper).items():
        require(value >= 0, f"{name} must not be negative, got {name}={value}.")
    require(
        0 < hyper.p_end <= hyper.p_start,
        f"p must fall: 0 < p_end <= p_start, got p_start={hyper.p_start}, p_end={hyper.p_end}.",
    )
    require(
        1 <= hyper.p_updates <= hyper.p_anneal_steps,
        f"p_updates must satisfy 1 <= p_updates <= p_anneal_steps, got p_updates="
        f"{hyper.p_updates}, p_anneal_steps={hyper.p_anneal_steps}.",
    )


@architecture(
    "p_annealing",
    Explanation(
        what="ReLU latents charged for the p-th power of their length; p falls from 1 towards 0, "
        "so that the charge comes to count latents instead of measuring them.",
        formula="|x_hat - x|^2 + c_p sum_j (z_j |W_dec,j|)^p averaged over samples; when p becomes "
        "p', c_p' = c_p * mean sum_j (z_j |W_dec,j|)^p / mean sum_j (z_j |W_dec,j|)^p'",
        source="Karvonen et al. 2024, arXiv:2408.00113",
    ),
    options=Options,
    hyper=PAnnealingHyper,
    sparsity="penalty",
    example={"l1_coefficient": 0.02, "p_end": 0.5, "p_anneal_steps": 200, "p_updates": 5},
    check=_check,
    penalty="l1_coefficient",
)
def p_annealing(options: Options) -> Rules:
    """The rules of an SAE with an annealed L_p^p penalty; training and inference encode alike.

    Step p_anneal_start + i p_anneal_steps / p_updates takes the i-th of p_updates equal steps from
    p_start to p_end. There the coefficient is rescaled by the ratio of the penalties' running means
    since the step before, so that the penalty costs what it did. Lengths count with the decoder's
    norms (as in `standard`) instead of a decoder held at norm 1.

    Below 1 the slope of a power is infinite at 0: latents at 0 have no gradient, and one just
    above 0 is pushed hard; training clips the gradient's norm.
    """

    def init(key, hyper):
        return parts.init_params(key, options)

    def encode(params, x, hyper):
        return jax.nn.relu(parts.pre_activations(params, x, options))

    def train_encode(params, x, hyper, state):
        return encode(params, x, hyper)

    def decode(params, latents):
        return parts.reconstruct(params, latents, options)

    def loss(params: SAEParams, x, dead, hyper, state: PAnnealingState, key):
        latents = encode(params, x, hyper)
        lengths = latents * row_norms(params.W_dec)[None]
        update = updates_done(state.step, hyper)
        state = _rescaled(state, update > updates_done(state.step - 1, hyper))
        penalty = sum_of_powers(lengths, exponent(update, hyper))
        coefficient = parts.warmed_up(hyper.l1_coefficient, state.step, hyper.l1_warm_up_steps)
        terms = {
            "mse_loss": parts.squared_error(decode(params, latents), x),
            "l1_loss": coefficient * state.scale * penalty,
        }
        ahead = sum_of_powers(jax.lax.stop_gradient(lengths), exponent(update + 1, hyper))
        state = _observed(state, jax.lax.stop_gradient(penalty), ahead)
        return sum(terms.values()), {"latents": latents, "state": state, "terms": terms}

    def init_state():
        zero = jnp.zeros((), jnp.float32)
        return PAnnealingState(jnp.zeros((), jnp.int32), jnp.ones((), jnp.float32), zero, zero)

    def finalize(params, state):
        return params

    return Rules(init, encode, decode, train_encode, loss, init_state, finalize)


def updates_done(step: Array, hyper: PAnnealingHyper) -> Array:
    """How many times p has been lowered at a step: an integer from 0 to p_updates."""
    into = jnp.clip(step - hyper.p_anneal_start, 0, hyper.p_anneal_steps)
    # in floats, since the product of two counts of steps may pass 2^31; the half is for rounding
    done = (into.astype(jnp.float32) + 0.5) * hyper.p_updates / hyper.p_anneal_steps
    return jnp.minimum(jnp.floor(done).astype(jnp.int32), hyper.p_updates)


def exponent(update: Array, hyper: PAnnealingHyper) -> Array:
    """p after so many updates; p_end from the last one on."""
    share = jnp.minimum(update, hyper.p_updates) / hyper.p_updates
    return hyper.p_start + (hyper.p_end - hyper.p_start) * share


def sum_of_powers(lengths: Array, p: Array) -> Array:
    """Sum of the p-th powers of each row's positive numbers, averaged over rows: a scalar."""
    positive = lengths > 0
    # a power has no finite slope at 0: keep 0 off the gradient's path
    powers = jnp.where(positive, jnp.where(positive, lengths, 1.0) ** p, 0.0)
    return jnp.mean(jnp.sum(powers, axis=-1))


def _rescaled(state: PAnnealingState, p_has_changed: Array) -> PAnnealingState:
    """The state with the coefficient's scale for a new p, and its means begun anew."""
    ratio = jnp.where(state.ahead > 0, safe_ratio(state.now, state.ahead), 1.0)
    return state.replace(
        scale=jnp.where(p_has_changed, state.scale * ratio, state.scale),
        now=jnp.where(p_has_changed, 0.0, state.now),
        ahead=jnp.where(p_has_changed, 0.0, state.ahead),
    )


def _observed(state: PAnnealingState, now: Array, ahead: Array) -> PAnnealingState:
    """The state after a batch. Both means lack the same factor, so their ratio has none."""
    return PAnnealingState(
        step=state.step + 1,
        scale=state.scale,
        now=MEMORY * state.now + (1 - MEMORY) * now,
        ahead=MEMORY * state.ahead + (1 - MEMORY) * ahead,
    )
