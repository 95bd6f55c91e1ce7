"""BatchTopK some of whose weights stay as they were drawn: a floor for what training adds."""

from __future__ import annotations

import dataclasses

import jax

from synthsae_jax.errors import check_choice, require
from synthsae_jax.registry import Explanation
from synthsae_jax.saes.base import architecture
from synthsae_jax.saes.batchtopk import BatchTopKHyper, batch_rules, check_batch_topk
from synthsae_jax.saes.records import Rules
from synthsae_jax.saes.topk import TopKOptions, reconstruction_terms

WEIGHTS = ("W_enc", "b_enc", "W_dec", "b_dec")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrozenOptions(TopKOptions):
    frozen_weights: tuple[str, ...] = ("W_dec",)  # some of `WEIGHTS`

    def __post_init__(self):
        super().__post_init__()
        for name in self.frozen_weights:
            check_choice("weight in frozen_weights", name, WEIGHTS)
        require(
            len(set(self.frozen_weights)) == len(self.frozen_weights),
            f"frozen_weights must name each weight once, got {self.frozen_weights}.",
        )


@architecture(
    "frozen",
    Explanation(
        what="BatchTopK with some weights left at their random start: by default the decoder, "
        "with all four only the threshold is learned.",
        formula="as batchtopk, the gradient of frozen_weights set to 0",
        source="frozen baselines: Korznikov et al. 2026, arXiv:2602.14111",
    ),
    options=FrozenOptions,
    hyper=BatchTopKHyper,
    sparsity="k per batch",
    example={"k": 4.0},
    check=check_batch_topk,
    frozen=lambda options: options.frozen_weights,
    probe_mcc=0.5,  # the decoder is random and stays so
)
def frozen(options: FrozenOptions) -> Rules:
    """The rules of a BatchTopK SAE with frozen weights. `finalize` folds decoder norms as usual."""
    rules = batch_rules(options, reconstruction_terms)

    def loss(params, *rest):
        fixed = {name: getattr(params, name) for name in options.frozen_weights}
        return rules.loss(params.replace(**jax.lax.stop_gradient(fixed)), *rest)

    return rules.with_loss(loss)
