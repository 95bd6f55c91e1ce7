"""What SAEs do on a stream of tokens: read once into sparse codes on the host, compared often."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from synthsae_jax.matching import SideInputs, TruthSweep
from synthsae_jax.matching.truth import truth_inputs
from synthsae_jax.matching.truth_methods import (
    TruthInputs,
    TruthRule,
    decide,
    find_candidates,
    needed_inputs,
)
from synthsae_jax.matching.truth_sweep import THRESHOLDS, truth_sweep
from synthsae_jax.metrics.evaluate import Reconstructor
from synthsae_jax.numerics import firings, is_alive
from synthsae_jax.suite import pairs
from synthsae_jax.suite.evidence import causal_evidence, code_evidence, firing_evidence
from synthsae_jax.worlds import Instance, World, see
from synthsae_jax.worlds.inputs import bare

Array = jax.Array
Csr = sparse.csr_matrix
# cosine .7 and F1 .5, while a setting of the sweep has one number for both
DEFAULT_TRUTH = ("default", 0.7)
# the default, then every method at every threshold: the band that stands beside it (PROTOCOL 3)
METHODS = ("geometric", "functional", "agree", "code", "causal", "absorption_aware")
_CAUSAL_TOKENS = 32


@dataclasses.dataclass(frozen=True)
class Subject:
    """One SAE on one instance: what is read. `run` has no leading axes."""

    label: str
    reconstruct: Any  # static: (run, codes, x) -> (latents, x_hat)
    run: Any
    instance: Instance
    decoder: np.ndarray  # [L, D]
    encoder: np.ndarray | None  # [L, D], directions as rows

    def with_weights(self, params: Any) -> Subject:
        """The same SAE with other finalized weights, such as those of a snapshot."""
        decoder, encoder = _directions(params)
        run = (params, *self.run[1:])
        return dataclasses.replace(self, run=run, decoder=decoder, encoder=encoder)


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a subject does on some tokens, and which features its latents track."""

    subject: Subject
    latents: Csr  # float32 [n, L]
    truth: TruthSweep

    @property
    def alive(self) -> np.ndarray:
        """bool [L]: latents that fire on these tokens."""
        return is_alive(firings(self.latents))

    @property
    def tracked(self) -> np.ndarray:
        """int [L]: the default truth map."""
        return self.truth.of(*DEFAULT_TRUTH)

    def side(self, n_tokens: int | None = None) -> SideInputs:
        """What matching may see of it, on the first tokens; dense."""
        codes = self.latents if n_tokens is None else self.latents[:n_tokens]
        return SideInputs(
            latents=codes.toarray(), decoder=self.subject.decoder, encoder=self.subject.encoder
        )


def subjects(label: str, result: Any, instances: Sequence[Instance]) -> list[list[Subject]]:
    """The runs of a `TrainResult` with axes [I, R], under the inference rule: [I][R]."""
    reconstruct = Reconstructor(result.sae.static, "inference")
    runs = jax.tree.map(np.asarray, (result.params, result.hyper, result.state.carried))
    members = []
    for i, instance in enumerate(instances):
        row = []
        for r in range(result.params.W_dec.shape[1]):
            run = jax.tree.map(lambda leaf, i=i, r=r: leaf[i, r], runs)
            row.append(Subject(label, reconstruct, run, instance, *_directions(run[0])))
        members.append(row)
    return members


def _directions(params: Any) -> tuple[np.ndarray, np.ndarray | None]:
    encoder = getattr(params, "W_enc", None)
    return np.asarray(params.W_dec), None if encoder is None else np.asarray(encoder).T


def read_latents(subject: Subject, world: World, n: int, seed: int, stream: str) -> Csr:
    """Codes `[n, L]` of a subject on the first tokens of a stream; whole blocks of 8,192."""
    instance = bare(subject.instance)
    blocks = []
    for key, parents in pairs.parent_codes(bare(world), n, seed, stream):
        dense = _latents(subject.reconstruct, key, parents, instance, subject.run)
        blocks.append(sparse.csr_matrix(np.asarray(dense)))
    return cast(Csr, sparse.vstack(blocks, format="csr"))


def read_codes(instance: Instance, world: World, n: int, seed: int, stream: str) -> Csr:
    """True codes `[n, F]` of an instance on the same tokens."""
    instance = bare(instance)
    blocks = []
    for key, parents in pairs.parent_codes(bare(world), n, seed, stream):
        codes = _codes(key, parents, instance)
        ids, values = (np.asarray(v).reshape(-1, v.shape[-1]) for v in codes)
        row, slot = np.nonzero(values)
        shape = (ids.shape[0], world.n_features)
        blocks.append(sparse.csr_matrix((values[row, slot], (row, ids[row, slot])), shape))
    return cast(Csr, sparse.vstack(blocks, format="csr"))


def read(
    subject: Subject,
    world: World,
    n: int,
    seed: int,
    *,
    truth: TruthSweep | None = None,
) -> Reading:
    """A subject on the match stream, with its truth from the truth stream (or as given)."""
    if truth is None:
        truth = read_truth(subject, world, n, seed)
    return Reading(subject, read_latents(subject, world, n, seed, "match"), truth)


def read_truth(
    subject: Subject,
    world: World,
    n: int,
    seed: int,
    methods: Sequence[str] = METHODS,
    thresholds: Sequence[float] = THRESHOLDS,
) -> TruthSweep:
    """Which features the latents track: by default, then by each method at each threshold.

    Only evidence that these methods need is read.
    """
    codes = read_codes(subject.instance, world, n, seed, "truth")
    inputs = truth_evidence(subject, world, codes, seed, methods)
    sweep = truth_sweep(inputs, methods, thresholds)
    candidates = find_candidates(inputs, ("agree",))
    default = np.asarray(decide("agree", candidates, TruthRule(), inputs))
    return TruthSweep((DEFAULT_TRUTH, *sweep.settings), np.stack([default, *sweep.maps]))


def truth_evidence(
    subject: Subject, world: World, codes: Csr, seed: int, methods: Sequence[str] = METHODS
) -> TruthInputs:
    """What these methods look at; `codes [n, F]` are the true ones of the truth stream."""
    instance = subject.instance
    needed = {name for method in methods for name in needed_inputs(method)}
    latents = read_latents(subject, world, codes.shape[0], seed, "truth")
    counts, with_child = firing_evidence(latents, codes, np.asarray(world.forest.parent))
    more: dict[str, Any] = {"with_child": with_child}
    if {"moments", "feature_correlation"} & needed:
        moments, among = code_evidence(latents, codes)
        more |= {"moments": moments, "feature_correlation": jnp.asarray(among)}
    if "causal" in needed:
        more["causal"] = causal_evidence(
            subject.reconstruct, subject.run, instance, codes, _CAUSAL_TOKENS
        )
    return truth_inputs(
        subject.decoder, counts, instance.dictionary, present=instance.present, **more
    )


@functools.partial(jax.jit, static_argnums=0)
def _latents(reconstruct, key, parents, instance, run):
    def batch(inputs):
        i, parent = inputs
        codes, x = see(jax.random.fold_in(key, i), instance, parent)
        return reconstruct(run, codes, x)[0]

    n_batches = parents.values.shape[0]
    latents = jax.lax.map(batch, (jnp.arange(n_batches), parents))
    return latents.reshape(-1, latents.shape[-1])


@jax.jit
def _codes(key, parents, instance):
    def batch(inputs):
        i, parent = inputs
        codes, _ = see(jax.random.fold_in(key, i), instance, parent)
        return codes.indices, codes.values

    return jax.lax.map(batch, (jnp.arange(parents.values.shape[0]), parents))
