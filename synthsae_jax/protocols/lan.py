"""Feature spaces compared by their paired decoder rows: as published, and with its flaws mended."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

from synthsae_jax.matching import Matching, Pipeline, pair_nulls
from synthsae_jax.protocols import pair_steps
from synthsae_jax.protocols.base import (
    NAN,
    NullStep,
    Numbers,
    Protocol,
    View,
    register_protocol,
)
from synthsae_jax.protocols.null_steps import of_pairs, of_side
from synthsae_jax.protocols.reads import (
    NOTHING,
    best_of_either,
    decoder_measures,
    shared_of_living,
    similarities,
)
from synthsae_jax.registry import Explanation

PUBLISHED = ("svcca_rank1", "rsa")
MENDED = ("svcca", "cka_debiased", "rsa_cosine")


def kept(view: View) -> Numbers:
    """What the filters leave of B's latents, and how well pairs correlate before and after."""
    row, _, score = view.pairs
    n_b = view.result.evidence.s.shape[1]
    return {
        "kept": (row.size / n_b, ""),
        "kept_of_a": (np.unique(row).size / view.result.evidence.s.shape[0], ""),
        "mean_best_r": best_of_either(view)["b_to_a"],
        "mean_kept_r": (float(score.mean()), "") if score.size else (NAN, NOTHING),
    }


def groups_of(view: View) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Rows and columns of the pairs of each semantic subspace.

    A pair belongs to one if both of its latents have one of its labels among their top five
    tokens. Empty without labels or groups.
    """
    context = view.context
    if context.labels is None or not context.groups:
        return {}
    row, col, _ = view.pairs
    pairs_of_group = {}
    for name, group_labels in context.groups.items():
        a, b = (
            pair_steps.about(side.latents, context.labels, group_labels)
            for side in (view.a, view.b)
        )
        inside = a[row] & b[col]
        pairs_of_group[name] = row[inside], col[inside]
    return pairs_of_group


def group_measures(*names: str) -> Callable[[View], Numbers]:
    """The measures within each semantic subspace, as `measure[group]`, and `pairs[group]`."""

    def read(view: View) -> Numbers:
        numbers = {}
        for group, (row, col) in groups_of(view).items():
            numbers[f"pairs[{group}]"] = (float(row.size), "")
            numbers |= similarities(view, row, col, names, f"[{group}]")
        return numbers

    return read


def of_groups(null: str, *names: str, published: bool = True) -> NullStep:
    """A null of pairs in each semantic subspace: partners dealt anew, or random pairs of all."""

    def draw(view, _, sides, observe, key, draws):
        inside = groups_of(view)
        columns = tuple(f"{name}[{group}]" for group in inside for name in names)
        pool = {"pool": view.result.matching} if null == "random_pairs" else {}

        def once(r: int) -> list[float]:
            values: list[float] = []
            for i, (row, col) in enumerate(inside.values()):
                group_key = jax.random.fold_in(jax.random.fold_in(key, r), i)
                m = pair_nulls[null](group_key, _all_valid(row, col), **pool)
                read = similarities(view, np.asarray(m.row), np.asarray(m.col), names)
                values += [value for value, _ in read.values()]
            return values

        drawn = [once(r) for r in range(draws)]
        return columns, np.array(drawn, np.float64).reshape(draws, len(columns))

    return NullStep(f"{null} within subspaces", published, draw, groups=True)


def _all_valid(row: np.ndarray, col: np.ndarray) -> Matching:
    return Matching(row, col, np.full(row.size, np.nan, np.float32), np.ones(row.size, bool))


register_protocol(
    "lan2024",
    Protocol(
        pipeline=Pipeline(
            score="activation_pearson",
            solver="argmax",
            filters=(
                # The published order. A latent may lose its partner to a pair that the last filter
                # drops; lan2024_fixed filters latents before the pairing instead.
                ("stop_list_of_pairs", {"top": 5}),
                ("shared_top_tokens", {"top": 5}),
                ("first_come", {}),
                ("published_correlation", {"above": 0.1}),
            ),
        ),
        reads=(decoder_measures(*PUBLISHED), kept, group_measures(*PUBLISHED)),
        primary="svcca_rank1",
        needs=("latents", "decoder"),
        nulls=(
            of_pairs("partner_shuffle", decoder_measures(*PUBLISHED)),
            of_groups("partner_shuffle", *PUBLISHED),
            of_groups("random_pairs", *PUBLISHED),
        ),
    ),
    Explanation(
        what="As published, one-to-one: each latent of B takes the latent of A it correlates best "
        "with; pairs with a top-five token on the stop list or without a common one go; of those "
        "that share a latent of A the first in B's order stays; r must be above .1. The pairs' "
        "decoder rows are compared by SVCCA of rank 1 and RSA, all of them and within semantic "
        "subspaces. `kept`: the share of B's latents left. For TopK SAEs the published codes are "
        "rectified pre-activations: give those as latents.",
        formula="|corr(PC1 of W_A[pairs], PC1 of W_B[pairs])|; Spearman of 1 - row correlations",
        range="[0, 1]; RSA [-1, 1]",
        chance="sqrt(2 / (pi (n - 1))); RSA 0. Partners shuffled after pairing and filtering, so "
        "what these select is not paid for; p as published may be 0 (p_published). Token filters "
        "are left out without labels.",
        undefined="fewer than three pairs are left, or the codes or decoders are not given",
        source="Lan et al., arXiv 2410.06981, with the routine of ReSi (arXiv 2408.00531)",
    ),
)
register_protocol(
    "lan2024_fixed",
    Protocol(
        pipeline=Pipeline(
            score="activation_pearson",
            solver="mutual_nearest",
            filters=(
                ("min_firings", {"at_least": 30}),
                ("stop_list", {"top": 5}),
                ("shared_top_tokens", {"top": 5}),
                ("fdr", {"q": 0.05}),
            ),
        ),
        reads=(shared_of_living, decoder_measures(*MENDED), group_measures(*MENDED)),
        primary="shared",
        needs=("latents", "decoder"),
        nulls=(
            of_side("activity_shift"),
            of_pairs("partner_shuffle", decoder_measures(*MENDED), published=False),
            of_groups("random_pairs", *MENDED, published=False),
        ),
        level_null="activity_shift",
    ),
    Explanation(
        what="lan2024 with its flaws mended: codes after sparsity, latents with 30 firings or "
        "more, the stop list before the pairing, mutual nearest instead of first come, a level of "
        "r that depends on frequency (a share of .05 of the pairs may be false, by the null's "
        "own pairs) instead of .1; SVCCA with 99 % of the variance, debiased CKA and RSA on "
        "angles; and a null under which pairing and filters run again. `shared`: pairs as a share "
        "of the smaller side's living latents.",
        formula="p = (1 + #{null >= observed}) / (1 + R); tokens of B rolled among equally busy "
        "ones",
        range="[0, 1]",
        chance="near 0: under the null hardly a pair passes",
        undefined="codes or decoders are not given; measures: too few pairs (see their reasons)",
        source="Lan et al., arXiv 2410.06981, mended",
    ),
)
