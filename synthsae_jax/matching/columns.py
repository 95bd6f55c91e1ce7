"""What each number of `match_report` means. The tests hold this list against the report's keys."""

from __future__ import annotations

from synthsae_jax.registry import Explanation, Registry

# A registry of its own: "precision" of a matching is another number than "precision" of latents.
match_metrics: Registry[str] = Registry("match metric")

_SHARE = "[0, 1]"
_NO_MATCH = "nothing is matched"
_WORDS = "M: matched pairs; tau: truth map, 'none' where a latent tracks no feature; G_A, G_B: "
_WORDS += "features tracked by A, by B; P_A, P_B: features present."


def _explain(
    name: str, what: str, formula: str, range: str = _SHARE, chance: str = "", undefined: str = ""
) -> None:
    explanation = Explanation(what, formula, range, chance, undefined, source=_WORDS)
    match_metrics.register(name, explanation)(name)


_COUNT = ">= 0"
_explain("n_matched", "Pairs matched.", "|M|", _COUNT)
_explain("n_alive_a", "Latents of A that fire.", "sum alive_a", _COUNT)
_explain("n_alive_b", "Latents of B that fire.", "sum alive_b", _COUNT)
_explain("n_tracked_a", "Features that some latent of A tracks.", "|G_A|", _COUNT)
_explain("n_tracked_b", "Features that some latent of B tracks.", "|G_B|", _COUNT)
_explain("n_tracked_both", "Features that both sides track.", "|G_A n G_B|", _COUNT)
_explain(
    "precision",
    "Share of matched pairs whose two latents track the same feature.",
    "|{(i,j) in M: tau_A(i) = tau_B(j) != none}| / |M|",
    chance="about 1/F for random pairs of tracked latents",
    undefined=_NO_MATCH,
)
_explain(
    "recall",
    "Share of the features tracked by both sides that some right pair stands for.",
    "|{tau_A(i): right (i,j) in M}| / |G_A n G_B|",
    undefined="the two sides track no feature in common",
)
_explain(
    "latent_recall",
    "Share of the latents, of either side, with a right partner to be found that got one.",
    "(A latents + B latents in right pairs) / (A latents with tau in G_B + B latents with tau in "
    "G_A); duplicates keep a one-to-one matching below 1",
    undefined="the two sides track no feature in common",
)
_explain(
    "f1",
    "Harmonic mean of precision and recall; 0 where nothing is found of what there is to find.",
    "2 precision recall / (precision + recall)",
    undefined="recall is",
)
_explain(
    "accuracy_given_recovery",
    "Precision over the pairs whose A latent tracks a feature that B tracks too: the matcher "
    "apart from the SAEs.",
    "|right pairs| / |{(i,j) in M: tau_A(i) in G_A n G_B}|",
    undefined="no such pair is matched",
)
_explain(
    "false_universality",
    "Share of matched pairs whose latents track two different features.",
    "|{(i,j) in M: none != tau_A(i) != tau_B(j) != none}| / |M|",
    undefined=_NO_MATCH,
)
_explain(
    "false_universality_kin",
    "The part of false_universality between relatives: ancestor and descendant, or siblings.",
    "as false_universality, for kin in one copy of the forest",
    undefined=_NO_MATCH + ", or no world is given",
)
_explain(
    "false_universality_absorbed",
    "The part of false_universality_kin where either latent is an absorbed parent: it is silent "
    "where a child is on.",
    "as false_universality_kin, with type(i) or type(j) absorbed_parent",
    undefined=_NO_MATCH + ", or no world or no types are given",
)
_explain(
    "false_universality_twin",
    "The part of false_universality between a feature and its twin, which has the same statistics "
    "under another id.",
    "as false_universality, with tau_A(i) = tau_B(j) modulo F_base",
    undefined=_NO_MATCH + ", or no world is given",
)
_explain(
    "false_universality_correlated",
    "The part of false_universality between features that are no relatives but fire together.",
    "as false_universality, not kin or twin, with |corr(z_g, z_h)| > .2",
    undefined=_NO_MATCH + ", or no world or no feature_correlation is given",
)
_explain(
    "false_universality_unrelated",
    "The rest of false_universality: with kin, twin and correlated it adds up to the whole.",
    "false_universality - kin - twin - correlated",
    undefined=_NO_MATCH + ", or no world or no feature_correlation is given",
)
_explain(
    "artefact_rate",
    "Share of matched pairs with at least one latent that tracks no feature.",
    "|{(i,j) in M: tau_A(i) = none or tau_B(j) = none}| / |M|",
    undefined=_NO_MATCH,
)
_explain(
    "shared_artefact_rate",
    "The part of artefact_rate where neither latent tracks a feature: an artefact that looks "
    "reproduced.",
    "|{(i,j) in M: tau_A(i) = tau_B(j) = none}| / |M|",
    undefined=_NO_MATCH,
)
_explain(
    "missed_universality",
    "Share of the features tracked by both sides that the matching does not show.",
    "1 - recall",
    undefined="the two sides track no feature in common",
)
_explain(
    "observed_universality",
    "The share of latents that a reader of the matching would call universal.",
    "|M| / min(alive latents of A, of B)",
    ">= 0; above 1 only for many-to-one matchings",
    chance="whatever the solver and threshold give under a null: always report it",
    undefined="a side has no alive latent",
)
_explain(
    "true_universality",
    "The share of latents that are universal: the largest one-to-one matching of latents that "
    "track the same feature.",
    "sum_g min(latents of A on g, latents of B on g) / min(alive latents of A, of B)",
    chance="0 where no feature is present in both",
    undefined="a side has no alive latent",
)
_explain(
    "metric_bias",
    "How much universality the matching shows beyond what there is.",
    "observed_universality - true_universality",
    ">= -1; 0 is right",
    undefined="a side has no alive latent",
)
_explain(
    "shared_recovery",
    "Share of the features present in both models that both SAEs track.",
    "|G_A n G_B| / |P_A n P_B|",
    chance="shared_recovery_chance",
    undefined="presence is unknown, or nothing is shared",
)
_explain(
    "shared_recovery_chance",
    "shared_recovery if the two sides recovered features independently of each other.",
    "|G_A n P| |G_B n P| / |P|^2 with P = P_A n P_B",
    undefined="presence is unknown, or nothing is shared",
)
_explain(
    "co_recovery_log_odds",
    "Do both SAEs recover the same features, beyond what frequency explains? Log odds ratio over "
    "the features present in both, in ten bins of frequency (Mantel-Haenszel).",
    "log (sum_s both_s neither_s / n_s) / (sum_s only_A_s only_B_s / n_s)",
    "any; 0 where the two recover independently",
    chance="0",
    undefined="presence is unknown, or within each bin a side recovers all or none, or no feature "
    "is missed by one side alone",
)
_explain(
    "true_sharing",
    "Share of all features present in either model that is present in both.",
    "|P_A n P_B| / |P_A u P_B|",
    undefined="presence is unknown, or no feature is present",
)
_LATENTS = "over living latents of both sides"
_explain("n_true_matched", "Latents that track a feature and are matched.", _LATENTS, _COUNT)
_explain("n_true_unmatched", "Latents that track a feature and are not.", _LATENTS, _COUNT)
_explain("n_artefact_matched", "Latents that track nothing and are matched.", _LATENTS, _COUNT)
_explain("n_artefact_unmatched", "Latents that track nothing and are not.", _LATENTS, _COUNT)
_explain(
    "stability_precision",
    "Of the latents that reappear in the other SAE, the share that track a feature.",
    "n_true_matched / (n_true_matched + n_artefact_matched)",
    chance="the share of all living latents that track a feature",
    undefined="no living latent is matched",
)
_explain(
    "stability_recall",
    "Of the latents that track a feature, the share that reappear in the other SAE.",
    "n_true_matched / (n_true_matched + n_true_unmatched)",
    chance="the share of all living latents that are matched",
    undefined="no latent tracks a feature",
)
_explain(
    "artefact_reproduction",
    "Of the latents that track nothing, the share that reappear all the same: consistently wrong.",
    "n_artefact_matched / (n_artefact_matched + n_artefact_unmatched)",
    chance="the same number between unrelated initialisations: report it beside",
    undefined="every living latent tracks a feature, or none is alive",
)
_explain(
    "sharedness_auroc",
    "Does the best score of a latent of A tell whether B has its feature at all?",
    "chance that a latent with tau in P_B has a higher max_j s_ij than one with tau not in P_B",
    chance="1/2",
    undefined="best_a or presence is not given, or all or none of A's tracked features are in B",
)
_explain(
    "sharedness_ap",
    "The same as average precision, latents whose feature B has being the positives.",
    "sum over thresholds of (gain in recall) x precision",
    chance="the share of A's tracked latents whose feature B has",
    undefined="best_a or presence is not given, or all or none of A's tracked features are in B",
)
