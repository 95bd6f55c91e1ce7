"""The claims of overfitting@1."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from synthsae_jax.experiments.architectures.numbers import MATCHED
from synthsae_jax.io.rows import Row
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.study.select import by_world, mean

PURSUIT, LINEAR_SAE = "matching_pursuit", "batchtopk"
SAME, FRESH = "same dictionary", "fresh dictionary"
CORRELATION = "best_correlation_0.1"
ByWorld = Callable[[Sequence[Row]], dict[int, float]]


def explained(rows: Sequence[Row], sae: str, k: float) -> float:
    """Mean explained variance of an architecture at a multiple of the L0."""
    return mean(rows, sae=sae, factor_k=k, variant="", metric="explained_variance")


def at(
    rows: Sequence[Row], sae: str, k: float, condition: str, metric: str, variant: str = MATCHED
) -> float:
    """Mean of a quantity of pairs of an architecture at a multiple of the L0."""
    where = {"sae": sae, "factor_k": k, "condition": condition}
    return mean(rows, variant=variant, metric=metric, **where)


def equal_ev(rows: Sequence[Row], k: float) -> float:
    """The multiple at which BatchTopK explains as much as a pursuit at `k`; one world's rows."""
    return mean(rows, sae=PURSUIT, factor_k=k, variant="equal_ev", metric="multiple")


def excess(rows: Sequence[Row], sae: str, k: float) -> float:
    """The primary number: shared artefacts on the same dictionary less on a fresh one."""
    same, fresh = (at(rows, sae, k, c, "shared_artefacts") for c in (SAME, FRESH))
    return same - fresh


def _advantage(rows: list[Row]) -> float:
    ahead = lambda k: explained(rows, PURSUIT, k) - explained(rows, LINEAR_SAE, k)
    return ahead(4.0) - ahead(1.0)


def _grown(metric: str, variant: str) -> ByWorld:
    """What a pursuit's pairs on fresh dictionaries gain from one to four times the L0."""
    return by_world(
        lambda rows: (
            at(rows, PURSUIT, 4.0, FRESH, metric, variant)
            - at(rows, PURSUIT, 1.0, FRESH, metric, variant)
        )
    )


def _beside_equal_ev(rows: list[Row]) -> float:
    own = at(rows, PURSUIT, 2.0, FRESH, "true_universality", "truth")
    other = at(rows, LINEAR_SAE, equal_ev(rows, 2.0), FRESH, "true_universality", "truth")
    return own - other


def _swapped(metric: str) -> ByWorld:
    where = {"sae": PURSUIT, "variant": "swapped", "metric": metric}
    return by_world(lambda rows: mean(rows, condition="encoder: linear", **where) - 1)


_MORE = "Worlds with trees, another width, or more worlds, which make the interval shorter."
_CRITERION = "Another criterion for a match than r >= .5, or for what a latent tracks."
CLAIMS = (
    Claim(
        "H7c",
        "On one dictionary two runs of matching pursuit share more artefacts than on a fresh "
        "one: what they fit belongs to the dictionary.",
        "share of artefacts matched with an artefact, same less fresh dictionary, twice the L0",
        by_world(lambda rows: excess(rows, PURSUIT, 2.0)),
        smallest_effect=0.1,
        margin=0.02,
        changes=_CRITERION,
    ),
    Claim(
        "H7c beside",
        "It does so more than BatchTopK at equal L0.",
        "that difference for matching pursuit less that for BatchTopK, twice the L0",
        by_world(lambda rows: excess(rows, PURSUIT, 2.0) - excess(rows, LINEAR_SAE, 2.0)),
        smallest_effect=0.1,
        margin=0.02,
        changes=_CRITERION,
    ),
    Claim(
        "H7a",
        "Matching pursuit's lead in explained variance grows with k.",
        "EV less that of BatchTopK at equal L0, at four times the L0 less at one",
        by_world(_advantage),
        smallest_effect=0.02,
        margin=0.0,
        changes=_MORE,
    ),
    Claim(
        "H7a sharing",
        "Meanwhile what two of them truly share falls.",
        "true universality on fresh dictionaries, four times the L0 less one",
        _grown("true_universality", "truth"),
        smallest_effect=-0.1,
        margin=0.0,
        changes=_MORE,
    ),
    Claim(
        "H7a precision",
        "And so does the precision of what is declared shared.",
        "precision of r > .1 on fresh dictionaries, four times the L0 less one",
        _grown("precision", CORRELATION),
        smallest_effect=-0.1,
        margin=0.0,
        changes=_MORE,
    ),
    Claim(
        "H7a equal EV",
        "At equal explained variance matching pursuit truly shares less than BatchTopK.",
        "true universality on fresh dictionaries, twice the L0, less BatchTopK's of nearest EV",
        by_world(_beside_equal_ev),
        smallest_effect=-0.1,
        margin=0.0,
        changes="A finer grid of k where the nearest EV is far.",
    ),
    Claim(
        "H7b",
        "Most of matching pursuit's unmatched latents are artefacts.",
        "share of untracked latents among those without a match (r >= .5), fresh, twice the L0",
        by_world(lambda rows: at(rows, PURSUIT, 2.0, FRESH, "unmatched_artefacts")),
        smallest_effect=0.5,
        margin=0.5,
        changes=_CRITERION,
    ),
    Claim(
        "H7d support",
        "A linear encoder on matching pursuit's dictionary fires otherwise.",
        "Jaccard of each token's active latents, linear encoder against pursuit, less 1",
        _swapped("support_jaccard"),
        smallest_effect=-0.2,
        margin=0.1,
        changes="A dictionary with less interference.",
    ),
    Claim(
        "H7d features",
        "Yet its latents keep the features that they track.",
        "share of tracking latents that track the same under the linear encoder, less 1",
        _swapped("tau_kept"),
        smallest_effect=0.1,
        margin=0.1,
        kind="noninferior",
        changes="A truth map that asks more of firing and less of direction.",
    ),
)
