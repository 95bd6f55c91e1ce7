"""What realism@1 reads off SAEs on tokens: fit, probes, other encoders, other models."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from synthsae_jax import keys, metrics, similarity, worlds
from synthsae_jax.experiments.realism import numbers
from synthsae_jax.experiments.realism.setting import ROTATED
from synthsae_jax.matching import TruthSweep
from synthsae_jax.protocols import Context as Labels
from synthsae_jax.protocols import protocols
from synthsae_jax.protocols.lan import kept
from synthsae_jax.protocols.run import run_recipe
from synthsae_jax.suite import pairs
from synthsae_jax.suite.context import Context
from synthsae_jax.suite.pair import Pair, measure_numbers
from synthsae_jax.suite.probes import sparse_probes
from synthsae_jax.suite.pursuit import pursued
from synthsae_jax.suite.reading import Csr, Reading, Subject, read_codes, read_latents
from synthsae_jax.worlds import Instance, World
from synthsae_jax.worlds.family import Family, plain_view

Valued = Mapping[str, tuple[float, str]]  # metric -> its value, and why it is undefined where it is
_DENSE_TOKENS = 65_536  # the most that are made dense at once
_SIDE_TOKENS = 8192  # of pairs, where filters read codes that are dense
_CONSTANT = "the activations do not vary"
_WHY = {**numbers.WHY, "explained_variance": _CONSTANT}


def valued(values: Mapping[str, float]) -> Valued:
    """Each value with the reason for which it may be undefined."""
    return {metric: (value, _WHY.get(metric, "")) for metric, value in values.items()}


def undefined(names: Iterable[str], why: str) -> Valued:
    """These numbers, undefined for one reason."""
    return dict.fromkeys(names, (math.nan, why))


def activations(codes: Csr, view: Instance) -> np.ndarray:
    """What a model's activations [n, D] are on true codes [n, F]; models here have no noise."""
    return codes @ np.asarray(view.dictionary) + np.asarray(view.bias)


@dataclasses.dataclass(frozen=True)
class Stream:
    """The tokens on which SAEs on A are read: true codes [n, F] and activations [n, D]."""

    context: Context
    world: World
    codes: Csr
    x: np.ndarray

    def read(self, subject: Subject) -> Csr:
        """Codes of an SAE on them."""
        n, seed = self.context.n_match, self.context.number(0)
        return read_latents(subject, self.world, n, seed, "calibrate")

    def fit(self, subject: Subject, latents: Csr) -> dict[str, float]:
        """F1, EV and L0 as SynthSAEBench has them, on the first tokens."""
        features = subject.instance.dictionary
        dense, true = (m[:_DENSE_TOKENS].toarray() for m in (latents, self.codes))
        x = jnp.asarray(self.x[:_DENSE_TOKENS])
        decoder = jnp.asarray(subject.decoder)
        x_hat = dense @ subject.decoder + np.asarray(subject.run[0].b_dec)
        return {
            "f1": metrics.classification(dense, true, decoder, features)["f1"],
            "explained_variance": metrics.explained_variance(x, x_hat),
            "l0": metrics.l0(jnp.asarray(dense)),
        }

    def probe(self, latents: Csr, ids: np.ndarray, k: int) -> float:
        """Mean F1 of probes for these features on k latents each."""
        on = self.codes[:_DENSE_TOKENS, ids].toarray() != 0
        return float(np.mean(sparse_probes(latents[:_DENSE_TOKENS], on, k)))

    def supervised(self, ids: np.ndarray) -> float:
        """The same on all dimensions of the activations."""
        x = sparse.csr_matrix(self.x)
        return self.probe(x, ids, x.shape[1])

    def swapped(self, subject: Subject, latents: Csr, k: int) -> Valued:
        """One dictionary, two encoders: which latents fire, how far one code gives the other.

        Latent i is latent i. R^2 is of the linear map from the SAE's codes to those of matching
        pursuit. The scores that architectures@1 has besides would take longer to compile than all
        else here.
        """
        other = self.read(pursued(subject, k, self.context.config))
        a, b = (m[:_SIDE_TOKENS].toarray() for m in (latents, other))
        jaccard = float(similarity.support_jaccard(a, b, np.arange(a.shape[1])))
        r2, why = similarity.measure_with_reason("linear_predictivity", a, b, ridge=1e-4)
        return {
            "support_jaccard": (jaccard, "no latent fires"),
            "linear_r2": (float(r2), why or ""),
        }


class Beside:
    """The SAE on A beside the one on each B, on paired tokens."""

    def __init__(self, context: Context, models: Family, on_a: Subject, on_b: Sequence[Subject]):
        self._context, self._models, self._on_a, self._on_b = context, models, on_a, on_b
        # all conditions couple twins alike, so A is read once
        self._world, self._seed = models.registry("factors"), context.number(0)

    @property
    def rotated(self) -> int:
        """Number of the B whose directions are those of A, rotated."""
        return [condition.name for condition in self._models.conditions].index(ROTATED)

    def numbers(self, i: int) -> Valued:
        """What arXiv 2410.06981 says of A's SAE beside that on B number i.

        SVCCA and RSA are of all pairs that correlate above .1, one to one: what the filters of
        tokens leave of so few latents is too little for them.
        """
        b = self._reading(self._on_b[i], self._models.partner(i))
        pair = Pair(self._reading_of_a, b, self._models.base)
        measured = measure_numbers(pair, ("svcca_rank1", "rsa"))
        r = np.asarray(pair.counts.score("activation_pearson"))
        return {
            **{v.variant: (v.value, v.reason) for v in measured if "/" not in v.variant},
            "mean_best_r": (numbers.best_correlation(r), "no latent fires on both models"),
            "kept": self._mean_kept(pair),
        }

    def raw(self) -> Valued:
        """EV of A's SAE on the activations of the rotated B as they are."""
        return {"ev_across": (_explained(self._on_a, self._activations[1]), _CONSTANT)}

    def turned(self) -> Valued:
        """What is lost on the rotated B by A's SAE, on activations turned into A's space."""
        of_a, of_b = self._activations
        views = self._views
        turn = np.asarray(pairs.rotation(self._models.base, *views, _SIDE_TOKENS, self._seed))
        turned = (of_b - of_b.mean(0)) @ turn + of_a.mean(0)
        ceiling = _explained(self._on_b[self.rotated], of_b)
        return {"ev_lost": (ceiling - _explained(self._on_a, turned), _CONSTANT)}

    @functools.cached_property
    def _views(self) -> tuple[Instance, Instance]:
        members = self._models.reference, self._models.partner(self.rotated)
        return plain_view(members[0]), plain_view(members[1])

    @functools.cached_property
    def _activations(self) -> tuple[np.ndarray, np.ndarray]:
        a, b = (
            activations(read_codes(v, self._models.base, _SIDE_TOKENS, self._seed, "match"), v)
            for v in self._views
        )
        return a, b

    @functools.cached_property
    def _reading_of_a(self) -> Reading:
        return self._reading(self._on_a, self._models.reference)

    def _reading(self, subject: Subject, instance: Instance) -> Reading:
        subject = dataclasses.replace(subject, instance=instance)
        nothing = TruthSweep((), np.empty((0, len(subject.decoder)), np.int32))
        n = self._context.n_match
        return Reading(subject, read_latents(subject, self._world, n, self._seed, "match"), nothing)

    @functools.cached_property
    def _labels(self) -> Labels:
        """A token's string is its dominant feature; the most frequent 1 % are the stop-list.

        A twin stands for the same string as its feature.
        """
        n, seed = self._context.n_match, self._seed
        codes = read_codes(self._models.reference, self._world, n, seed, "match")[:_SIDE_TOKENS]
        rates = worlds.expected_rates(self._models.base)
        n_stop = math.ceil(0.01 * rates.size)
        labels = np.asarray(codes.argmax(1)).ravel() % rates.size
        return Labels(labels=labels, stop=tuple(np.argsort(-rates)[:n_stop].tolist()))

    def _mean_kept(self, pair: Pair) -> tuple[float, str]:
        """Share of B's latents that the published filters leave."""
        published = dataclasses.replace(
            protocols["lan2024"], reads=(kept,), primary="kept", nulls=()
        )
        a, b = (side.side(_SIDE_TOKENS) for side in (pair.a, pair.b))
        key = keys.null_key(self._seed)
        result = run_recipe("lan2024", published, a, b, key=key, draws=0, context=self._labels)
        return result.value, result.reasons.get("kept", "")


def _explained(subject: Subject, x: np.ndarray) -> float:
    inputs = jnp.asarray(x, jnp.float32)
    return metrics.explained_variance(inputs, _rebuilt(subject.reconstruct, subject.run, inputs))


@functools.partial(jax.jit, static_argnums=0)
def _rebuilt(reconstruct: Any, run: Any, x: jax.Array) -> jax.Array:
    return reconstruct(run, None, x)[1]
