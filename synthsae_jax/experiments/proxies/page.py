"""The page of proxies@1: the 2x2 of true and reproduced, AUROCs, what ranks SAEs."""

from __future__ import annotations

from synthsae_jax.experiments.proxies.quantities import (
    NAMES,
    among,
    area,
    quadrant,
    rank_with_f1,
    true_in_bin,
    untrue,
)
from synthsae_jax.experiments.proxies.setting import (
    AGREE,
    ARCHITECTURES,
    ARMS,
    BINNED,
    BINS,
    KINDS,
    OF_SAES,
    PROXIES,
    STABLE,
    STRATA,
    TRUTHS,
    WITNESSES,
)
from synthsae_jax.report.block_plots import Curve, Dots, Mark, Matrix
from synthsae_jax.report.block_tables import Grid, Listing
from synthsae_jax.report.blocks import Reader, Telling
from synthsae_jax.report.design_page import Page, Section
from synthsae_jax.suite.quantity import Quantity

_ARMS = tuple(arm.name for arm in ARMS)
_UNTRUE = {arm: untrue(STABLE).at(arm=arm) for arm in _ARMS}
_BY_ARCHITECTURE = {
    (arm, label): untrue(STABLE).at(arm=arm, condition=label)
    for arm in _ARMS
    for label in ARCHITECTURES
}
_AMONG = {arm: {p: q.at(arm=arm) for p, q in among(PROXIES).items()} for arm in _ARMS}


def _stable(reader: Reader) -> str:
    sentences = []
    for arm, together in _UNTRUE.items():
        estimate = reader.estimate(together)
        if not estimate.known:
            continue
        single = {
            label: reader.estimate(of)
            for (of_arm, label), of in _BY_ARCHITECTURE.items()
            if of_arm == arm
        }
        single = {label: e for label, e in single.items() if e.known}
        least, most = (pick(single, key=lambda s: single[s].value) for pick in (min, max))
        sentence = f"{estimate:alone} in the {arm} worlds"
        if least != most:
            sentence += (
                f" (from {single[least]:alone} with {NAMES[least]} to {single[most]:alone} with "
                f"{NAMES[most]})"
            )
        sentences.append(sentence)
    if not sentences:
        return f"What is reproduced cannot be said: {reader.estimate(_UNTRUE[_ARMS[0]]).reason}."
    return (
        f"Of the latents that all seeds reproduce, {' and '.join(sentences)} track no single "
        "feature."
    )


def _best(reader: Reader) -> str:
    for arm, proxies in _AMONG.items():
        values = {p: reader.estimate(q).value for p, q in proxies.items()}
        values = {p: value for p, value in values.items() if value == value}
        if values:
            best = max(values, key=lambda p: values[p])
            return (
                f"The best predictor in the {arm} worlds is '{NAMES[best]}', AUROC "
                f"{values[best]:.2f} on the architectures that have every proxy."
            )
    return f"No proxy could be scored: {reader.estimate(_AMONG[_ARMS[0]][PROXIES[0]]).reason}."


def _quadrants(arm: str) -> Matrix:
    marks = [
        Mark(
            f"{NAMES[label]}, {stratum}",
            NAMES[kind],
            quadrant(kind, STABLE, (stratum,)).at(arm=arm, condition=label),
        )
        for label in ARCHITECTURES
        for stratum in STRATA
        for kind in KINDS
    ]
    caption = f"The 2 x 2 in the {arm} worlds; q1 is the rarest quarter of the latents."
    return Matrix(f"quadrants-{arm}", marks, caption)


def _by_arm(of: dict[str, Quantity], **level: float) -> list[Mark]:
    return [
        Mark(f"{arm} worlds", q.title, q.at(arm=arm), **level) for arm in _ARMS for q in of.values()
    ]


def _reliability() -> list[Mark]:
    return [
        Mark(f"{arm} worlds", NAMES[proxy], true_in_bin(proxy, b).at(arm=arm), (b + 0.5) / BINS)
        for arm in _ARMS
        for proxy in BINNED
        for b in range(BINS)
    ]


PAGE = Page(
    title="Proxies of the truth",
    asked="Which number that needs no truth tells whether a latent is true, and which SAE is good?",
    findings=(
        Telling((*_UNTRUE.values(), *_BY_ARCHITECTURE.values()), _stable),
        Telling(tuple(q for of_arm in _AMONG.values() for q in of_arm.values()), _best),
    ),
    not_shown="It does not show what share of a language model's stable latents is true: only "
    "that stability does not settle it, and by how much here.",
    sections=(
        Section(
            "Stable is not true",
            "Living latents by whether they track a feature and whether all other seeds have them "
            "(decoder cosine >= .7), as shares of all, by architecture and firing rate.",
            Grid(
                "worlds, architecture",
                {
                    f"{arm}, {NAMES[label]}": {"arm": arm, "condition": label}
                    for arm in _ARMS
                    for label in ARCHITECTURES
                },
                [quadrant(kind, STABLE) for kind in KINDS],
            ),
            *(_quadrants(arm) for arm in _ARMS),
        ),
        Section(
            "Witnesses",
            "Of the latents that are reproduced, the share that track nothing, by who reproduces "
            "them and by what is called true; then by architecture, for all other seeds (decoder).",
            Listing(
                "worlds, truth",
                tuple(WITNESSES),
                {
                    f"{arm}, {truth}": [untrue(w, truth).at(arm=arm) for w in WITNESSES]
                    for arm in _ARMS
                    for truth in TRUTHS
                },
            ),
            Grid(
                "architecture",
                {NAMES[label]: {"condition": label} for label in ARCHITECTURES},
                [
                    untrue(STABLE, truth).at(f"{arm}, {truth}", arm=arm)
                    for arm in _ARMS
                    for truth in TRUTHS
                ],
            ),
        ),
        Section(
            "What predicts that a latent is true",
            "AUROC over living latents, by architecture; chance is 1/2. The figure shows the mean "
            "over those that have the proxy (matching pursuit has no encoder).",
            Dots("auroc", _by_arm({p: area(p) for p in PROXIES}, chance=0.5), "AUROC of proxies."),
            *(
                Listing(
                    "proxy",
                    [NAMES[label] for label in ARCHITECTURES],
                    {
                        NAMES[p]: [area(p).at(arm=arm, condition=label) for label in ARCHITECTURES]
                        for p in PROXIES
                    },
                    title=f"AUROC in the {arm} worlds",
                )
                for arm in _ARMS
            ),
        ),
        Section(
            "What a value means",
            "Share of true latents by value of the proxy, all architectures.",
            Curve("values", "value of the proxy", _reliability(), "Share of true latents."),
        ),
        Section(
            "What ranks SAEs",
            "Spearman correlation with F1 over the settings of a world that have the proxy.",
            Dots(
                "ranks",
                _by_arm({p: rank_with_f1(p) for p in OF_SAES}, no_effect=0.0),
                "Rank correlation with F1.",
            ),
        ),
    ),
    limits="- A latent is true where direction and firing name one feature (cosine and F1 "
    f"thresholds of the default truth, `{AGREE}`); `any` counts it as soon as one method at one "
    "threshold does.\n"
    "- Reproduced by seeds: in both other seeds, by decoder cosine >= .7 in the optimal "
    "assignment or mean best code correlation >= .5; architectures and models by the latter.\n"
    "- Three seeds a setting; F1 here is that of firing with the feature of the nearest direction.",
    names=NAMES,
)
