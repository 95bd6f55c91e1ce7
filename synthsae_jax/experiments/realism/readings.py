"""What realism@1 reads off SAEs on tokens: fit, probes, other encoders, other models."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from synthsae_jax import keys, metrics, similarity, worlds
from synthsae_jax.experiments.realism import numbers
from synthsae_jax.matching import TruthSweep
from synthsae_jax.protocols import Context, protocols
from synthsae_jax.protocols.lan import kept
from synthsae_jax.protocols.run import run_recipe
from synthsae_jax.suite import pairs
from synthsae_jax.suite.probes import sparse_probes
from synthsae_jax.suite.pursuit import pursued
from synthsae_jax.suite.study import (
    Pair,
    Reading,
    Study,
    Subject,
    measure_numbers,
    read_codes,
    read_latents,
)
from synthsae_jax.worlds import Instance, World
from synthsae_jax.worlds.family import Condition, Family, plain_view

Csr = sparse.csr_matrix
ROTATED = "same geometry"
# what the second model shares: part of every setting, since nobody knows it of language models
MODELS = (
    Condition(ROTATED, shared=1.0, sharing=1.0),
    Condition("own geometry", shared=1.0),
    Condition("half of the features, own geometry", shared=0.5),
)
SPARSE_PROBES = (1, 5)
_DENSE_TOKENS = 65_536  # the most that are made dense at once
_SIDE_TOKENS = 8192  # of pairs, where filters read codes that are dense


def activations(codes: Csr, view: Instance) -> np.ndarray:
    """What a model's activations [n, D] are on true codes [n, F]; models here have no noise."""
    return codes @ np.asarray(view.dictionary) + np.asarray(view.bias)


@dataclasses.dataclass(frozen=True)
class Stream:
    """The tokens on which SAEs on A are read: true codes [n, F] and activations [n, D]."""

    study: Study
    world: World
    codes: Csr
    x: np.ndarray

    def read(self, subject: Subject) -> Csr:
        """Codes of an SAE on them."""
        n, seed = self.study.n_match, self.study.number(0)
        return read_latents(subject, self.world, n, seed, "calibrate")

    def fit(self, subject: Subject, latents: Csr) -> dict[str, float]:
        """F1, EV and L0 as SynthSAEBench has them, on the first tokens."""
        features = subject.instance.dictionary
        dense, true = (m[:_DENSE_TOKENS].toarray() for m in (latents, self.codes))
        x = jnp.asarray(self.x[:_DENSE_TOKENS])
        decoder = jnp.asarray(subject.decoder)
        x_hat = dense @ subject.decoder + np.asarray(subject.run[0].b_dec)
        found = metrics.classification(dense, true, decoder, features)
        return {
            "f1": found["f1"],
            "explained_variance": metrics.explained_variance(x, x_hat),
            "l0": metrics.l0(jnp.asarray(dense)),
        }


def probe_numbers(
    stream: Stream, read: Mapping[str, tuple[Subject, Csr]], ids: np.ndarray
) -> dict[str, dict[str, float]]:
    """F1 of probes on a few latents of each SAE, and of one on all dimensions of the model."""
    on = stream.codes[:_DENSE_TOKENS, ids].toarray() != 0
    mean = lambda latents, k: float(np.mean(sparse_probes(latents[:_DENSE_TOKENS], on, k)))
    found = {
        name: {f"probe_k{k}": mean(latents, k) for k in SPARSE_PROBES}
        for name, (_, latents) in read.items()
    }
    x = sparse.csr_matrix(stream.x)
    return {**found, "supervised": {"probe": mean(x, x.shape[1])}}


def swapped_numbers(stream: Stream, subject: Subject, latents: Csr, k: int) -> dict[str, float]:
    """One dictionary under two encoders: which latents fire, and how far one code gives the other.

    Latent i is latent i. R^2 is of the linear map from the SAE's codes to the pursuit's.
    """
    other = stream.read(pursued(subject, k, stream.study.config))
    a, b = (m[:_SIDE_TOKENS].toarray() for m in (latents, other))
    r2, _ = similarity.evaluate("linear_predictivity", a, b, ridge=1e-4)
    return {
        "support_jaccard": float(similarity.support_jaccard(a, b, np.arange(a.shape[1]))),
        "linear_r2": float(r2),
    }


def across_numbers(
    study: Study, models: Family, own: Subject, others: Sequence[Subject]
) -> Iterator[tuple[str, dict[str, float]]]:
    """What arXiv 2410.06981 says of the SAE on A beside that on each B, by name of the condition.

    SVCCA and RSA are of all pairs that correlate above .1, one to one: what the filters of tokens
    leave of so few latents is too little for them.
    """
    # all conditions couple twins alike, so A is read once
    world, seed, n = models.registry("factors"), study.number(0), study.n_match
    codes = read_codes(models.reference, world, n, seed, "match")[:_SIDE_TOKENS]
    context = _labelled(models.base, codes)

    def reading(subject: Subject, instance: Any) -> Reading:
        here = dataclasses.replace(subject, instance=instance)
        nothing = TruthSweep((), np.empty((0, len(subject.decoder)), np.int32))
        return Reading(here, read_latents(here, world, n, seed, "match"), nothing)

    a = reading(own, models.reference)
    for i, condition in enumerate(models.conditions):
        pair = Pair(a, reading(others[i], models.partner(i)), models.base)
        measured = measure_numbers(pair, ("svcca_rank1", "rsa"))
        found = {v.variant: v.value for v in measured if "/" not in v.variant}
        r = np.asarray(pair.counts.score("activation_pearson"))
        found["mean_best_r"] = numbers.best_correlation(r)
        yield condition.name, {**found, "kept": _kept(pair, context, seed)}


def _labelled(world: World, codes: Csr) -> Context:
    """A token's string is its dominant feature; those on the stop-list are the most frequent 1 %.

    A twin stands for the same string as its feature.
    """
    rates = worlds.expected_rates(world)
    n_stop = math.ceil(0.01 * rates.size)
    labels = np.asarray(codes.argmax(1)).ravel() % rates.size
    return Context(labels=labels, stop=tuple(np.argsort(-rates)[:n_stop].tolist()))


def _kept(pair: Pair, context: Context, seed: int) -> float:
    """Share of B's latents that the published filters leave."""
    published = dataclasses.replace(protocols["lan2024"], reads=(kept,), primary="kept", nulls=())
    a, b = (side.side(_SIDE_TOKENS) for side in (pair.a, pair.b))
    key = keys.null_key(seed)
    return run_recipe("lan2024", published, a, b, key=key, draws=0, context=context).value


def carried_numbers(
    study: Study, models: Family, own: Subject, others: Sequence[Subject]
) -> dict[str, dict[str, float]]:
    """EV of A's SAE on the activations of the rotated B, as they are and turned into A's space."""
    i = [condition.name for condition in models.conditions].index(ROTATED)
    a, b = plain_view(models.reference), plain_view(models.partner(i))
    world, seed = models.base, study.number(0)
    xs = []
    for view in (a, b):
        codes = read_codes(view, world, _SIDE_TOKENS, seed, "match")
        xs.append(activations(codes, view))
    turn = np.asarray(pairs.rotation(world, a, b, _SIDE_TOKENS, seed))
    turned = (xs[1] - xs[1].mean(0)) @ turn + xs[0].mean(0)
    raw = _explained(own, xs[1])
    after, ceiling = _explained(own, turned), _explained(others[i], xs[1])
    return {"raw": {"ev_across": raw}, "turned": {"ev_across": after, "ev_lost": ceiling - after}}


def _explained(subject: Subject, x: np.ndarray) -> float:
    given = jnp.asarray(x, jnp.float32)
    return metrics.explained_variance(given, _rebuilt(subject.reconstruct, subject.run, given))


@functools.partial(jax.jit, static_argnums=0)
def _rebuilt(reconstruct: Any, run: Any, x: jax.Array) -> jax.Array:
    return reconstruct(run, None, x)[1]
