"""What a measure of similarity is, the registry of them, and how one is called."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from synthsae_jax.errors import require
from synthsae_jax.options import check_options
from synthsae_jax.registry import Explanation, Registry

Array = jax.Array

# What may be done to one side without changing the value. Every measure also stays the same when
# both sides' rows are permuted together.
INVARIANCES = {
    "translation": "one vector added to all rows",
    "scale": "all entries times one positive number",
    "row_scale": "each row times a positive number of its own",
    "permutation": "columns in another order",
    "orthogonal": "an orthogonal map of the columns (so a permutation and a sign too)",
}


@dataclasses.dataclass(frozen=True)
class Measure:
    """A registered measure of two point sets; the tests are made from what it declares."""

    compute: Callable[..., Array]  # (X [n, p], Y [n, q], *, options) -> []
    invariant_to: frozenset[str]  # words of INVARIANCES
    range: tuple[float, float]
    symmetric: bool = True


measures: Registry[Measure] = Registry("similarity measure")


def register_measure(
    name: str,
    explanation: Explanation,
    *,
    invariant_to: set[str],
    range: tuple[float, float],
    symmetric: bool = True,
) -> Callable[[Callable[..., Array]], Callable[..., Array]]:
    """Decorator: register `compute(X, Y, *, options) -> []` under a name."""
    unknown = invariant_to - INVARIANCES.keys()
    if unknown:
        raise ValueError(f"Measure {name!r} declares {sorted(unknown)}, not in INVARIANCES.")

    def add(compute: Callable[..., Array]) -> Callable[..., Array]:
        entry = Measure(compute, frozenset(invariant_to), range, symmetric)
        measures.register(name, explanation)(entry)
        return compute

    return add


def measure(name: str, X: Array, Y: Array, **options) -> Array:
    """Similarity of two point sets over the same n points, float32 `[]`.

    `X [n, p]` and `Y [n, q]`: row i of both is the same point (a token, a matched pair of
    latents). 1 for equal sets; NaN where the measure is undefined (its explanation says when), for
    empty sets and for entries that are not finite. Options are the measure's own, by keyword.
    """
    entry = measures[name]
    X, Y = (jnp.asarray(v, jnp.float32) for v in (X, Y))
    require(
        X.ndim == 2 and Y.ndim == 2 and X.shape[0] == Y.shape[0],
        f"measure {name!r} takes X [n, p] and Y [n, q] over the same n points; given shapes "
        f"{X.shape} and {Y.shape}.",
    )
    check_options(f"measure {name!r}", entry.compute, options)
    if 0 in X.shape or 0 in Y.shape:
        return jnp.float32(jnp.nan)
    finite = jnp.all(jnp.isfinite(X)) & jnp.all(jnp.isfinite(Y))
    return jnp.where(finite, entry.compute(X, Y, **options), jnp.nan)
