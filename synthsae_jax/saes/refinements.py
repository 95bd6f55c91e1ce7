"""Other encoders for a trained SAE's inference: pruned latents, and orthogonal matching pursuit."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from synthsae_jax.errors import is_number, require
from synthsae_jax.numerics import contraction, product, row_norms, safe_ratio
from synthsae_jax.saes.base import SAE
from synthsae_jax.saes.records import Options, Rules, SAEParams

Array = jax.Array
_SWEEPS = 50  # of coordinate descent: an error shrinks by cos^2 of the closest pair in each
_DEPENDENT = 1e-4  # a row this close to the span of those chosen, relative to its length, is in it


def leave_one_out(sae: SAE, tau: float = 0.0) -> SAE:
    """The same SAE with latents pruned whose absence would leave too little behind.

    Latent j with activation a_j and decoder row d_j is kept where `r . d_j + a_j |d_j|^2 > tau`,
    r = x - x_hat: what d_j would find in the residual were the latent left out (for a negative
    activation, its negative). All latents are judged at once and those kept keep their values.
    tau 0 drops latents whose row points away from what the others leave.

    Params, hyper and training are the base's. Equal to another of an equal SAE with the same tau.
    Source: Bussmann's follow-up to SynthSAEBench's LISTA-Matryoshka (F1 .977 -> .989).
    """
    require(is_number(tau), f"tau must be a finite number, got tau={tau!r}.")
    return _refined(sae, "leave_one_out", _LeaveOneOut(sae.factory, float(tau)))


def orthogonal_matching_pursuit(sae: SAE, k: int, *, signed: bool = False) -> SAE:
    """The same SAE with latents found by orthogonal matching pursuit on its decoder.

    k times the row that correlates most with the residual joins the support (largest `r . d /
    |d|`; its absolute value where `signed`), and the residual is taken from the least squares fit
    on the support. Signed latents are that fit. Otherwise latents are the non-negative least
    squares fit on the same support, by 50 sweeps of coordinate descent, exact to about 1e-5
    where no two rows of a support have a cosine above .9. Fewer than k latents are active where
    no row correlates (positively, unless `signed`), where a row lies in the span of the support,
    or where the fit is 0.

    `encode` costs about k encoder products, in float32 throughout. Params, hyper and training are
    the base's. Equal to another of an equal SAE with the same k and sign. Source: Pati et al. 1993.
    """
    most = min(sae.d_in, sae.d_sae)
    require(
        isinstance(k, numbers.Integral) and not isinstance(k, bool) and 1 <= k <= most,
        f"k must be a whole number, 1 <= k <= min(d_in, d_sae) = {most}, got k={k!r}.",
    )
    pursuit = _OrthogonalPursuit(sae.factory, int(k), bool(signed))
    return _refined(sae, "orthogonal_matching_pursuit", pursuit)


@dataclasses.dataclass(frozen=True)
class _LeaveOneOut:
    base: Callable[[Any], Rules]
    tau: float

    def __call__(self, options: Options) -> Rules:
        rules = self.base(options)

        def encode(params, x, hyper):
            latents = rules.encode(params, x, hyper)
            rows, _ = _affine_decoder(self.base, options, params)
            residual = x - rules.decode(params, latents)
            projections = product(residual, rows.T) + latents * jnp.square(row_norms(rows))[None]
            return jnp.where(jnp.sign(latents) * projections > self.tau, latents, 0.0)

        return rules._replace(encode=encode)


@dataclasses.dataclass(frozen=True)
class _OrthogonalPursuit:
    base: Callable[[Any], Rules]
    k: int
    signed: bool

    def __call__(self, options: Options) -> Rules:
        rules = self.base(options)

        def encode(params, x, hyper):
            rows, bias = _affine_decoder(self.base, options, params)
            return pursue(x - bias[None], rows, self.k, self.signed)

        return rules._replace(encode=encode)


def _refined(sae: SAE, name: str, factory: Callable[[Any], Rules]) -> SAE:
    require(
        not getattr(sae.options, "host", False),
        "Functions wrapped with host=True have no decoder that can be read off; give their "
        "weights to a registered architecture, or wrap functions written in JAX.",
    )
    return dataclasses.replace(sae, name=f"{sae.name}+{name}", factory=factory)


def _affine_decoder(
    base: Callable[[Any], Rules], options: Options, params: SAEParams
) -> tuple[Array, Array]:
    """What a unit of each latent adds `[L, D]`, and what no latent decodes to `[D]`.

    Read off `decode` itself, which is affine, so that decoder norms count exactly as it has them.
    """
    rules = base(dataclasses.replace(options, dtype="float32"))
    nothing = jnp.zeros((1, options.d_sae), jnp.float32)
    bias, pull_back = jax.vjp(lambda latents: rules.decode(params, latents), nothing)
    (columns,) = jax.vmap(pull_back)(jnp.eye(options.d_in)[:, None])
    return columns[:, 0].T, bias[0]


def pursue(x: Array, rows: Array, k: int, signed: bool) -> Array:
    """Orthogonal matching pursuit of `x` `[n, D]` over `rows` `[L, D]`: codes `[n, L]`."""
    n, d_in = x.shape
    units = rows * safe_ratio(jnp.ones(()), row_norms(rows))[:, None]

    def choose(step, carry):
        residual, basis, support, used = carry
        projections = product(residual, units.T)
        projections = jnp.where(used, -jnp.inf, jnp.abs(projections) if signed else projections)
        best = jnp.argmax(projections, axis=-1)
        new = units[best]
        # twice is enough for Gram-Schmidt to be orthogonal to working precision
        for _ in range(2):
            inside = contraction("nkd,nd->nk", basis, new)
            new = new - contraction("nk,nkd->nd", inside, basis)
        length = row_norms(new)
        joins = (jnp.take_along_axis(projections, best[:, None], axis=1)[:, 0] > 0) & (
            length > _DEPENDENT
        )
        new = jnp.where(joins[:, None], new / jnp.where(joins, length, 1.0)[:, None], 0.0)
        residual = residual - jnp.sum(residual * new, axis=-1)[:, None] * new
        basis = lax.dynamic_update_index_in_dim(basis, new, step, axis=1)
        support = lax.dynamic_update_index_in_dim(support, jnp.where(joins, best, -1), step, axis=1)
        return residual, basis, support, used | jax.nn.one_hot(best, len(rows), dtype=bool)

    start = (
        x,
        jnp.zeros((n, k, d_in), jnp.float32),
        jnp.zeros((n, k), jnp.int32),
        jnp.zeros((n, len(rows)), bool),
    )
    _, basis, support, _ = lax.fori_loop(0, k, choose, start)
    atoms = jnp.where((support >= 0)[..., None], units[jnp.maximum(support, 0)], 0.0)
    fit = _least_squares(atoms, basis, x)
    fit = fit if signed else _non_negative(atoms, x, fit)
    values = jnp.zeros((n, len(rows)), jnp.float32)
    values = values.at[jnp.arange(n)[:, None], jnp.maximum(support, 0)].add(fit)
    return values * safe_ratio(jnp.ones(()), row_norms(rows))[None]


def _least_squares(atoms: Array, basis: Array, x: Array) -> Array:
    """Coefficients `[n, k]` of the fit of x by `atoms` `[n, k, D]` with orthonormal `basis`.

    atoms = R^T basis with R upper triangular (the Cholesky factor of their Gram matrix, without
    its squared condition number); an atom that is 0 gets 0.
    """
    R = contraction("nid,njd->nij", basis, atoms)
    empty = jnp.all(basis == 0, axis=-1)
    R = jnp.where(jnp.eye(R.shape[-1], dtype=bool)[None] & empty[..., None], 1.0, jnp.triu(R))
    target = contraction("nkd,nd->nk", basis, x)
    return jax.scipy.linalg.solve_triangular(R, target[..., None])[..., 0]


def _non_negative(atoms: Array, x: Array, fit: Array) -> Array:
    """The non-negative fit of x by unit `atoms`, by coordinate descent from the positive part."""
    gram = contraction("nid,njd->nij", atoms, atoms)
    target = contraction("nkd,nd->nk", atoms, x)
    k = fit.shape[-1]

    def one(i, fit):
        # the atom's own part is taken out: its length is 1, or 0 with target 0
        column = lax.dynamic_index_in_dim(gram, i, axis=2, keepdims=False)
        row = lax.dynamic_index_in_dim(fit, i, axis=1, keepdims=False)
        goal = lax.dynamic_index_in_dim(target, i, axis=1, keepdims=False)
        new = jax.nn.relu(goal - jnp.sum(column * fit, axis=-1) + row)
        new = jnp.where(lax.dynamic_index_in_dim(column, i, axis=1, keepdims=False) > 0, new, 0.0)
        return lax.dynamic_update_index_in_dim(fit, new, i, axis=1)

    def sweep(_, fit):
        return lax.fori_loop(0, k, one, fit)

    return lax.fori_loop(0, _SWEEPS, sweep, jax.nn.relu(fit))
