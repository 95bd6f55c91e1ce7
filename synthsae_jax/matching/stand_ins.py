"""Nulls that need SAEs made anew: what the caller has to make, and how it is put in B's place.

This folder has no worlds and trains nothing. Whoever does hands over finished sides, by the name
of the null they are for: `replace(b, stand_ins={"disjoint_coupled": (side, side, ...)})`. Each
counts as one draw and none is used twice, so R of them give p-values of at least 1/(1 + R). More
from few: roll each stand-in's own codes (`activity_shift`) and judge it as a B of its own.
"""

from __future__ import annotations

import jax

from synthsae_jax.errors import require
from synthsae_jax.matching.nulls import register_null
from synthsae_jax.matching.records import SideInputs
from synthsae_jax.registry import Explanation

Array = jax.Array

_ALIKE = "; architecture, width and token budget are B's, codes are on the same samples as A's"


def _register(name: str, label: str, what: str, needs: str, chance: str = "") -> None:
    """Register a null whose draws are `side.stand_ins[name]`; `needs` says what they are."""

    def nth(side: SideInputs, i: int) -> SideInputs:
        return stand_ins_of(side)[i]

    def count(side: SideInputs) -> int:
        return len(stand_ins_of(side))

    def draw(key: Array, side: SideInputs) -> SideInputs:
        """One of the stand-ins at random. On the host."""
        return nth(side, int(jax.random.randint(key, (), 0, count(side))))

    def stand_ins_of(side: SideInputs) -> tuple[SideInputs, ...]:
        stand_ins = tuple((side.stand_ins or {}).get(name, ()))
        require(
            bool(stand_ins),
            f"null {name!r} takes B's place by SAEs made for it: give "
            f"stand_ins={{{name!r}: (SideInputs, ...)}}, each {needs}.",
        )
        if side.latents is not None:
            n = side.latents.shape[0]
            require(
                all(s.latents is not None and s.latents.shape[0] == n for s in stand_ins),
                f"stand-ins for {name!r} need latents on the same {n} samples as those they "
                "replace.",
            )
        return stand_ins

    explanation = Explanation(
        what=f"{what} ({label}). It takes SAEs made for it: in stand_ins[{name!r}], each {needs}"
        f"{_ALIKE}.",
        formula="b -> stand_ins[name][r], each once",
        chance=chance,
        undefined="an error where no stand-ins are given",
    )
    register_null(name, label, explanation, needs=(needs,), count=count, nth=nth)(draw)


_register(
    "untrained",
    "N1",
    "B before training: what the geometry of initial weights gives",
    "an untrained SAE with an init seed of its own, encoding B's model",
)
_register(
    "untrained_same_init",
    "N1",
    "B before training, from A's own initial weights: what starting together gives",
    "an untrained SAE with the init seed of A, encoding B's model",
    chance="1 for the directions where A did not move either: the level for runs that share seeds",
)
_register(
    "disjoint_independent",
    "N5",
    "A model without a common feature, on codes of its own with the same statistics: the first of "
    "the two zeros of universality",
    "an SAE trained as B was on a model that has none of A's features and its own stream of codes",
)
_register(
    "disjoint_coupled",
    "N5",
    "A model without a common feature that reads the same text, so that as many features fire on "
    "each token: the second zero, at which unrelated latents do correlate",
    "an SAE trained as B was on a model that has none of A's features, with A's common factors "
    "and number of active features per token",
    chance="Above that of the first zero: at 300k tokens the mean plain z of unrelated pairs is "
    "1.7 at rate .03, 5.5 at .1, 12.5 at .2.",
)
_register(
    "disjoint_same_init",
    "N6",
    "As disjoint_coupled, with A's init seed and order of data: what leaks through seeds",
    "an SAE trained on a model that has none of A's features, with the init and data seed of A",
    chance="Its excess over disjoint_coupled is leakage.",
)
_register(
    "permuted_ids",
    "N7",
    "The same features under permuted ids within bins of equal rate: what frequency alone aligns",
    "an SAE trained as B was on a model in which features of like rate swapped their ids",
)
