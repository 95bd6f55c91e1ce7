"""What each field of `TrainConfig` takes: one table, for its checks and for `synthsae explain`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

from synthsae_jax.errors import check_choice, require, short
from synthsae_jax.registry import Explanation, Registry
from synthsae_jax.saes.records import DTYPES
from synthsae_jax.training.scale import NORMALIZATIONS
from synthsae_jax.training.schedules import DECAYS


@dataclasses.dataclass(frozen=True)
class Range:
    """The values a number may have, and how to say so after "must be"."""

    allows: Callable[[Any], bool]
    words: str
    optional: bool = False  # None is allowed too

    def check(self, where: str, value: Any) -> None:
        """Raise `ConfigError` unless the value is allowed."""
        fine = self.optional if value is None else self.allows(value)
        none = " or None" if self.optional else ""
        require(fine, f"{where} must be {self.words}{none}, got {short(value)}.")


def whole(least: int, *, optional: bool = False) -> Range:
    """Whole numbers from `least` on. A bool is none, and neither is 4e6: it names no sample."""
    allows = lambda v: isinstance(v, Integral) and not isinstance(v, bool) and int(v) >= least
    return Range(allows, f"a whole number >= {least}", optional)


def _number(allows: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, Real) and not isinstance(v, bool) and bool(allows(v))


POSITIVE = Range(_number(lambda v: 0 < v < math.inf), "positive and finite")
NOT_NEGATIVE = Range(_number(lambda v: 0 <= v < math.inf), "finite and not negative")
SHARE = Range(_number(lambda v: 0 <= v < 1), "in [0, 1)")
LIMIT = Range(_number(lambda v: v > 0), "> 0", optional=True)
TARGET = Range(_number(lambda v: 0 < v < math.inf), "> 0", optional=True)

# name -> range, or the words that are allowed; and what it is
FIELDS: dict[str, tuple[Range | tuple[str, ...], str]] = {
    "n_samples": (whole(1), "Samples to train on; the last batch is filled up."),
    "batch_size": (whole(1), "Samples per optimiser step."),
    "lr": (POSITIVE, "Learning rate of Adam."),
    "lr_warm_up_steps": (whole(0), "Steps over which the rate rises linearly from lr / steps."),
    "lr_decay_steps": (whole(0), "Last steps, over which the rate falls to lr_end."),
    "lr_decay": (DECAYS, "How the rate falls: along a line, or half a cosine."),
    "lr_end": (NOT_NEGATIVE, "The rate one step after the last; at most lr."),
    "target_l0": (TARGET, "A penalty's coefficient is steered until L0 is this."),
    "dead_window": (whole(0), "A latent is dead after more than this many steps without firing."),
    "resample_every": (whole(1, optional=True), "Steps after which dead latents start again."),
    "resample_until": (whole(1, optional=True), "The last step at which they may."),
    "grad_clip": (LIMIT, "Largest global norm of a run's gradient."),
    "dtype": (DTYPES, "Of matrix products; weights, optimiser and losses stay float32."),
    "normalize_activations": (NORMALIZATIONS, "Inputs times a factor, folded into the weights."),
    "n_batches_for_norm_estimate": (whole(1), "Batches whose mean norm sets that factor."),
    "history_points": (whole(1), "Rows of the history at most; each is a mean over its steps."),
    "adam_b1": (SHARE, "Adam's decay of the gradient's mean."),
    "adam_b2": (SHARE, "Adam's decay of the gradient's mean square."),
    "adam_eps": (POSITIVE, "Added to the root of that mean square."),
}

fields: Registry[Range | tuple[str, ...]] = Registry("training option")
for _name, (_range, _what) in FIELDS.items():
    _words = ", ".join(_range) if isinstance(_range, tuple) else _range.words
    _none = " or None" if isinstance(_range, Range) and _range.optional else ""
    fields.register(_name, Explanation(_what, range=_words + _none))(_range)


def check_fields(where: str, config: Any) -> None:
    """Raise `ConfigError` for the first field of `config` that the table does not allow."""
    for name, (allowed, _) in FIELDS.items():
        value = getattr(config, name)
        if isinstance(allowed, Range):
            allowed.check(f"{where}.{name}", value)
        else:
            check_choice(f"{where}.{name}", value, allowed)
