"""Truth as a band: a claim's number under every definition of truth that SAEs can meet."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from synthsae_jax.errors import check_choice, require
from synthsae_jax.suite.quantity import Observed, Quantity

FEWEST_PASS = 0.5  # of an oracle's tracked latents, for a truth to be in the band


@dataclasses.dataclass(frozen=True)
class Band:
    """The number of a claim under every definition of truth, and which of them count.

    `truths` maps a setting's name ("functional .7") to the claim's quantity under it; `passed`
    maps it to the share of an oracle's tracked latents that pass it. A setting that less than half
    of them pass says nothing of SAEs and is out of the band (PROTOCOL, section 7); one without a
    `passed` is always in.
    """

    truths: Mapping[str, Quantity]
    passed: Mapping[str, Quantity] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        require(bool(self.truths), "Band: needs at least one definition of truth.")
        for name in self.passed:
            check_choice("truth of the band", name, tuple(self.truths))

    def quantities(self) -> tuple[Quantity, ...]:
        """Everything that it reads."""
        return (*self.truths.values(), *self.passed.values())

    def over(self, observed: Observed) -> tuple[dict[str, float], list[str]]:
        """The estimate under each truth that counts and is defined, and the names left out."""
        estimates: dict[str, float] = {}
        left_out: list[str] = []
        for name, quantity in self.truths.items():
            passed = self.passed.get(name)
            # a share that is not known (no oracle ran) leaves nothing out
            if passed is not None and observed.estimate(passed).value < FEWEST_PASS:
                left_out.append(name)
                continue
            estimate = observed.estimate(quantity)
            if estimate.known:
                estimates[name] = estimate.value
        return estimates, left_out


def unsettled_by(under: Mapping[str, float], kind: str, margin: float) -> str:
    """Why truth's definition leaves a decided claim of this kind open; "" where it does not.

    `under` maps a truth to the estimate under it. An effect must keep its sign under every truth;
    equality and non-inferiority, whose numbers lie about 0, their side of the margin.
    """
    if not under:
        return "it is undefined under every definition of truth"
    values = under.values()
    if kind == "effect":
        what, sides = "sign", {value > 0 for value in values if value}
    elif kind == "equivalent":
        # a difference beyond the margin that turns round is not one difference
        what, sides = "size", {0 if abs(v) <= margin else 1 if v > 0 else -1 for v in values}
    else:
        what, sides = "side", {value >= -margin for value in values}
    if len(sides) <= 1:
        return ""
    least, most = (end(under, key=lambda truth: under[truth]) for end in (min, max))
    return (
        f"its {what} depends on what is called true: {under[least]:.3f} under {least}, "
        f"{under[most]:.3f} under {most}"
    )
