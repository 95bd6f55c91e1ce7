"""BatchTopK whose encoder and decoder directions have inner product 1, latent by latent."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.errors import require
from synthsae_jax.numerics import contraction, product, safe_ratio, unit_rows
from synthsae_jax.registry import Explanation
from synthsae_jax.saes.base import architecture
from synthsae_jax.saes.batchtopk import BatchTopKHyper, batch_rules, check_batch_topk
from synthsae_jax.saes.records import Rules, SAEParams
from synthsae_jax.saes.topk import TopKOptions, reconstruction_terms

Array = jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlignedOptions(TopKOptions):
    exact: bool = True  # inner products are 1 by construction; False: a penalty pulls them there


@struct.dataclass
class AlignedHyper(BatchTopKHyper):
    alignment_coefficient: float = 1.0  # float32 []: of the penalty; nothing to do where exact
    orthogonality_coefficient: float = 0.0  # float32 []: of the decoder rows' squared cosines


def _check(options: AlignedOptions, hyper: AlignedHyper) -> None:
    check_batch_topk(options, hyper)
    for name in ("alignment_coefficient", "orthogonality_coefficient"):
        value = getattr(hyper, name)
        require(value >= 0, f"{name} must not be negative, got {name}={value}.")


@architecture(
    "aligned",
    Explanation(
        what="BatchTopK in which a latent's encoder and decoder directions have inner product 1, "
        "so that each latent, alone, is read back as strongly as it was written.",
        formula="exact: e_j <- e_j + (1 - e_j . d_j) d_j / |d_j|^2; else + alignment_coefficient * "
        "mean_j (e_j . d_j - 1)^2; both + orthogonality_coefficient * mean_(i != j) cos(d_i, "
        "d_j)^2",
        source="Brzozowski & Chung 2026, arXiv:2605.18629; orthogonality: Korznikov et al. 2025, "
        "arXiv:2509.22033",
    ),
    options=AlignedOptions,
    hyper=AlignedHyper,
    sparsity="k per batch",
    example={"k": 1.5, "orthogonality_coefficient": 0.1},
    check=_check,
)
def aligned(options: AlignedOptions) -> Rules:
    """The rules of a BatchTopK SAE with aligned directions.

    Where `exact`, `W_enc` enters every computation as the nearest encoder with inner products 1
    (the paper fixes the constraint; this projection is our choice of how), and `project` and
    `finalize` write that encoder down. Folding decoder norms keeps the inner products.
    """

    def terms(params, x, pre, latents, dead, hyper, options):
        reconstruction = reconstruction_terms(params, x, pre, latents, dead, hyper, options)
        if not options.exact:
            error = jnp.mean(jnp.square(inner_products(params) - 1.0))
            reconstruction["alignment_loss"] = hyper.alignment_coefficient * error
        cosines = mean_squared_cosine(params.W_dec)
        return reconstruction | {"orthogonality_loss": hyper.orthogonality_coefficient * cosines}

    rules = batch_rules(options, terms)

    def seen(params: SAEParams) -> SAEParams:
        # weights with a threshold are finalized: as they are
        return align(params) if options.exact and params.threshold is None else params

    return rules.with_loss(
        lambda params, *rest: rules.loss(seen(params), *rest),
        encode=lambda params, *rest: rules.encode(seen(params), *rest),
        train_encode=lambda params, *rest: rules.train_encode(seen(params), *rest),
        finalize=lambda params, *rest: rules.finalize(seen(params), *rest),
        project=seen,
    )


def inner_products(params: SAEParams) -> Array:
    """Of each latent's encoder and decoder directions, `[L]`: the paper's alignment score."""
    return contraction("dl,ld->l", params.W_enc, params.W_dec)


def align(params: SAEParams) -> SAEParams:
    """The weights with the nearest encoder whose inner products are 1; a zero row has none."""
    squares = jnp.sum(jnp.square(params.W_dec), axis=-1)
    step = safe_ratio(1.0 - inner_products(params), squares)
    return params.replace(W_enc=params.W_enc + (params.W_dec * step[:, None]).T)


def mean_squared_cosine(W_dec: Array) -> Array:
    """Mean squared cosine of two different rows: a scalar, 0 for a single row.

    The squares of all L^2 cosines sum to those of the D x D matrix `U^T U` of unit rows U.
    """
    units = unit_rows(W_dec)
    count = len(units)
    self_products = jnp.sum(jnp.square(jnp.sum(jnp.square(units), axis=-1)))
    total = jnp.sum(jnp.square(product(units.T, units))) - self_products
    return total / max(count * (count - 1), 1)
