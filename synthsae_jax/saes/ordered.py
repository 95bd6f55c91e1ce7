"""TopK latents in an order: every prefix of them has to reconstruct as well as it can."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.errors import check_choice, require
from synthsae_jax.registry import Explanation
from synthsae_jax.saes import parts
from synthsae_jax.saes.base import architecture
from synthsae_jax.saes.records import Rules, SAEParams
from synthsae_jax.saes.select import keep_top_k
from synthsae_jax.saes.topk import (
    TopKHyper,
    TopKOptions,
    check_topk,
    reconstruction_terms,
    scaled_pre_activations,
    scaled_reconstruct,
    topk,
)

Array = jax.Array
PREFIXES = ("every", "one per batch", "one per sample")
DISTRIBUTIONS = ("geometric", "uniform")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OrderedOptions(TopKOptions):
    prefixes: str = "every"  # whose errors a step computes: see `PREFIXES`
    prefix_distribution: str = "uniform"  # of the prefix's length: see `DISTRIBUTIONS`

    def __post_init__(self):
        super().__post_init__()
        check_choice("prefixes", self.prefixes, PREFIXES)
        check_choice("prefix_distribution", self.prefix_distribution, DISTRIBUTIONS)


@struct.dataclass
class OrderedHyper(TopKHyper):
    prefix_loss_weight: float = 1.0  # float32 []: of the prefixes' expected error
    prefix_rate: float = 0.01  # float32 []: geometric: chance of ending at each latent reached


def _check(options: OrderedOptions, hyper: OrderedHyper) -> None:
    check_topk(options, hyper)
    weight, rate = hyper.prefix_loss_weight, hyper.prefix_rate
    require(weight >= 0, f"prefix_loss_weight must not be negative, got {weight}.")
    require(0 < rate < 1, f"prefix_rate must lie between 0 and 1, got prefix_rate={rate}.")


@architecture(
    "ordered",
    Explanation(
        what="TopK latents trained by nested dropout: those after a random index are left out, so "
        "that the earliest latents have to carry the most, in a fixed order.",
        formula="|x_hat - x|^2 + prefix_loss_weight * E_m |sum_(j <= m) z_j d_j + b_dec - x|^2, m "
        "uniform on 1..L or geometric with prefix_rate (beyond L counts as L)",
        source="Wang et al. 2025, arXiv:2512.02194; nested dropout: Rippel et al. 2014, "
        "arXiv:1402.0915",
    ),
    options=OrderedOptions,
    hyper=OrderedHyper,
    sparsity="k per sample",
    example={"k": 2},
    check=_check,
    probe_mcc=0.92,  # its order has nothing to go by where features fire equally often
)
def ordered(options: OrderedOptions) -> Rules:
    """The rules of an ordered TopK SAE. Encoding and decoding are TopK's; the order is the loss's.

    k latents are selected first, then cut at m. With prefixes "every" the expectation over m is
    computed exactly: about L / D decoder products, and a Gram matrix of decoder rows. "one per
    batch" and "one per sample" draw m from the key, which costs one decoder product and has the
    same expectation; without a key they compute "every". Encode and decode permute with the
    latents; the terms of the loss do not.
    """

    def loss(params: SAEParams, x, dead, hyper, state, key):
        pre = scaled_pre_activations(params, x, options)
        latents = keep_top_k(pre, hyper.k)
        terms = reconstruction_terms(params, x, pre, latents, dead, hyper, options)
        if options.prefixes == "every" or key is None:
            expected = expected_prefix_error(params, latents, x, hyper.prefix_rate, options)
        else:
            shape = (1,) if options.prefixes == "one per batch" else (x.shape[0],)
            length = draw_length(key, shape, hyper.prefix_rate, options)
            in_prefix = jnp.arange(options.d_sae)[None] < length[:, None]
            prefix = scaled_reconstruct(params, jnp.where(in_prefix, latents, 0.0), options)
            expected = parts.squared_error(prefix, x)
        terms["prefix_mse_loss"] = hyper.prefix_loss_weight * expected
        return sum(terms.values()), {"latents": latents, "state": state, "terms": terms}

    return topk(options).with_loss(loss)


def draw_length(key: Array, shape: tuple[int, ...], rate: Array, options: OrderedOptions) -> Array:
    """Random prefix lengths, int32 of the given shape, 1..L."""
    if options.prefix_distribution == "uniform":
        return jax.random.randint(key, shape, 1, options.d_sae + 1)
    drawn = jax.random.geometric(key, rate, shape, dtype=jnp.int32)
    return jnp.clip(drawn, 1, options.d_sae)


def length_probabilities(rate: Array, options: OrderedOptions) -> Array:
    """Probability of each prefix length 1..L, `[L]`."""
    if options.prefix_distribution == "uniform":
        return jnp.full(options.d_sae, 1.0 / options.d_sae)
    reached = (1.0 - rate) ** jnp.arange(options.d_sae, dtype=jnp.float32)
    return jnp.append(reached[:-1] * rate, reached[-1])


def expected_prefix_error(
    params: SAEParams, latents: Array, x: Array, rate: Array, options: OrderedOptions
) -> Array:
    """`E_m |x - x_hat of the first m latents|^2` over all lengths m, averaged over samples.

    Latent m changes the squared error by `z_m^2 |d_m|^2 - 2 z_m d_m . r_(m-1)`, where the residual
    before it is `d_m . r_(m-1) = d_m . (x - b_dec) - sum_(i < m) z_i d_i . d_m`: one product with
    the rows, one with the upper triangle of their Gram matrix. Weighted by the chance of reaching
    m, the changes add up to the expectation.
    """
    z = parts.from_decoder_units(latents, params.W_dec, options)
    centred = x - params.b_dec[None]
    gram = parts.matmul(params.W_dec, params.W_dec.T, options)
    before = parts.matmul(z, jnp.triu(gram, 1), options)
    explained = parts.matmul(centred, params.W_dec.T, options) - before
    change = jnp.square(z) * jnp.diag(gram)[None] - 2 * z * explained
    # P(m' >= m): summed from the rare end, where the terms are small
    reached = jnp.cumsum(length_probabilities(rate, options)[::-1])[::-1]
    error = jnp.sum(jnp.square(centred), axis=-1) + jnp.sum(change * reached[None], axis=-1)
    return jnp.mean(error)
