"""How surprising is a number under a null? p-values, effects and families of them.

The null transforms the inputs and the statistic is everything that follows: scores, solver,
filters, measure. All of it runs again for every draw, so what it selects it selects from noise too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from scipy.stats import false_discovery_control

from synthsae_jax.errors import check_choice, require
from synthsae_jax.matching.nulls import Null, nulls
from synthsae_jax.matching.records import SideInputs
from synthsae_jax.matching.token_bins import with_token_bins
from synthsae_jax.modes import fixed

Array = jax.Array
Statistic = Callable[[Any, Any], Any]
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Significance:
    """What a null says of a statistic: numpy numbers, or arrays `[...]` as the statistic gives.

    NaN is undefined; `reasons` says why, by the name of the field.
    """

    observed: np.ndarray
    p: np.ndarray  # (1 + draws that reach the observed) / (1 + draws)
    p_family: np.ndarray  # the same, against the largest of the family in each draw
    q: np.ndarray  # p adjusted for the false discovery rate (Benjamini-Hochberg)
    null_mean: np.ndarray
    null_sd: np.ndarray
    z: np.ndarray  # (observed - null_mean) / null_sd
    effect: np.ndarray  # chance-corrected: (observed - null_mean) / (ceiling - null_mean)
    calibrated: np.ndarray  # max(0, (observed - null's 95 % quantile) / (ceiling - the same))
    null: np.ndarray  # [R, ...]: the statistic in each draw
    defined: np.ndarray  # draws in which the statistic is defined, of R
    reasons: dict[str, str]

    @property
    def resolution(self) -> np.ndarray:
        """The smallest p that so many draws can give."""
        return 1 / (1 + self.defined)


@fixed
def significance(
    statistic: Statistic,
    a: Any,
    b: Any,
    null: str | Callable[[Array, Any], Any],
    key: Array,
    draws: int = 999,
    *,
    ceiling: Any = None,
    family: str = "value",
    progress: Progress | None = None,
) -> Significance:
    """What `statistic(a, b)`, a number or an array, is worth against `statistic(a, null(b))`.

    `null` is a name in `nulls`, or a function of key and b; `pair_nulls` are for statistics of
    a matching, given as `b`. Draw r has the key `fold_in(key, r)`, so more draws begin with
    the same ones. Where a null has no more different draws than asked for (few stand-ins, a shift
    of few tokens) each is taken once. Take 999 draws for a p that is reported, 100 to screen.
    A null within bins of token activity gets the bins of both sides unless b brings its own.
    `ceiling`: what the statistic gives where all is as it should be, from a positive control.
    `family`: see `judge_draws`. `progress(done, draws)` is called after each draw. On the host.
    """
    observed = np.asarray(statistic(a, b), np.float64)
    values = null_values(statistic, a, b, null, key, draws, progress=progress)
    return judge_draws(observed, values, ceiling=ceiling, family=family)


@fixed
def null_values(
    statistic: Statistic,
    a: Any,
    b: Any,
    null: str | Callable[[Array, Any], Any],
    key: Array,
    draws: int = 999,
    *,
    progress: Progress | None = None,
) -> np.ndarray:
    """The statistic in each draw of a null, float64 `[R, ...]`; arguments as in `significance`."""
    require(draws > 1, f"a null needs more than one draw; given draws={draws}.")
    drawn = nulls[null] if isinstance(null, str) else null
    both_codes = all(isinstance(s, SideInputs) and s.latents is not None for s in (a, b))
    if getattr(drawn, "by_activity", False) and both_codes and b.token_bins is None:
        a, b = with_token_bins(a, b)
    count, sides = _draws(drawn, b, key, draws)
    values = []
    for side in sides:
        values.append(np.asarray(statistic(a, side), np.float64))
        require(
            values[-1].shape == values[0].shape,
            "a statistic must have the same shape in every draw; given "
            f"{values[0].shape} and {values[-1].shape}.",
        )
        if progress is not None:
            progress(len(values), count)
    return np.stack(values)


def judge_draws(
    observed: Any, null: Any, *, ceiling: Any = None, family: str = "value"
) -> Significance:
    """The numbers for `observed [...]` and its draws `null [R, ...]`; large values count.

    A draw in which the statistic is undefined (NaN) is left out of that entry, since the observed
    one is defined; minus infinity is a value, the lowest. Entries of the statistic are one family:
    `p_family` holds each against the largest entry of every draw, which keeps the chance of any
    false call at the level whatever the entries' dependence (Westfall and Young 1993, one step).
    family="z" takes the largest after each entry is put in units of its own mean and spread over
    the draws and the observed together, for entries whose levels differ. `q` controls the share
    of false calls (Benjamini and Hochberg 1995), for independent or positively dependent entries;
    with K entries it needs some 20 K draws to call a single one.
    """
    check_choice("family", family, ("value", "z"))
    observed, null = np.asarray(observed, np.float64), np.asarray(null, np.float64)
    require(
        null.ndim == observed.ndim + 1 and null.shape[1:] == observed.shape and len(null) > 0,
        f"judge_draws takes a null [R, ...] for an observed [...]; given {null.shape} and "
        f"{observed.shape}.",
    )
    is_defined = ~np.isnan(null)
    defined = is_defined.sum(0)
    judged = ~np.isnan(observed) & (defined > 0)
    only = lambda values: np.where(judged, values, np.nan)
    p = only((1 + (null >= observed).sum(0)) / (1 + defined))
    mean, sd, high = _moments(null)
    top = np.broadcast_to(np.nan if ceiling is None else np.asarray(ceiling, float), mean.shape)
    z = _quotient(only(observed) - mean, sd)
    effect = _quotient(only(observed) - mean, top - mean)
    calibrated = np.maximum(_quotient(only(observed) - high, top - high), 0.0)
    return Significance(
        observed=observed[()],
        p=p[()],
        # draws left out of p count as low ones here: never the smaller of the two
        p_family=np.maximum(p, _family_p(observed, null, family))[()],
        q=benjamini_hochberg(p)[()],
        null_mean=mean[()],
        null_sd=sd[()],
        z=z[()],
        effect=effect[()],
        calibrated=calibrated[()],
        null=null,
        defined=defined[()],
        reasons=_reasons(judged, observed, sd, z, effect, calibrated, ceiling, top > mean),
    )


def benjamini_hochberg(p: Any) -> np.ndarray:
    """p-values adjusted for the false discovery rate, in the shape given: calls are q <= rate.

    `q_(k) = min over l >= k of p_(l) K / l`. An undefined (NaN) p stays NaN and still counts as one
    of the K.
    """
    p = np.asarray(p, np.float64)
    if p.size == 0:
        return p
    defined = np.isfinite(p)
    adjusted = false_discovery_control(np.where(defined, p, 1.0).ravel()).reshape(p.shape)
    return np.where(defined, adjusted, np.nan)


def _draws(null: Any, b: Any, key: Array, draws: int) -> tuple[int, Iterator[Any]]:
    """How many draws there are, and the transformed inputs."""
    if isinstance(null, Null) and null.count is not None and null.nth is not None:
        count, nth = null.count(b), null.nth
        # drawn with replacement from few, none might reach what one of them reaches
        if 0 < count <= draws:
            return count, (nth(b, i) for i in range(count))
    return draws, (null(jax.random.fold_in(key, r), b) for r in range(draws))


def _moments(null: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, sd and 95 % quantile of each entry over its defined draws; NaN where one is infinite.

    The sd of a single draw is NaN.
    """
    columns = null.reshape(len(null), -1)
    moments = np.full((3, columns.shape[1]), np.nan)
    whole = np.isfinite(columns).all(0)
    if whole.any():
        moments[:, whole] = _moments_of(columns[:, whole])
    for k in np.flatnonzero(~whole):
        values = columns[~np.isnan(columns[:, k]), k]
        if values.size and np.isfinite(values).all():
            moments[:, k] = _moments_of(values)
    mean, sd, high = (v.reshape(null.shape[1:]) for v in moments)
    return mean, sd, high


def _moments_of(values: np.ndarray) -> np.ndarray:
    mean, high = values.mean(0), np.quantile(values, 0.95, axis=0)
    sd = values.std(0, ddof=1) if len(values) > 1 else np.full_like(mean, np.nan)
    return np.stack([mean, sd, high])


def _family_p(observed: np.ndarray, null: np.ndarray, family: str) -> np.ndarray:
    values = np.concatenate([observed[None], null]).reshape(len(null) + 1, -1)
    if family == "z":
        # Units from the draws and the observed together: under the null these are exchangeable, and
        # must be treated alike for p to be valid.
        finite = np.where(np.isfinite(values), values, np.nan)
        count = np.isfinite(finite).sum(0)
        mean = np.nansum(finite, 0) / np.maximum(count, 1)
        spread = np.sqrt(np.nansum((finite - mean) ** 2, 0) / np.maximum(count, 1))
        # an entry that never varies says nothing; -inf stays the lowest
        values = np.where(np.isinf(values), values, _quotient(finite - mean, spread, 0.0))
    # Undefined entries do not take part in the largest of a draw, whose number of draws stays R.
    values = np.where(np.isnan(values), -np.inf, values)
    largest = values[1:].max(1, initial=-np.inf)
    p = (1 + (largest[:, None] >= values[0]).sum(0)) / (1 + len(null))
    return p.reshape(observed.shape)


def _quotient(x: np.ndarray, y: np.ndarray, otherwise: float = np.nan) -> np.ndarray:
    """x / y where y is positive and both are finite."""
    fine = np.isfinite(x) & np.isfinite(y) & (np.nan_to_num(y) > 0)
    return np.where(fine, np.where(fine, x, 0.0) / np.where(fine, y, 1.0), otherwise)


def _reasons(judged, observed, sd, z, effect, calibrated, ceiling, below_ceiling) -> dict[str, str]:
    """Why which field is NaN, in one line each; for arrays with the number of entries."""
    reasons: dict[str, str] = {}

    def add(field: str, where: np.ndarray, why: str) -> None:
        if where.any() and field not in reasons:
            share = "" if where.ndim == 0 else f"{int(where.sum())} of {where.size} entries: "
            reasons[field] = share + why

    add("p", np.isnan(observed), "the statistic is undefined for what was observed")
    add("p", ~judged, "the statistic is undefined in every draw of the null")
    add("z", judged & (sd == 0), "the null does not vary")
    add("z", judged & np.isnan(z), "the null has one draw, or one that is infinite")
    if ceiling is None:
        add("effect", judged, "no ceiling is given")
        return reasons
    add("effect", judged & ~below_ceiling, "the ceiling is not above the null's mean")
    add("effect", judged & np.isnan(effect), "the statistic is infinite")
    short = judged & np.isnan(calibrated) & ~np.isnan(effect)
    add("calibrated", short, "the ceiling is not above the null's 95 % quantile")
    return reasons
