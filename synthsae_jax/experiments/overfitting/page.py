"""The page of overfitting@1: what more latents gain in fit, lose in sharing, share of noise."""

from __future__ import annotations

from synthsae_jax.experiments.overfitting.quantities import (
    ARTEFACTS,
    EXPLAINED,
    F1,
    FRESHLY,
    LEAST,
    LENIENT,
    MOST,
    RATE,
    TRULY_SHARED,
    equal_ev,
    excess,
    grown,
    multiple_at_equal_ev,
    swapped,
)
from synthsae_jax.experiments.overfitting.setting import (
    BATCHTOPK,
    CONDITIONS,
    FRESH,
    MULTIPLES,
    ONCE,
    PURSUIT,
    SAES,
)
from synthsae_jax.report.block_plots import Curve, Mark, along
from synthsae_jax.report.block_tables import Grid, Listing
from synthsae_jax.report.blocks import Finding, Reader, Telling
from synthsae_jax.report.design_page import Page, Section
from synthsae_jax.suite.encoders import ENCODERS
from synthsae_jax.suite.quantity import Quantity

_BY_SAE = {name: {"sae": sae} for sae, name in SAES.items()}
_BY_K = {f"{name}, {k:g}": {"sae": sae, "k": k} for sae, name in SAES.items() for k in MULTIPLES}
_OF_PURSUIT = (EXPLAINED.at(sae=PURSUIT), TRULY_SHARED.at(sae=PURSUIT, condition=FRESH))


def _fit_and_sharing(reader: Reader) -> str:
    """What a pursuit's fit and sharing do from the least to the most latents of the scale."""
    fit, true = ([reader.estimate(q, {"k": k}) for k in MULTIPLES] for q in _OF_PURSUIT)
    defined = [i for i in range(len(MULTIPLES)) if fit[i].known and true[i].known]
    if len(defined) < 2:
        return "There are no two multiples of the L0 to compare yet."
    low, high = defined[0], defined[-1]
    return (
        f"From {MULTIPLES[low]:g} to {MULTIPLES[high]:g} times the L0 a pursuit's explained "
        f"variance goes from {fit[low]:alone} to {fit[high]:alone}, and what two of them truly "
        f"share from {true[low]:alone} to {true[high]:alone}."
    )


def _equal_ev() -> Listing:
    """Each pursuit beside the BatchTopK that explains as much."""
    rows: dict[str, list[Quantity | None]] = {"multiple of the target L0": []}
    numbers = (EXPLAINED, F1, *FRESHLY, ARTEFACTS.at(condition=FRESH))
    for k in MULTIPLES:
        rows["multiple of the target L0"] += [None, multiple_at_equal_ev(k)]
        for q in numbers:
            rows.setdefault(q.title, []).extend((q.at(sae=PURSUIT, k=k), equal_ev(q, k)))
    heads = [
        head for k in MULTIPLES for head in (f"pursuit, k x {k:g}", f"BatchTopK, EV of k x {k:g}")
    ]
    return Listing("number", heads, rows)


def _encoders() -> Listing:
    """Scores, support and features of each dictionary under each encoder."""
    shares = {
        "support_jaccard": "support",
        "tau_kept": "features kept",
        "tau_kept_least": "kept, least over truths",
        "tau_kept_most": "kept, most",
    }

    def row(sae: str, encoder: str) -> list[Quantity]:
        trained = F1.at(sae=sae, k=ONCE)
        f1, explained = (swapped(m, sae, encoder) for m in ("f1", "explained_variance"))
        return [f1, trained, explained, *(swapped(m, sae, encoder) for m in shares)]

    heads = ("F1", "F1 of its own encoder", "explained variance", *shares.values())
    rows = {f"{name}, {e}": row(sae, e) for sae, name in SAES.items() for e in ENCODERS}
    return Listing("dictionary of, encoder", heads, rows)


PAGE = Page(
    title="Does matching pursuit learn a dictionary's noise?",
    asked="Does matching pursuit learn the noise of a dictionary?",
    findings=(
        Finding(
            "At twice the L0, what two runs share of their artefacts is larger on one dictionary "
            "than on fresh ones: by {pursuit} of them for matching pursuit, by {batchtopk} "
            "for BatchTopK. At the target L0 itself it is {once} for matching pursuit.",
            pursuit=excess(PURSUIT),
            batchtopk=excess(BATCHTOPK),
            once=excess(PURSUIT, ONCE),
        ),
        Telling(tuple(q.at(k=k) for q in _OF_PURSUIT for k in MULTIPLES), _fit_and_sharing),
    ),
    not_shown="It does not show which of a language model's latents are such noise.",
    sections=(
        Section(
            "Fit and sharing",
            "At equal L0, pairs on fresh dictionaries: models with the same features in "
            "independent directions. Explained variance may rise with k while what is truly shared "
            "falls. The default truth asks a latent to fire where its feature does, which an SAE "
            "with several times the latents it needs fails whatever its architecture: beside it "
            "stands the truth that asks least.",
            Curve(
                "fit",
                "multiple of the target L0",
                along("k", MULTIPLES, (EXPLAINED, *FRESHLY), _BY_SAE),
                "Against k, at equal L0.",
            ),
            Grid(
                "SAE",
                _BY_SAE,
                [
                    grown(q)
                    for q in (EXPLAINED, FRESHLY[0], LENIENT.at(condition=FRESH), *FRESHLY[1:])
                ],
                title="From the target L0 to four times as much",
            ),
        ),
        Section(
            "Shared artefacts",
            "Of the latents that track nothing, the share matched (codes correlate at .5 or more) "
            "with one that tracks nothing in the other SAE. If they are noise of a dictionary, two "
            "runs on it share them and runs on another dictionary do not: the distance between the "
            "lines is the primary number. Chance: the lines lie on each other.",
            Curve(
                "noise",
                "multiple of the target L0",
                [
                    Mark(name, condition, ARTEFACTS.at(sae=sae, k=k, condition=condition), k)
                    for sae, name in SAES.items()
                    for condition in CONDITIONS
                    for k in MULTIPLES
                ],
                "Shared artefacts against k.",
            ),
            Grid(
                "SAE, k",
                _BY_K,
                (
                    *(ARTEFACTS.at(c, condition=c) for c in CONDITIONS),
                    excess(k=None).called("difference"),
                    *(RATE.at(f"among matches, {c.split()[0]}", condition=c) for c in CONDITIONS),
                ),
                note="Among matches: pairs of two artefacts as a share of all matched pairs.",
            ),
            Grid(
                "SAE, k",
                _BY_K,
                [
                    q.at(f"{c.split()[0]}, {end}", condition=c)
                    for c in CONDITIONS
                    for q, end in ((LEAST, "least"), (MOST, "most"))
                ],
                title="Shared artefacts, at the least and most over what may be called truth",
            ),
        ),
        Section(
            "At equal explained variance",
            "BatchTopK at the k of the grid whose explained variance is nearest, in each world; "
            "pairs on fresh dictionaries.",
            _equal_ev(),
        ),
        Section(
            "Another encoder on the same dictionary",
            "Support: Jaccard of each token's active latents before and after. Features kept: of "
            "the latents that track a feature, the share that still tracks it.",
            _encoders(),
        ),
    ),
    limits="- One small world without trees per unit, at one width.\n"
    "- An artefact is a living latent that tracks no feature by the default truth (direction and "
    "firing agree); a table gives the band over other truths.\n"
    "- Equal EV is the nearest on a grid of k; the table gives what is left between them.",
)
