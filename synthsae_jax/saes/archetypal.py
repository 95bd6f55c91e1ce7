"""BatchTopK whose decoder rows lie near the convex hull of fixed anchors."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from synthsae_jax.errors import require
from synthsae_jax.numerics import product, row_norms, unit_rows
from synthsae_jax.registry import Explanation
from synthsae_jax.saes.base import architecture
from synthsae_jax.saes.batchtopk import BatchTopKHyper, batch_rules, check_batch_topk
from synthsae_jax.saes.records import Rules, SAEParams
from synthsae_jax.saes.topk import TopKOptions, reconstruction_terms

Array = jax.Array
FIXED = ("W_dec", "extra/anchors", "extra/relaxation_bound")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArchetypalOptions(TopKOptions):
    n_anchors: int | None = None  # A; None: as many as latents

    def __post_init__(self):
        super().__post_init__()
        require(
            self.n_anchors is None or self.n_anchors >= 1,
            f"n_anchors must be at least 1 or None, got n_anchors={self.n_anchors}.",
        )


@struct.dataclass
class ArchetypalHyper(BatchTopKHyper):
    relaxation_bound: float = 1.0  # float32 []: delta; `init` writes it into the weights


def _check(options: ArchetypalOptions, hyper: ArchetypalHyper) -> None:
    check_batch_topk(options, hyper)
    bound = hyper.relaxation_bound
    require(bound >= 0, f"relaxation_bound must not be negative, got relaxation_bound={bound}.")


@architecture(
    "archetypal",
    Explanation(
        what="BatchTopK whose decoder rows are convex combinations of fixed anchors, plus a step "
        "of bounded length, so that runs which share anchors come to share features.",
        formula="W_dec = M C + R, M [L, A] with rows >= 0 that sum to 1, C [A, D] the anchors, "
        "|R_j| <= relaxation_bound; the rest as in batchtopk",
        source="Fel et al. 2025, arXiv:2502.12892",
    ),
    options=ArchetypalOptions,
    hyper=ArchetypalHyper,
    sparsity="k per batch",
    example={"k": 1.5, "n_anchors": 12},
    check=_check,
    frozen=lambda options: FIXED,
    initial=("relaxation_bound",),
    extra_axes={"mixing": 0, "relaxation": 0, "anchors": None, "relaxation_bound": None},
)
def archetypal(options: ArchetypalOptions) -> Rules:
    """The rules of a relaxed archetypal SAE; with `relaxation_bound` 0 it is archetypal outright.

    `extra` holds "mixing" M, "relaxation" R, "anchors" C and "relaxation_bound" []; M and R train
    and their constraints are put back by `project`, through which gradients pass as if it were
    not there. `W_dec` is made of them: it has no gradient, and `project` keeps it up to date.
    Finalized weights are read by their `W_dec` alone.

    Latent j starts at anchor j, with R = 0 and an encoder along it of norm `decoder_init_norm`.
    Anchors are random unit directions from the init key, so that runs of different seeds have
    independent ones; the paper takes k-means centres of the data: `with_anchors` sets those before
    training. A common learned scale of all rows, which some implementations add, is left out.
    """
    rules = batch_rules(options, reconstruction_terms)
    n_anchors = options.n_anchors or options.d_sae

    def init(key, hyper):
        key_weights, key_anchors = jax.random.split(key)
        anchors = unit_rows(jax.random.normal(key_anchors, (n_anchors, options.d_in)))
        start = jnp.arange(options.d_sae) % n_anchors
        extra = {
            "mixing": jax.nn.one_hot(start, n_anchors, dtype=jnp.float32),
            "relaxation": jnp.zeros((options.d_sae, options.d_in), jnp.float32),
            "anchors": anchors,
            "relaxation_bound": jnp.asarray(hyper.relaxation_bound, jnp.float32),
        }
        params = rules.init(key_weights, hyper).replace(extra=extra)
        return with_anchors(params, anchors)

    def loss(params, *rest):
        return rules.loss(composed(params, straight_through=True), *rest)

    return rules.with_loss(
        loss,
        init=init,
        encode=lambda params, *rest: rules.encode(composed(params), *rest),
        decode=lambda params, *rest: rules.decode(composed(params), *rest),
        train_encode=lambda params, *rest: rules.train_encode(composed(params), *rest),
        finalize=lambda params, *rest: rules.finalize(composed(params), *rest),
        project=composed,
    )


def with_anchors(params: SAEParams, anchors: Array) -> SAEParams:
    """Weights of an archetypal SAE with other anchors `[A, D]`; meant for before training.

    The decoder becomes the same mixture of the new anchors (and the same relaxation), and each
    latent's encoder turns along its new decoder row, with the norm it had.
    """
    extra = params.extra or {}
    require("anchors" in extra, "Only weights of an archetypal SAE have anchors.")
    anchors = jnp.asarray(anchors, jnp.float32)
    shape = extra["anchors"].shape
    require(
        anchors.shape == shape, f"anchors must have shape (A, D) = {shape}, got {anchors.shape}."
    )
    params = composed(params.replace(extra=extra | {"anchors": anchors}))
    norms = row_norms(params.W_enc.T)
    return params.replace(W_enc=(unit_rows(params.W_dec) * norms[:, None]).T)


def composed(params: SAEParams, straight_through: bool = False) -> SAEParams:
    """The weights with M and R within their bounds, and `W_dec` made of them.

    Finalized weights (with a threshold) are returned as they are. With `straight_through` gradients
    reach M and R as if the bounds had not acted; without, a mixing weight at 0 would stay there.
    """
    if params.threshold is not None:
        return params
    extra = params.extra
    fixed = {n: jax.lax.stop_gradient(extra[n]) for n in ("anchors", "relaxation_bound")}
    mixing = _convex(extra["mixing"])
    relaxation = _bounded(extra["relaxation"], fixed["relaxation_bound"])
    if straight_through:
        mixing = _through(extra["mixing"], mixing)
        relaxation = _through(extra["relaxation"], relaxation)
    W_dec = product(mixing, fixed["anchors"]) + relaxation
    return params.replace(
        W_dec=W_dec, extra=extra | {"mixing": mixing, "relaxation": relaxation} | fixed
    )


def _through(free: Array, constrained: Array) -> Array:
    return free + jax.lax.stop_gradient(constrained - free)


def _convex(mixing: Array) -> Array:
    """Rows of weights >= 0 that sum to 1; a row without a positive weight becomes uniform."""
    positive = jax.nn.relu(mixing)
    total = jnp.sum(positive, axis=-1, keepdims=True)
    some = total > 0
    return jnp.where(some, positive / jnp.where(some, total, 1.0), 1.0 / mixing.shape[-1])


def _bounded(relaxation: Array, bound: Array) -> Array:
    """Rows shortened to the bound where they are longer."""
    norms = row_norms(relaxation)
    share = jnp.where(norms > bound, bound / jnp.where(norms > 0, norms, 1.0), 1.0)
    return relaxation * share[:, None]
