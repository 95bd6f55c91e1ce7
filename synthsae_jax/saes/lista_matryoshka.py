"""BatchTopK twice with a correction between, prefixes sorted by frequency: LISTA-Matryoshka."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.errors import require
from synthsae_jax.numerics import safe_ratio
from synthsae_jax.registry import Explanation
from synthsae_jax.saes import parts
from synthsae_jax.saes.base import architecture
from synthsae_jax.saes.batchtopk import (
    BatchTopKHyper,
    BatchTopKState,
    check_batch_topk,
    inference,
    keep_largest,
    updated_threshold,
)
from synthsae_jax.saes.records import INPUT_UNITS, Rules, SAEParams
from synthsae_jax.saes.topk import (
    TopKOptions,
    dead_latents_error,
    scaled_pre_activations,
    scaled_reconstruct,
)

Array = jax.Array
RATE_DECAY = 0.99  # of the running firing rates


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListaOptions(TopKOptions):
    matryoshka_widths: tuple[int, ...] = ()  # prefixes with a loss of their own; d_sae adds none
    refinement_steps: int = 1  # corrections of the pre-activations; 0: a Matryoshka BatchTopK
    detach_prefixes: bool = True  # an inner loss trains only the latents its width adds
    sort_prefixes_by_frequency: bool = (
        True  # prefixes hold the most frequent latents, not the first
    )


@struct.dataclass
class ListaHyper(BatchTopKHyper):
    refinement_step: float = 0.3  # float32 []: eta, how far a correction goes
    inner_loss_weight: float = 1.0  # float32 []: of each prefix's loss
    term_tilt: float = 0.002  # float32 []: tau, how much a badly reconstructed sample counts more


@struct.dataclass
class ListaState:
    # float32 [S + 1]: running mean of the smallest latent kept at each step
    thresholds: Array = struct.field(metadata=INPUT_UNITS)
    rates: Array  # float32 [L]: running mean of each latent's share of samples it fires in
    step: Array  # int32 []: batches seen


def _check(options: ListaOptions, hyper: ListaHyper) -> None:
    check_batch_topk(options, hyper)
    widths = options.matryoshka_widths
    require(
        all(1 <= a < b for a, b in itertools.pairwise((*widths, options.d_sae + 1))),
        f"matryoshka_widths must increase from at least 1 to at most d_sae, got "
        f"matryoshka_widths={widths}, d_sae={options.d_sae}.",
    )
    require(
        options.refinement_steps >= 0,
        f"refinement_steps must not be negative, got {options.refinement_steps}.",
    )
    for name in ("refinement_step", "inner_loss_weight"):
        value = getattr(hyper, name)
        require(value >= 0, f"{name} must not be negative, got {name}={value}.")


@architecture(
    "lista_matryoshka",
    Explanation(
        what="BatchTopK latents corrected once by what their reconstruction left over; prefixes of "
        "the latents, most frequent first, each have to reconstruct on their own.",
        formula="h0 = ((x - b_dec) W_enc + b_enc) |W_dec|, z0 = top_kn(relu(h0)); h1 = h0 + eta ((x"
        " - x_hat(z0)) W_enc) |W_dec|, z1 = top_kn(relu(h1)); loss T(|x_hat(z1) - x|^2) + "
        "inner_loss_weight * sum over widths of T(|x_hat(prefix of z1) - x|^2), T(l) = sum of l "
        "softmax(tau l / mean l) over samples",
        source="SynthSAEBench's LISTA-Matryoshka (Chanin 2026); one step of Gregor & LeCun 2010; "
        "tilted loss: Li et al. 2021, arXiv:2007.01162",
    ),
    options=ListaOptions,
    hyper=ListaHyper,
    sparsity="k per batch",
    example={"k": 1.5, "matryoshka_widths": (4, 8)},
    check=_check,
    probe_mcc=0.9,  # as matryoshka: a prefix narrower than the features mixes them
    extra_axes={"inner_threshold": 1},
)
def lista_matryoshka(options: ListaOptions) -> Rules:
    """The rules of a LISTA-Matryoshka SAE.

    - Each of the `refinement_steps` adds `refinement_step` times the residual's pre-activations;
      the same k selects every time and gradients flow through all of it. Step 0 changes nothing.
    - Prefixes are told apart after the firing rates have taken in the batch. With
      `detach_prefixes` what narrower prefixes reconstruct is a constant to the wider one's loss;
      the loss of all latents still trains everything.
    - Samples are weighted by `softmax(term_tilt * error / mean error)`, a constant to the
      gradient, in the full loss and in every prefix's own.
    - Reconstructions, `b_dec` included, are compared with x. The original recipe compares them
      with `x - b_dec`, which leaves `b_dec` near half of the data's mean.
    - Inference has a running threshold for each step: `threshold` for the last one and
      `extra["inner_threshold"]` `[S, L]` for those before; eta is read from the numbers there too.
    """
    finalized = dataclasses.replace(options, rescale_acts_by_decoder_norm=False)
    _, decode = inference(options)

    def init(key, hyper):
        return parts.init_params(key, options)

    def encode(params, x, hyper):
        if params.threshold is None:
            return unrolled(params, x, hyper.refinement_step, options, _positive)[1][-1]
        thresholds = (*params.extra["inner_threshold"], params.threshold)

        def above(step, pre):
            return parts.jump_relu(pre, thresholds[step])

        return unrolled(params, x, hyper.refinement_step, finalized, above)[1][-1]

    def train_steps(params, x, hyper):
        def largest(step, pre):
            return keep_largest(pre, hyper.k)

        return unrolled(params, x, hyper.refinement_step, options, largest)

    def train_encode(params, x, hyper, state):
        return train_steps(params, x, hyper)[1][-1]

    def loss(params: SAEParams, x, dead, hyper, state: ListaState, key):
        pre, steps = train_steps(params, x, hyper)
        latents = steps[-1]
        state = _updated(state, steps, hyper.topk_threshold_lr)
        order = jnp.argsort(-state.rates) if options.sort_prefixes_by_frequency else None
        full, prefixes = prefix_reconstructions(params, latents, order, options)
        terms = {"mse_loss": tilted_mean(_errors(full, x), hyper.term_tilt)}
        for width, prefix in prefixes.items():
            inner = tilted_mean(_errors(prefix, x), hyper.term_tilt)
            terms[f"inner_mse_loss_{width}"] = hyper.inner_loss_weight * inner
        residual = jax.lax.stop_gradient(x - full)
        revival = dead_latents_error(pre, dead, residual, params.W_dec, options)
        terms["auxiliary_reconstruction_loss"] = hyper.aux_loss_coefficient * revival
        return sum(terms.values()), {"latents": latents, "state": state, "terms": terms}

    def init_state():
        return ListaState(
            thresholds=jnp.zeros(options.refinement_steps + 1, jnp.float32),
            rates=jnp.zeros(options.d_sae, jnp.float32),
            step=jnp.zeros((), jnp.int32),
        )

    def finalize(params: SAEParams, state: ListaState) -> SAEParams:
        if options.rescale_acts_by_decoder_norm:
            params = parts.fold_decoder_norms(params)
        shape = (options.refinement_steps + 1, options.d_sae)
        thresholds = jnp.broadcast_to(state.thresholds[:, None], shape)
        return params.replace(threshold=thresholds[-1], extra={"inner_threshold": thresholds[:-1]})

    return Rules(init, encode, decode, train_encode, loss, init_state, finalize)


def unrolled(
    params: SAEParams,
    x: Array,
    eta: Array,
    options: ListaOptions,
    select: Callable[[int, Array], Array],
) -> tuple[Array, list[Array]]:
    """The last pre-activations `[n, L]` and the latents of every step, S + 1 times `[n, L]`.

    h_0 is the encoder's; z_s = select(s, h_s); h_(s+1) = h_s + eta (x - x_hat(z_s)) W_enc, all in
    decoder units where the options say so.
    """
    pre = scaled_pre_activations(params, x, options)
    latents = [select(0, pre)]
    for step in range(1, options.refinement_steps + 1):
        residual = x - scaled_reconstruct(params, latents[-1], options)
        change = parts.matmul(residual, params.W_enc, options)
        pre = pre + eta * parts.in_decoder_units(change, params.W_dec, options)
        latents.append(select(step, pre))
    return pre, latents


def tilted_mean(errors: Array, tilt: Array) -> Array:
    """Mean of `[n]` errors with weights `softmax(tilt * errors / mean)`, which take no gradient.

    Tilt 0 is the plain mean; so is a mean of 0.
    """
    fixed = jax.lax.stop_gradient(errors)
    weights = jax.nn.softmax(tilt * safe_ratio(fixed, jnp.mean(fixed)[None]))
    return jnp.sum(weights * errors)


def _positive(step: int, pre: Array) -> Array:
    return jax.nn.relu(pre)


def _errors(x_hat: Array, x: Array) -> Array:
    return jnp.sum(jnp.square(x_hat - x), axis=-1)


def _updated(state: ListaState, steps: list[Array], rate: Array) -> ListaState:
    """The state after a batch. The first batch's firing rates are taken as they are."""
    thresholds = [
        updated_threshold(BatchTopKState(old), latents, rate).threshold
        for old, latents in zip(state.thresholds, steps)
    ]
    fires = jnp.mean(steps[-1] > 0, axis=0, dtype=jnp.float32)
    share = jnp.where(state.step == 0, 1.0, 1 - RATE_DECAY)
    return ListaState(
        thresholds=jnp.stack(thresholds),
        rates=state.rates + share * (fires - state.rates),
        step=state.step + 1,
    )


def prefix_reconstructions(
    params: SAEParams, latents: Array, order: Array | None, options: ListaOptions
) -> tuple[Array, dict[int, Array]]:
    """The full reconstruction `[n, D]`, and that of each prefix by its width.

    The latents between two widths decode once, so that all prefixes together cost about one
    decoder product; `order` `[L]` says which latents come first (None: as they are).
    """
    values, W_dec = parts.from_decoder_units(latents, params.W_dec, options), params.W_dec
    if order is not None:
        inverse = jnp.argsort(order)
        values = _permuted(1, values, order, inverse)
        W_dec = _permuted(0, W_dec, order, inverse)
    widths = [width for width in options.matryoshka_widths if width < options.d_sae]
    full = params.b_dec[None]
    prefix = full
    prefixes = {}
    for start, stop in itertools.pairwise((0, *widths, options.d_sae)):
        block = parts.matmul(values[:, start:stop], W_dec[start:stop], options)
        full = full + block
        if stop < options.d_sae:
            prefix = prefixes[stop] = prefix + block
            if options.detach_prefixes:
                prefix = jax.lax.stop_gradient(prefix)
    return full, prefixes


def _taken(axis: int, values: Array, order: Array, inverse: Array) -> Array:
    """`values` taken along an axis in the given order.

    The gradient goes back by the inverse order: a second gather, where a scatter would cost more
    than half a decoder product (1,024 samples, 768 dimensions, 4,096 latents, 2-core CPU).
    """
    return jnp.take(values, order, axis=axis, mode="clip")


def _taken_forward(axis, values, order, inverse):
    return _taken(axis, values, order, inverse), inverse


def _taken_backward(axis, inverse, gradient):
    return jnp.take(gradient, inverse, axis=axis, mode="clip"), None, None


_permuted = jax.custom_vjp(_taken, nondiff_argnums=(0,))
_permuted.defvjp(_taken_forward, _taken_backward)
