"""The page of partial@1: implied against true overlap, which latents are shared, joint SAEs."""

from __future__ import annotations

from collections.abc import Mapping

from synthsae_jax.experiments.partial.claims import (
    HALF,
    MATCHED,
    declared,
    detection,
    joint,
    title,
    truly_shared,
)
from synthsae_jax.experiments.partial.measure import (
    ALIGNED,
    BINS,
    COSINE_RULE,
    INDEPENDENT,
    JOINT,
    R_RULE,
    ROTATED,
    SCORES,
    PartialScale,
)
from synthsae_jax.report.block_plots import Curve, Dots, Mark
from synthsae_jax.report.block_tables import Listing
from synthsae_jax.report.blocks import Reader, Telling
from synthsae_jax.report.design_page import Page, Section
from synthsae_jax.suite.quantity import Quantity

_LEVELS = PartialScale.levels
_PAIRS = {ROTATED.name: "rotated directions", INDEPENDENT.name: "directions of their own"}
_JOINT = "one SAE of both"
# who counts, on which models: every way of counting the overlap
WAYS: Mapping[str, tuple[Quantity, ...]] = {
    _PAIRS["rotated"]: (
        declared(R_RULE, "rotated"),
        declared(COSINE_RULE, "rotated"),
        MATCHED,
        truly_shared("rotated"),
    ),
    _PAIRS["independent"]: (
        declared(R_RULE, "independent"),
        declared(COSINE_RULE, "independent"),
        truly_shared("independent"),
    ),
    _JOINT: tuple(declared(name, name) for name in JOINT),
}
_QUARTERS = ("all", "rarest quarter", "second", "third", "most frequent quarter")


def _half(reader: Reader) -> str:
    """What is said of models that share half: of latents beside the truth, of joint SAEs."""
    each = [reader.estimate(q.at(shared=HALF)) for q in WAYS[_PAIRS["rotated"]]]
    both = [reader.estimate(q.at(shared=HALF)) for q in WAYS[_JOINT]]
    listed = lambda of: ", ".join(f"{e.quantity.title} {e:alone}" for e in of if e.known)
    *ways, true = each
    parts = []
    if true.known and any(e.known for e in ways):
        parts.append(
            "With half of the features shared, and their directions rotated, the overlap is put at "
            f"{listed(ways)}, where {true} of the latents truly share: SAEs of each model find "
            "only a part of the features"
        )
    if any(e.known for e in both):
        parts.append(f"one SAE of both puts it at {listed(both)}")
    if not parts:
        return "No pair with half of the features in common was scored."
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def _detected(reader: Reader) -> str:
    parts = []
    for arm, models in _PAIRS.items():
        every, rare = (reader.estimate(detection(SCORES[0], arm, q)) for q in (0, 1))
        if every.known:
            parts.append(f"{every} with {models} ({rare} for the rarest quarter of the features)")
    if not parts:
        return "Which latents are shared could not be asked."
    return (
        f"Which latents are shared the best correlation tells with an AUROC of {'; '.join(parts)}."
    )


def _detection(arm: str) -> Dots:
    return Dots(
        f"detection_{arm}",
        [
            Mark(group, title(score), detection(score, arm, quarter), chance=0.5)
            for quarter, group in enumerate(_QUARTERS)
            for score in (*SCORES, ALIGNED)
        ],
        f"AUROC by frequency of the feature, {_PAIRS[arm]}.",
    )


assert len(_QUARTERS) == 1 + BINS
PAGE = Page(
    title="Partial universality",
    asked="When two models share only a part of their features, who finds out how much, and which?",
    findings=(
        Telling(
            tuple(q.at(shared=HALF) for ways in (_PAIRS["rotated"], _JOINT) for q in WAYS[ways]),
            _half,
        ),
        Telling(
            tuple(detection(SCORES[0], arm, quarter) for arm in _PAIRS for quarter in (0, 1)),
            _detected,
        ),
    ),
    not_shown="It does not show how much real models share: only how each way of counting would "
    "read it.",
    sections=(
        Section(
            "How much is shared",
            "What each way of counting says of the overlap, against the share of A's features that "
            "B has (dashed). Rules on SAEs of each model count latents that they call shared; "
            "joint SAEs count latents by their decoder norms: S / (S + E / 2) for S shared and E "
            "exclusive ones. The line of latents that truly share is what a perfect matcher of "
            "these SAEs would count: below the dashes because SAEs recover only a part of the "
            "features. A joint SAE too finds only a part, and a feature of both models saves it "
            "more error than one of either.",
            Listing(
                "by",
                tuple(f"{level:.0%} shared" for level in _LEVELS),
                {
                    f"{q.title}, {models}": [q.at(shared=level) for level in _LEVELS]
                    for models, ways in WAYS.items()
                    for q in ways
                },
            ),
            Curve(
                "overlap",
                "shared",
                [
                    Mark(models, q.title, q.at(shared=level), level, ceiling=level)
                    for models, ways in WAYS.items()
                    for q in ways
                    for level in _LEVELS
                ],
                "Implied overlap; dashed: what is shared.",
                limits=dict.fromkeys(WAYS, (0.0, 1.0)),
            ),
        ),
        Section(
            "Which latents are shared",
            "For each latent of A that tracks a feature: its best score with any latent of B. The "
            "AUROC is the chance that a latent whose feature B has scores higher than one whose "
            "feature B lacks; 1/2 is chance. Half of the features are shared. Quarters are by how "
            "often the feature fires.",
            *(_detection(arm) for arm in _PAIRS),
        ),
        Section(
            "Joint SAEs",
            "Of living latents that track a feature of both models (by firing), the share whose "
            "second model has less than a tenth or more than nine tenths of the decoder norm: "
            "false exclusives. Of those that track a feature of one model, the share between .4 "
            "and .6: falsely shared.",
            Listing(
                "SAE, features shared",
                ("false exclusives", "falsely shared", "tracked"),
                {
                    f"{title(name)}, {level:.0%}": [
                        joint(metric, name).at(shared=level)
                        for metric in ("false_exclusive", "false_shared", "tracked")
                    ]
                    for name in JOINT
                    for level in _LEVELS
                },
            ),
        ),
    ),
    limits="- Small worlds without trees, one pair of models per level and world, one width of "
    "joint SAE with an L0 target of the union's.\n"
    "- A latent of a joint SAE is given the feature it fires with; a direction that writes into "
    "one model alone would not count as tracking a shared feature.",
    names={"shared": "share of features in common", "ceiling": "shared"},
)
