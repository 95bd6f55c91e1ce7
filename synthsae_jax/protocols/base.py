"""What a protocol is, what it may read, and what comes out of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import jax
import numpy as np

from synthsae_jax.matching import Matching, Pipeline, SideInputs
from synthsae_jax.matching.filters import Removed
from synthsae_jax.matching.pipeline import PipelineResult
from synthsae_jax.matching.significance import Significance
from synthsae_jax.registry import Explanation, Registry

Array = jax.Array | np.ndarray
NAN = math.nan
# a number, or NaN and why
Number = tuple[float, str]
Numbers = Mapping[str, Number]
Reconstruct = Callable[[Array], Array]


@dataclasses.dataclass(frozen=True)
class NullNumbers:
    """A null's draws of a protocol's numbers, and what the observed ones are worth against them."""

    null: str
    published: bool  # is it the protocol's own?
    names: tuple[str, ...]
    judged: Significance  # of the numbers, in this order

    @property
    def p(self) -> dict[str, float]:
        """(1 + #{null >= observed}) / (1 + R) by number; NaN where undefined."""
        return dict(zip(self.names, np.atleast_1d(self.judged.p).tolist()))

    @property
    def p_published(self) -> dict[str, float]:
        """Mean(null >= observed): as many papers count, so that it may be 0."""
        null, observed = self.judged.null, np.atleast_1d(self.judged.observed)
        drawn = ~np.isnan(null)
        reach = (null >= observed) & drawn
        share = reach.sum(0) / np.maximum(drawn.sum(0), 1)
        defined = drawn.any(0) & ~np.isnan(observed)
        return dict(zip(self.names, np.where(defined, share, np.nan).tolist()))

    @property
    def mean(self) -> dict[str, float]:
        """The null's mean by number: the protocol's own floor."""
        return dict(zip(self.names, np.atleast_1d(self.judged.null_mean).tolist()))


# (view, names of its numbers, sides, observe, key, draws) -> names and values [R, names]
Draw = Callable[..., tuple[tuple[str, ...], np.ndarray]]


@dataclasses.dataclass(frozen=True)
class NullStep:
    """A null of a protocol: `of_side` runs everything again, `of_pairs` deals chosen pairs anew."""

    name: str
    published: bool
    draw: Draw
    stand_ins: bool = False  # is it left out where B brings no stand-ins for it?
    groups: bool = False  # is it left out where no semantic subspaces are given?


@dataclasses.dataclass(frozen=True)
class Context:
    """What a protocol may read beside the two sides; what is not known stays None or empty."""

    # int [n]: what each token is about: the number of its string, or of its dominant feature
    labels: np.ndarray | None = None
    stop: tuple[int, ...] = ()  # labels that are no concepts: the most frequent 1 % of features
    # semantic subspaces: the labels that belong to each, such as the features of one subtree
    groups: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    # model activations (x_a [n, D_a], x_b [n, D_b]) on paired tokens, and x -> x_hat of each SAE
    activations: tuple[Array, Array] | None = None
    reconstruct: tuple[Reconstruct, Reconstruct] | None = None
    level_draws: int | None = None  # draws by which a filter's level is set; None: enough


@dataclasses.dataclass(frozen=True)
class View:
    """A matching that a pipeline found, with all that a reading of it may use."""

    a: SideInputs
    b: SideInputs
    context: Context
    pipeline: Pipeline
    result: PipelineResult
    alive: tuple[np.ndarray, np.ndarray]  # bool [L_a], [L_b]; all True where codes are not given

    @cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, columns and scores of the matched pairs."""
        m = self.result.matching
        valid = np.asarray(m.valid)
        return tuple(np.asarray(v)[valid] for v in (m.row, m.col, m.score))  # type: ignore

    def step(self, name: str) -> Mapping[str, Any]:
        """The options of a filter as it was run; empty where it was not."""
        return dict(self.pipeline.filters).get(name, {})


def as_they_are(a: SideInputs, b: SideInputs, context: Context) -> tuple[SideInputs, SideInputs]:
    """Both sides unchanged."""
    return a, b


def weights_only(a: SideInputs, b: SideInputs, context: Context) -> tuple[SideInputs, SideInputs]:
    """Both sides without codes: every latent takes part, whether it fires or not."""
    return dataclasses.replace(a, latents=None), dataclasses.replace(b, latents=None)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A recipe: score, solver and filters (`pipeline`), what is read, and nulls.

    Filters of the pipeline that need labels get them from the `Context`; `fdr` gets the level of
    `level_null`, run through the pipeline itself.
    """

    pipeline: Pipeline
    reads: tuple[Callable[[View], Numbers], ...]
    primary: str  # one of the numbers that `reads` give
    needs: tuple[str, ...]  # of "latents", "decoder", "encoder" of both sides, "activations"
    nulls: tuple[NullStep, ...] = ()
    version: int = 1
    same_space: bool = False  # are directions of A and B compared as they stand?
    sides: Callable[[SideInputs, SideInputs, Context], tuple[SideInputs, SideInputs]] = as_they_are
    level_null: str | None = None


@dataclasses.dataclass(frozen=True)
class ProtocolResult:
    """What a protocol says of two SAEs. A number is NaN where undefined, and `reasons` says why."""

    protocol: str
    version: int
    primary: str
    numbers: Mapping[str, float]
    reasons: Mapping[str, str]  # by number, and "p" where no p-value is given
    matching: Matching | None
    log: tuple[Removed, ...]  # one line per filter, in the order in which they acted
    notes: tuple[str, ...]  # what was left out for want of inputs
    nulls: tuple[NullNumbers, ...]

    @property
    def value(self) -> float:
        """The protocol's own number: declared shared fraction or similarity."""
        return self.numbers[self.primary]

    def p(self, number: str | None = None, null: str | None = None) -> float:
        """(1 + draws that reach it) / (1 + draws) of a number (None: the protocol's own).

        By the first null that is about it, or the one named; NaN where there is none.
        """
        number = number or self.primary
        matching_nulls = (
            n.p[number] for n in self.nulls if number in n.names and null in (None, n.null)
        )
        return next(matching_nulls, NAN)


protocols: Registry[Protocol] = Registry("protocol")


def register_protocol(name: str, protocol: Protocol, explanation: Explanation) -> Protocol:
    """Put a protocol into the registry under a name."""
    return protocols.register(name, explanation)(protocol)
