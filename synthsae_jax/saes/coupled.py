"""SAEs of several models at once: input and decoder rows lie side by side, model by model."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from synthsae_jax.errors import ConfigError, require
from synthsae_jax.numerics import row_norms
from synthsae_jax.saes.base import SAE
from synthsae_jax.saes.builder import build, option_defaults
from synthsae_jax.saes.records import Options, SAEParams
from synthsae_jax.saes.topk import TopKOptions

Array = jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelsOptions(Options):
    """Options of an SAE whose latents are common to all models; `d_in` counts all of them."""

    n_models: int = 2


def check_parts(what: str, total: int, name: str, count: int, least: int = 1) -> None:
    """Raise unless `total` (d_in or d_sae, as `what` says) falls into `count` equal parts."""
    require(count >= least, f"{name} must be at least {least}, got {name}={count}.")
    require(
        total % count == 0,
        f"{what} must be a multiple of {name}, got {what}={total}, {name}={count}.",
    )


def topk_options(options: Options, **choices) -> TopKOptions:
    """The choices that every SAE has, as those of a k-sparse one; `choices` go before them."""
    common = {f.name: getattr(options, f.name) for f in dataclasses.fields(Options)}
    return TopKOptions(**{**common, **choices})


def block_norms(W_dec: Array, n_models: int) -> Array:
    """Norm of each decoder row in each model, `[..., L, n_models D] -> [..., L, n_models]`."""
    return row_norms(W_dec.reshape(*W_dec.shape[:-1], n_models, -1))


def fold_block_norms(params: SAEParams, n_models: int) -> SAEParams:
    """The same SAE with decoder rows whose norms in the models sum to 1.

    Latents come out multiplied by the old sum, which below 1e-8 counts as 1e-8.
    """
    sums = jnp.maximum(jnp.sum(block_norms(params.W_dec, n_models), axis=-1), 1e-8)
    return params.replace(
        W_enc=params.W_enc * sums[None],
        b_enc=params.b_enc * sums,
        W_dec=params.W_dec / sums[:, None],
    )


def relative_norms(params: SAEParams, n_models: int) -> Array:
    """Each model's share in a latent's decoder norms, `|w_m| / sum_m' |w_m'|`, `[L, n_models]`.

    About 1 / n_models where a latent is shared, near 1 or 0 where it belongs to one model (Lindsey
    et al. 2024, Sparse Crosscoders). NaN for a latent whose decoder row is zero. Leading axes
    (runs) stay.
    """
    _check_decoder(params, n_models)
    norms = block_norms(params.W_dec, n_models)
    sums = jnp.sum(norms, axis=-1, keepdims=True)
    return jnp.where(sums > 0, norms / jnp.where(sums > 0, sums, 1.0), jnp.nan)


def decoder_block(params: SAEParams, n_models: int, m: int) -> Array:
    """The decoder rows of model `m` (from 0), `[L, D]`; leading axes (runs) stay."""
    _check_decoder(params, n_models)
    _check_index(m, n_models)
    return _part(params.W_dec, -1, n_models, m)


def member(sae: SAE, params: SAEParams, m: int) -> tuple[SAE, SAEParams]:
    """Member `m` (from 0) of a "mutual" or "universal" SAE by itself: a "batchtopk", its weights.

    It reads and reconstructs its own model's activations `[n, D]`, so it is evaluated on that
    model's instance and matched like any other SAE. `params` are finalized weights; leading axes
    (runs) stay. Of a universal SAE all members have the same latents; a crosscoder has no members,
    since its encoder needs all models.
    """
    count, own_latents = _members(sae)
    _check_index(m, count)
    require(
        own_latents or params.threshold is not None,
        "member takes finalized weights of a universal SAE, since raw ones are measured over all "
        "models: sae.finalize(params, state).",
    )
    member_options = {n: v for n, v in sae.config().items() if n in option_defaults("batchtopk")}
    parts = count if own_latents else 1  # of the latents
    member_options |= {
        "d_in": sae.d_in // count,
        "d_sae": sae.d_sae // parts,
        "k": member_options["k"] / parts,
    }

    def block(latents: Array | None, axis: int = -1) -> Array | None:
        return None if latents is None else _part(latents, axis, parts, m if own_latents else 0)

    weights = SAEParams(
        W_enc=block(_part(params.W_enc, -2, count, m)),
        b_enc=block(params.b_enc),
        W_dec=block(_part(params.W_dec, -1, count, m), -2),
        b_dec=_part(params.b_dec, -1, count, m),
        threshold=block(params.threshold),
    )
    return build("batchtopk", **member_options), weights


def _members(sae: SAE) -> tuple[int, bool]:
    """How many members there are, and whether each has latents of its own."""
    if sae.name == "mutual":
        return sae.options.n_members, True
    if sae.name == "universal":
        return sae.options.n_models, False
    raise ConfigError(f"member takes a 'mutual' or 'universal' SAE, got {sae.name!r}.")


def _part(weights: Array, axis: int, count: int, m: int) -> Array:
    size = weights.shape[axis] // count
    return jax.lax.slice_in_dim(weights, m * size, (m + 1) * size, axis=axis % weights.ndim)


def _check_decoder(params: SAEParams, n_models: int) -> None:
    check_parts("the decoder's width", params.W_dec.shape[-1], "n_models", n_models)


def _check_index(m: int, count: int) -> None:
    require(0 <= m < count, f"There are {count} models, counted from 0; got m={m}.")
