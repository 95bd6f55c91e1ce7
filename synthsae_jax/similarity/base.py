"""What a measure of similarity is, the registry of them, and how one is called."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterable, Mapping

import jax
import jax.numpy as jnp

from synthsae_jax.errors import require
from synthsae_jax.numerics import narrow
from synthsae_jax.options import check_options
from synthsae_jax.registry import Explanation, Registry
from synthsae_jax.similarity.points import NAN

Array = jax.Array
Reasons = Mapping[str, bool | Array]  # why a value is undefined -> whether that is so here

# What may be done to one side without changing the value. Every measure also stays the same when
# both sides' rows are permuted together.
INVARIANCES = {
    "translation": "one vector added to all rows",
    "scale": "all entries times one positive number",
    "row_scale": "each row times a positive number of its own",
    "column_scale": "each column times a positive number of its own",
    "row_shift": "to all entries of a row one number of its own added",
    "permutation": "columns in another order",
    "orthogonal": "an orthogonal map of the columns (so a permutation and a sign too)",
    "invertible": "an invertible linear map of the columns",
    "pairing": "rows of one side in another order: the points need no partners",
}
# What else holds where one of these does; a declaration need not repeat it.
IMPLIED = {
    "row_scale": {"scale"},
    "column_scale": {"scale"},
    "orthogonal": {"permutation"},
    "invertible": {"scale", "column_scale", "permutation", "orthogonal"},
}


@dataclasses.dataclass(frozen=True)
class Measure:
    """A registered measure of two point sets; the tests are made from what it declares."""

    compute: Callable[..., Array | tuple[Array, Reasons]]  # (X [n, p], Y [n, q], *, options)
    invariant_x: frozenset[str]  # words of INVARIANCES: what may be done to X
    invariant_y: frozenset[str]  # and to Y
    range: tuple[float, float]
    cost: str  # operations, in n points and p (or q) columns
    symmetric: bool = True
    least_points: int = 2  # below, the measure is undefined
    same_space: bool = False  # do both sides need the same columns?
    chance: Callable[..., float] | None = None  # (n, p, q, *, options): see similarity.chance

    @property
    def invariant_to(self) -> frozenset[str]:
        """What may be done to either side."""
        return self.invariant_x & self.invariant_y


measures: Registry[Measure] = Registry("similarity measure")


def register_measure(
    name: str,
    explanation: Explanation,
    *,
    invariant_to: Iterable[str],
    range: tuple[float, float],
    cost: str = "",
    also_x: Iterable[str] = (),
    also_y: Iterable[str] = (),
    symmetric: bool = True,
    least_points: int = 2,
    same_space: bool = False,
    chance: Callable[..., float] | None = None,
) -> Callable[[Callable[..., Array | tuple[Array, Reasons]]], Callable]:
    """Decorator: register `compute(X, Y, *, options)` under a name.

    `compute` returns the value `[]`, or the value and a dict {reason: whether it is undefined for
    that reason}. It sees finite entries only, and on both sides at least `least_points` points
    that are not all equal. `also_x` and `also_y` are invariances of one side alone.
    """
    words = {"x": {*invariant_to, *also_x}, "y": {*invariant_to, *also_y}}
    unknown = (words["x"] | words["y"]) - INVARIANCES.keys()
    if unknown:
        raise ValueError(f"Measure {name!r} declares {sorted(unknown)}, not in INVARIANCES.")
    closed = {
        side: frozenset(words_of_side.union(*(IMPLIED.get(word, set()) for word in words_of_side)))
        for side, words_of_side in words.items()
    }

    def add(compute: Callable) -> Callable:
        entry = Measure(
            compute=compute,
            invariant_x=closed["x"],
            invariant_y=closed["y"],
            range=range,
            cost=cost,
            symmetric=symmetric,
            least_points=least_points,
            same_space=same_space,
            chance=chance,
        )
        measures.register(name, explanation)(entry)
        return compute

    return add


def measure(name: str, X: Array, Y: Array, **options) -> Array:
    """Similarity of two point sets over the same n points, float32 `[]`.

    `X [n, p]` and `Y [n, q]`: row i of both is the same point (a token, a matched pair of
    latents). 1 for equal sets; NaN where the measure is undefined (its explanation says when, and
    `measure_with_reason` why in this case), for empty sets, for entries that are not finite and
    where all points of one side are equal. Options are the measure's own, by keyword.
    """
    return evaluate(name, X, Y, **options)[0]


def measure_with_reason(name: str, X: Array, Y: Array, **options) -> tuple[float, str]:
    """The value of `measure` and, where that is NaN, one line that says why (else ""). On the host.

    >>> measure_with_reason("cka_debiased", X[:3], Y[:3])
    (nan, "needs at least 4 points, given 3")
    """
    value, reasons = evaluate(name, X, Y, **options)
    value = float(value)
    if value == value:  # not NaN
        return value, ""
    applying = (reason for reason, applies in reasons.items() if bool(applies))
    explanation = measures.explanation(name)
    return value, next(applying, explanation.undefined if explanation else "") or "undefined"


def evaluate(name: str, X: Array, Y: Array, **options) -> tuple[Array, Reasons]:
    """The value, and for each reason the measure may be undefined for whether it holds here.

    Traceable: what `measure` and `measure_with_reason` are made of, for use under jit and vmap.
    """
    entry = measures[name]
    shapes = jnp.shape(X), jnp.shape(Y)
    require(
        len(shapes[0]) == len(shapes[1]) == 2 and shapes[0][0] == shapes[1][0],
        f"measure {name!r} takes X [n, p] and Y [n, q] over the same n points; given shapes "
        f"{shapes[0]} and {shapes[1]}.",
    )
    X, Y = narrow_points(name, X, Y)
    require(
        not entry.same_space or X.shape[1] == Y.shape[1],
        f"measure {name!r} takes X and Y in one space; given {X.shape} and {Y.shape}. Align models "
        "of unlike width first.",
    )
    check_options(f"measure {name!r}", entry.compute, options)
    if 0 in X.shape or 0 in Y.shape:
        return NAN, {"an empty set": True}
    if X.shape[0] < entry.least_points:
        return NAN, {f"needs at least {entry.least_points} points, given {X.shape[0]}": True}
    reasons: Reasons = {
        "an entry is not finite": ~(jnp.all(jnp.isfinite(X)) & jnp.all(jnp.isfinite(Y))),
        "all points of one side are equal": _all_equal(X) | _all_equal(Y),
    }
    # a NaN would keep some solvers from ending
    X, Y = (jnp.where(jnp.isfinite(v), v, 0.0) for v in (X, Y))
    computed = entry.compute(X, Y, **options)
    value, measure_reasons = computed if isinstance(computed, tuple) else (computed, {})
    reasons = {**reasons, **measure_reasons}
    return jnp.where(functools.reduce(operator.or_, reasons.values()), NAN, value), reasons


def narrow_points(name: str, X: Array, Y: Array) -> tuple[Array, Array]:
    """Both sides as float32; what is wider is first centred and scaled where the measure may be.

    For what hands points to a compiled `evaluate`, which sees float32 alone.
    """
    entry = measures[name]
    return _narrow(X, entry.invariant_x), _narrow(Y, entry.invariant_y)


def _narrow(X: Array, free_of: frozenset[str]) -> Array:
    centre = {"translation": 0, "row_shift": 1}
    # an invertible map's scales are free for some options alone (ridge); one number always is
    columns = {} if "invertible" in free_of else {"column_scale": (0,)}
    scale = {"row_scale": (1,), **columns, "scale": (0, 1)}
    first = lambda choices: next((v for word, v in choices.items() if word in free_of), None)
    return narrow(X, centre=first(centre), scale=first(scale))


def _all_equal(X: Array) -> Array:
    return jnp.all(jnp.max(X, axis=0) == jnp.min(X, axis=0))
