"""What a measure is worth for unrelated points: in closed form, or by shuffling partners."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp

from synthsae_jax.errors import require
from synthsae_jax.modes import fixed
from synthsae_jax.options import check_options
from synthsae_jax.similarity.base import measure, measures

Array = jax.Array


def chance(name: str, n: int, p: int, q: int, **options) -> float:
    """Expected value for unrelated isotropic Gaussian points `[n, p]` and `[n, q]`.

    NaN where no closed form is known: use `shuffled`, which holds for any points. Options are the
    measure's own; those that its closed form knows nothing of have none.
    """
    entry = measures[name]
    check_options(f"measure {name!r}", entry.compute, options)
    require(min(n, p, q) >= 1, f"chance needs points and columns; given n={n}, p={p}, q={q}.")
    if entry.chance is None or n < entry.least_points:
        return float("nan")
    # A closed form holds for the options it names: of others (a bandwidth, a ridge) it knows no
    # level.
    if not options.keys() <= inspect.signature(entry.chance).parameters.keys():
        return float("nan")
    return float(entry.chance(n, p, q, **options))


@fixed
def shuffled(name: str, X: Array, Y: Array, key: Array, draws: int = 20, **options) -> Array:
    """The measure with Y's rows in random order, `[draws]`: its null for these very points.

    The mean is the chance level; p = (1 + #{null >= observed}) / (1 + draws). It takes the points
    as they are: where they were selected for being alike, repeat the selection instead.
    """
    require(draws >= 1, f"shuffled needs draws >= 1; given {draws}.")
    require(
        "pairing" not in measures[name].invariant_to,
        f"measure {name!r} does not look at which points are partners, so shuffling them tells "
        "nothing; see similarity.chance.",
    )
    Y = jnp.asarray(Y)
    orders = (jax.random.permutation(k, Y.shape[0]) for k in jax.random.split(key, draws))
    return jnp.stack([measure(name, X, Y[order], **options) for order in orders])
