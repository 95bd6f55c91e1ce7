"""Nested BatchTopK SAEs in one: every prefix of the latents reconstructs on its own."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from synthsae_jax.errors import require
from synthsae_jax.registry import Explanation
from synthsae_jax.saes import parts
from synthsae_jax.saes.base import architecture
from synthsae_jax.saes.batchtopk import (
    BatchTopKHyper,
    batch_rules,
    check_batch_topk,
    sparse_batch_loss,
)
from synthsae_jax.saes.records import Rules, SAEParams
from synthsae_jax.saes.revival import dead_error, dead_latents_error
from synthsae_jax.saes.sparse_loss import Choose, reconstructions
from synthsae_jax.saes.topk import TopKOptions

Array = jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatryoshkaOptions(TopKOptions):
    matryoshka_widths: tuple[int, ...] = ()  # of the prefixes; the whole SAE is always the last
    use_matryoshka_aux_loss: bool = False  # dead latents revive against their own level's error

    def __post_init__(self):
        super().__post_init__()
        widths = tuple(self.matryoshka_widths)
        sizes = f"got matryoshka_widths={list(widths)}, d_sae={self.d_sae}."
        require(len(widths) > 0, f"matryoshka_widths must name at least one width, {sizes}")
        increasing = all(a < b for a, b in zip((0, *widths), widths))
        require(
            increasing and widths[-1] <= self.d_sae,
            f"matryoshka_widths must increase from at least 1 to at most d_sae, {sizes}",
        )
        if widths[-1] != self.d_sae:
            widths = (*widths, self.d_sae)
        object.__setattr__(self, "matryoshka_widths", widths)


@architecture(
    "matryoshka",
    Explanation(
        what="A BatchTopK SAE whose first latents, for each width listed, must also reconstruct "
        "alone, so that general features come first.",
        formula="sum over widths m of |z[:m] W_dec[:m] / |W_dec[:m]| + b_dec - x|^2, plus "
        "aux_loss_coefficient * (dead latents' error); z and inference as in batchtopk",
        source="Bussmann et al. 2025, arXiv:2503.17547",
    ),
    options=MatryoshkaOptions,
    hyper=BatchTopKHyper,
    sparsity="k per batch",
    example={"k": 1.5, "matryoshka_widths": (4, 10)},
    check=check_batch_topk,
    probe_mcc=0.88,  # a prefix narrower than the features settles on mixtures of them
)
def matryoshka(options: MatryoshkaOptions) -> Rules:
    """The rules of a Matryoshka BatchTopK SAE: one selection over all latents, a loss per prefix.

    `mse_loss` is the whole SAE's, `inner_mse_loss_<width>` that of a shorter prefix. Inference is
    BatchTopK's: finalized, it is a JumpReLU SAE.
    """
    rules = batch_rules(options, nested_terms)
    return rules._replace(sparse_loss=sparse_batch_loss(options, nested_active_terms))


def nested_terms(
    params: SAEParams,
    x: Array,
    pre: Array,
    latents: Array,
    dead: Array | None,
    hyper: BatchTopKHyper,
    options: MatryoshkaOptions,
) -> dict[str, Array]:
    """The whole SAE's squared error, each shorter prefix's, and the auxiliary loss.

    With `use_matryoshka_aux_loss` the dead latents of each level reconstruct what the prefix up to
    and with that level left over, and the levels' errors add up; without, dead latents of all
    levels reconstruct together what the whole SAE left over.
    """
    *inner, _ = options.matryoshka_widths
    x_hats = prefix_reconstructions(params, latents, options)
    residuals = [jax.lax.stop_gradient(x - x_hat) for x_hat in x_hats]
    if dead is None:
        revival = jnp.zeros((), jnp.float32)
    elif options.use_matryoshka_aux_loss:
        levels = zip(
            jnp.split(pre, inner, axis=1),
            jnp.split(dead, inner),
            residuals,
            jnp.split(params.W_dec, inner),
        )
        errors = [dead_latents_error(*level, options) for level in levels]
        revival = jnp.sum(jnp.stack(errors))
    else:
        revival = dead_latents_error(pre, dead, residuals[-1], params.W_dec, options)
    return _terms(x, x_hats, revival, hyper, options)


def nested_active_terms(
    params: SAEParams,
    x: Array,
    dead: Array | None,
    hyper: Any,
    options: MatryoshkaOptions,
    choose: Choose,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """`nested_terms` by way of the active latents; arguments and results as in `active_terms`."""
    *inner, _ = options.matryoshka_widths
    x_hats, info = reconstructions(params, x, options, choose, tuple(inner))
    residuals = [jax.lax.stop_gradient(x - x_hat) for x_hat in x_hats]
    if dead is None:
        revival = jnp.zeros((), jnp.float32)
    elif options.use_matryoshka_aux_loss:
        levels = zip((0, *inner), options.matryoshka_widths, residuals)
        errors = [
            dead_error(
                params.replace(
                    W_enc=params.W_enc[:, start:end],
                    b_enc=params.b_enc[start:end],
                    W_dec=params.W_dec[start:end],
                ),
                x,
                dead[start:end],
                residual,
                options,
            )
            for start, end, residual in levels
        ]
        revival = jnp.sum(jnp.stack(errors))
    else:
        revival = dead_error(params, x, dead, residuals[-1], options)
    return _terms(x, x_hats, revival, hyper, options), info


def _terms(x, x_hats, revival, hyper, options) -> dict[str, Array]:
    *inner, _ = options.matryoshka_widths
    terms = {
        f"inner_mse_loss_{width}": parts.squared_error(x_hat, x)
        for width, x_hat in zip(inner, x_hats)
    }
    return {
        "mse_loss": parts.squared_error(x_hats[-1], x),
        "auxiliary_reconstruction_loss": hyper.aux_loss_coefficient * revival,
        **terms,
    }


def prefix_reconstructions(
    params: SAEParams, latents: Array, options: MatryoshkaOptions
) -> list[Array]:
    """What the first latents reconstruct alone, one `[n, D]` per width, the whole SAE's last.

    Each adds its own latents' part to the one before: together the work of one decoder.
    """
    *inner, _ = options.matryoshka_widths
    unscaled = parts.from_decoder_units(latents, params.W_dec, options)
    levels = zip(jnp.split(unscaled, inner, axis=1), jnp.split(params.W_dec, inner))
    x_hats = [params.b_dec[None]]
    for values, W_dec in levels:
        x_hats.append(x_hats[-1] + parts.matmul(values, W_dec, options))
    return x_hats[1:]
