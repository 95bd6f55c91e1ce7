"""What each metric means, for `synthsae explain`. The tests hold this list against the metrics."""

from __future__ import annotations

from synthsae_jax.registry import Explanation, explain_metric

_BENCH = "SynthSAEBench, arXiv 2602.14687"
_DEAD = "an undefined ratio is 0, so a dead latent scores 0; NaN without samples"
_RATES = "p: rate of the target feature, q: rate of the latent"

explain_metric(
    "mcc",
    Explanation(
        what="Mean absolute cosine of the best one-to-one pairing of latents and true features.",
        formula="max over pairings of sum |cos(w_i, d_g)| / min(L, F)",
        range="[0, 1]",
        chance="metrics.random_mcc: .148 for 4,096 latents, 16,384 features, 768 dimensions; far "
        "higher in few dimensions",
        undefined="NaN where the decoder is not finite",
        source=_BENCH,
    ),
)
explain_metric(
    "uniqueness",
    Explanation(
        what="Share of distinct features among the latents' nearest ones. Dead latents count.",
        formula="#{argmax_g |cos(w_i, d_g)| : i} / L",
        range="(0, 1]",
        chance="metrics.uniqueness_chance: (F/L)(1 - (1 - 1/F)^L), .885 at 4,096 of 16,384",
        undefined="NaN where the decoder is not finite",
        source=_BENCH,
    ),
)
explain_metric(
    "precision",
    Explanation(
        what="How often a latent's target feature is active when the latent fires; mean over "
        "latents. The target is the feature nearest to the decoder row.",
        formula="mean_i TP_i / (TP_i + FP_i)",
        range="[0, 1]",
        chance=f"p ({_RATES})",
        undefined=_DEAD,
        source=_BENCH,
    ),
)
explain_metric(
    "recall",
    Explanation(
        what="How often a latent fires when its target feature is active; mean over latents.",
        formula="mean_i TP_i / (TP_i + FN_i)",
        range="[0, 1]",
        chance=f"q ({_RATES})",
        undefined=_DEAD,
        source=_BENCH,
    ),
)
explain_metric(
    "f1",
    Explanation(
        what="F1 of a latent as a detector of its target feature; mean over latents, which is not "
        "the F1 of the mean precision and recall.",
        formula="mean_i 2 TP_i / (2 TP_i + FP_i + FN_i)",
        range="[0, 1]",
        chance=f"2pq / (p + q) ({_RATES})",
        undefined=_DEAD,
        source=_BENCH,
    ),
)
explain_metric(
    "accuracy",
    Explanation(
        what="How often a latent and its target feature agree on firing; mean over latents. Near "
        "1 for anything sparse: read F1 instead.",
        formula="mean_i (TP_i + TN_i) / n",
        range="[0, 1]",
        chance=f"pq + (1 - p)(1 - q) ({_RATES})",
        undefined="NaN without samples",
        source=_BENCH,
    ),
)
explain_metric(
    "explained_variance",
    Explanation(
        what="Share of the inputs' variance that the reconstruction accounts for. More of it is "
        "not better recovery: it can be bought by fitting interference.",
        formula="1 - E|x - x_hat|^2 / (E|x|^2 - |E x|^2)",
        range="(-inf, 1]",
        chance="0 for predicting the mean",
        undefined="NaN where the inputs do not vary",
        source=_BENCH,
    ),
)
explain_metric(
    "shrinkage",
    Explanation(
        what="Mean ratio of the reconstruction's length to the input's; below 1 the code is too "
        "small.",
        formula="mean of |x_hat| / |x| over samples with |x| > 1e-6",
        range="[0, inf), 1 is right",
        undefined="NaN where no input is that long",
        source=_BENCH,
    ),
)
explain_metric(
    "dead_latents",
    Explanation(
        what="How many latents fire on no evaluation sample. Falls with the number of samples.",
        formula="#{i : z_i = 0 on all n}",
        range="0..L",
        chance="a latent that fires at rate q looks dead with probability (1 - q)^n",
        source=_BENCH,
    ),
)
explain_metric(
    "l0",
    Explanation(
        what="Mean number of latents that fire per sample.",
        formula="E #{i : z_i != 0}",
        range="0..L",
        undefined="NaN without samples",
        source=_BENCH,
    ),
)
explain_metric(
    "true_l0",
    Explanation(
        what="Mean number of true features that are active per sample, as the instance has them.",
        formula="E #{g : a_g != 0}",
        range="0..F",
        undefined="NaN without samples",
        source=_BENCH,
    ),
)
