"""What several protocols read off a matching."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from synthsae_jax import matching, similarity
from synthsae_jax.numerics import unit_rows
from synthsae_jax.protocols.base import NAN, Numbers, View
from synthsae_jax.protocols.many_points import measured

NOTHING = "nothing is matched"


def shared(view: View) -> Numbers:
    """Declared shared fraction: matched pairs as a share of the smaller side's latents.

    `shared`: of all latents, `shared_alive`: of those that fire, dead ones' pairs left out.
    """
    row, col, _ = view.pairs
    alive_a, alive_b = view.alive
    both = int((alive_a[row] & alive_b[col]).sum())
    living = min(int(alive_a.sum()), int(alive_b.sum()))
    return {
        "shared": (row.size / min(alive_a.size, alive_b.size), ""),
        "shared_alive": (both / living, "") if living else (NAN, "no latent fires"),
    }


def shared_of_living(view: View) -> Numbers:
    """Declared shared fraction of the smaller side's living latents, as `shared`."""
    living = min(int(alive.sum()) for alive in view.alive)
    n = view.pairs[0].size
    return {"shared": (n / living, "") if living else (NAN, "all latents of a side are dead")}


def assigned_mean(name: str) -> Callable[[View], Numbers]:
    """The mean score of an assignment: total over the smaller side's number of latents."""

    def read(view: View) -> Numbers:
        scores = view.pairs[2].astype(np.float64)
        smaller = min(view.result.evidence.s.shape)
        return {name: (float(scores.sum()) / smaller, "") if scores.size else (NAN, NOTHING)}

    return read


@dataclasses.dataclass(frozen=True)
class DecoderMeasures:
    """A reading of similarity measures of the matched pairs' decoder rows."""

    names: tuple[str, ...]

    def __call__(self, view: View) -> Numbers:
        return similarities(view, view.pairs[0], view.pairs[1], self.names)


def decoder_measures(*names: str) -> DecoderMeasures:
    """Similarity measures of the matched pairs' decoder rows: each pair is a point."""
    return DecoderMeasures(names)


def similarities(
    view: View, row: np.ndarray, col: np.ndarray, names: tuple[str, ...], suffix: str = ""
) -> dict[str, tuple[float, str]]:
    """Measures of the decoder rows of given pairs, under their names with a suffix."""
    if view.a.decoder is None or view.b.decoder is None:
        return {name + suffix: (NAN, "needs decoder of both sides") for name in names}
    if row.size == 0:
        return {name + suffix: (NAN, NOTHING) for name in names}
    values = measured(names, view.a.decoder, row, view.b.decoder, col)
    return {name + suffix: value for name, value in values.items()}


def order(view: View) -> Numbers:
    """Spearman correlation of a latent's place with its partner's."""
    row, col, _ = view.pairs
    partner = np.full(view.result.evidence.s.shape[0], -1)
    partner[row] = col
    value = float(similarity.orderedness(partner)) if row.size > 1 else NAN
    return {"orderedness": (value, "fewer than two latents are matched")}


def best_of_either(view: View) -> Numbers:
    """Mean over a side's living latents of the best score with the other side's, both ways."""
    best = [view.result.evidence.best_scores(axis) for axis in (0, 1)]
    best = [v[~np.isnan(v)] for v in best]
    means = [(float(v.mean()), "") if v.size else (NAN, "no pair has a score") for v in best]
    return {"a_to_b": means[0], "b_to_a": means[1]}


def centred_assignment(view: View) -> Numbers:
    """The mean cosine of the best pairing after each side's mean unit row is taken off."""
    a, b = (unit_rows(jnp.asarray(side.decoder, jnp.float32)) for side in (view.a, view.b))
    s = matching.score("decoder_cosine", a, b, centred=True)
    assignment = matching.solve("assignment", s)
    total = float(np.asarray(assignment.score, np.float64)[np.asarray(assignment.valid)].sum())
    return {"stability_centred": (total / min(s.shape), "")}
