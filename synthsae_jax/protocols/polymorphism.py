"""Does one rotation carry an SAE over to another model's activations?"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax import matching, similarity
from synthsae_jax.errors import require
from synthsae_jax.matching import Pipeline, SideInputs
from synthsae_jax.matching.linear_maps import LinearMap
from synthsae_jax.matching.significance import null_values
from synthsae_jax.protocols.base import (
    NAN,
    Context,
    NullStep,
    Numbers,
    Protocol,
    View,
    register_protocol,
)
from synthsae_jax.protocols.reads import assigned_mean
from synthsae_jax.registry import Explanation

_NAMES = ("raw_ev", "aligned_ev", "ceiling_ev", "short_of_ceiling")


def fitted(context: Context) -> LinearMap:
    """The rotation from B's space to A's and both means, from the first half of the tokens."""
    # Half and half: judged on the tokens it was fitted to, a rotation would seem to carry more.
    halves = [np.asarray(x)[: len(x) // 2] for x in context.activations or ()]
    return matching.fit_alignment("procrustes", *halves)


def aligned_sides(a: SideInputs, b: SideInputs, context: Context) -> tuple[SideInputs, SideInputs]:
    """Weights only, B's rotated into A's space."""
    require(context.activations is not None, "polymorphism2026 needs activations of both models.")
    return _turned_sides(a, b, fitted(context))


def _turned_sides(a: SideInputs, b: SideInputs, turn: LinearMap) -> tuple[SideInputs, SideInputs]:
    rows = None if b.encoder is None else turn.encoder_rows(jnp.asarray(b.encoder, jnp.float32))
    moved = turn.decoder_rows(jnp.asarray(b.decoder, jnp.float32))
    return (
        dataclasses.replace(a, latents=None),
        dataclasses.replace(b, latents=None, decoder=moved, encoder=rows),
    )


def explained(view: View) -> Numbers:
    """Explained variance of B's activations on the second half of the tokens.

    `raw_ev`: A's SAE as it is; `aligned_ev`: after the rotation there and back; `ceiling_ev`: B's
    own SAE; `short_of_ceiling`: the difference of the last two.
    """
    return _explained(view.context, fitted(view.context))


def _explained(context: Context, turn: LinearMap) -> Numbers:
    if context.reconstruct is None:
        return {name: (NAN, "needs x -> x_hat of both SAEs") for name in _NAMES}
    activations = context.activations
    assert activations is not None
    x_b = jnp.asarray(activations[1])[len(activations[1]) // 2 :]
    of_a, of_b = context.reconstruct
    one_width = np.shape(activations[0])[1] == x_b.shape[1]
    means = {"mean_b": turn.mean_b, "mean_a": turn.mean_a}
    carried = similarity.carry(x_b, turn.matrix, **means)
    stitched = similarity.stitched_explained_variance(
        x_b,
        raw=of_a(x_b) if one_width else None,
        aligned=of_a(carried),
        own=of_b(x_b),
        rotation=turn.matrix,
        **means,
    )
    raw, aligned, ceiling = (float(stitched[name]) for name in ("raw", "aligned", "ceiling"))
    flat = "the activations do not vary"
    return {
        "raw_ev": (raw, flat if one_width else "the models are of unlike width"),
        "aligned_ev": (aligned, flat),
        "ceiling_ev": (ceiling, flat),
        "short_of_ceiling": (ceiling - aligned, flat),
    }


def _unpaired_tokens(view, names, sides, observe, key, draws):
    """The rotation fitted on tokens whose partners are dealt anew, and all that follows from it.

    A random rotation would not do: a fit to noise still lays the busy directions of one model on
    those of the other, which helps any SAE.
    """
    a, b = sides
    x_a, x_b = (np.asarray(x) for x in view.context.activations)
    half = len(x_b) // 2

    def dealt(key: jax.Array, _: None) -> Context:
        order = np.asarray(jax.random.permutation(key, half))
        mixed = np.concatenate([x_b[:half][order], x_b[half:]])
        return dataclasses.replace(view.context, activations=(x_a, mixed))

    def statistic(_: None, context: Context | None) -> list[float]:
        assert context is not None
        turn = fitted(context)
        moved = _turned_sides(a, b, turn)
        result = view.pipeline.run(*moved)
        again = dataclasses.replace(view, a=moved[0], b=moved[1], context=context, result=result)
        numbers = {**_explained(context, turn), **assigned_mean("aligned_cosine")(again)}
        return [numbers[n][0] for n in judged]

    judged = ("aligned_ev", "aligned_cosine")
    return judged, null_values(statistic, None, None, dealt, key, draws)


register_protocol(
    "polymorphism2026",
    Protocol(
        pipeline=Pipeline(score="decoder_cosine", solver="assignment"),
        reads=(explained, assigned_mean("aligned_cosine")),
        primary="aligned_ev",
        version=2,
        needs=("decoder", "activations"),
        sides=aligned_sides,
        nulls=(NullStep("unpaired_tokens", False, _unpaired_tokens),),
    ),
    Explanation(
        what="A's SAE rebuilds B's activations: as it is, and after the one rotation that best "
        "maps B's activations onto A's (fitted on the first half of the tokens, judged on the "
        "second); beside the explained variance of B's own SAE. `aligned_cosine`: mean decoder "
        "cosine of the best pairing after the rotation.",
        formula="1 - sum |x - x_hat|^2 / sum |x - mean x|^2, x_hat = R'(A(R x))",
        range="(-inf, 1]",
        chance="of a rotation fitted on tokens whose partners are dealt anew: near 0, above it "
        "where both models are busiest in a few directions; that null is ours",
        undefined="no activations of both models on paired tokens, or no x -> x_hat of both SAEs",
        source="arXiv 2605.24577",
    ),
)
