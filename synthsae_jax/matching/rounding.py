"""Transport plans made into pairs: solvers by way of `transport`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.matching.solvers import Candidates, mutual_nearest, solvers
from synthsae_jax.matching.transport import partial_transport, sinkhorn, soft_matching
from synthsae_jax.registry import Explanation

Array = jax.Array


@solvers.register(
    "sinkhorn",
    Explanation(
        what="Pairs that give each other most of their mass in the entropic transport plan. The "
        "many-to-one column argmax of the plan is not offered.",
        formula="mutual nearest of P, P = argmax sum P s + epsilon sd(s) H(P) with marginals "
        "weight_a, weight_b",
        chance="As assignment where epsilon is small; as mutual_nearest where it is large.",
        undefined="a latent with no allowed partner is not matched",
        source="Cuturi, arXiv 1306.0895",
    ),
)
def by_sinkhorn(
    s: Array,
    *,
    weight_a: Array | None = None,
    weight_b: Array | None = None,
    epsilon: float = 0.05,
    iterations: int = 200,
) -> Candidates:
    """M = min(L_a, L_b) candidates."""
    plan = sinkhorn(s, weight_a, weight_b, epsilon=epsilon, iterations=iterations)
    return _mutual(plan.mass)


@solvers.register(
    "partial_transport",
    Explanation(
        what="As sinkhorn, where mass may stay: pairs that give each other most of their mass and "
        "more than stays with either. `partial_transport(...).matched` estimates the shared part.",
        formula="mutual nearest of P, P = argmax sum P (s - unmatched) + epsilon sd(s) H(P) with "
        "marginals as upper bounds",
        chance="as assignment_dustbin",
        undefined="a latent with no allowed partner is not matched",
        source="Chapel et al., arXiv 2002.08276; Sarlin et al., arXiv 1911.11763",
    ),
)
def by_partial_transport(
    s: Array,
    *,
    weight_a: Array | None = None,
    weight_b: Array | None = None,
    unmatched: float = 0.0,
    mass: float | None = None,
    epsilon: float = 0.05,
    iterations: int = 200,
) -> Candidates:
    """M = min(L_a, L_b) candidates."""
    options = {"unmatched": unmatched, "mass": mass}
    options |= {"epsilon": epsilon, "iterations": iterations}
    plan = partial_transport(s, weight_a, weight_b, **options)
    row, col, mutual = _mutual(plan.mass)
    allowed = jnp.isfinite(s)
    # What a latent keeps for itself goes to the bin that `partial_transport` cuts off: its marginal
    # less its row.
    stays_a = _shares(weight_a, allowed.any(1)) - plan.mass.sum(1)
    stays_b = _shares(weight_b, allowed.any(0)) - plan.mass.sum(0)
    pair_mass = plan.mass[row, col]
    return row, col, mutual & (pair_mass > stays_a[row]) & (pair_mass > stays_b[col])


@solvers.register(
    "soft_matching",
    Explanation(
        what="Pairs that give each other most of their mass in the exact transport plan with equal "
        "weights, on the host.",
        formula="mutual nearest of P, P = argmax sum P s, rows sum to 1/L_a, columns to 1/L_b",
        chance="As assignment; where L_a and L_b differ, masses are split and fewer are paired.",
        undefined="a latent with no allowed partner is not matched",
        source="Khosla and Williams, arXiv 2311.09466",
    ),
)
def by_soft_matching(s: np.ndarray) -> Candidates:
    """M = min(L_a, L_b) candidates, as numpy arrays."""
    row, col, mutual = _mutual(jnp.asarray(soft_matching(s).mass))
    return np.asarray(row), np.asarray(col), np.asarray(mutual)


def _mutual(mass: Array) -> Candidates:
    # Pairs without mass are ties at 0, which mutual nearest would give to the lowest index.
    return mutual_nearest(jnp.where(mass > 0, mass, -jnp.inf))


def _shares(weight: Array | None, some: Array) -> Array:
    weight = jnp.where(some, 1.0 if weight is None else jnp.asarray(weight), 0.0)
    return weight / jnp.maximum(weight.sum(), 1e-30)
