"""Decompositions that are no SAEs, as SAEs: floors of comparison, fitted to training samples."""

from __future__ import annotations

import dataclasses
import importlib
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.errors import ConfigError, require
from synthsae_jax.metrics.samples import samples
from synthsae_jax.modes import fixed
from synthsae_jax.registry import Explanation, Registry
from synthsae_jax.saes import SAE, Options, Rules, SAEParams
from synthsae_jax.saes.records import NoNumbers, no_state
from synthsae_jax.saes.refinements import pursue
from synthsae_jax.saes.select import top_k_mask
from synthsae_jax.worlds.records import Instance, World

Array = jax.Array
# (centred samples [n, D], d_sae, seed) -> (analysis [D, L] or None, directions [L, D])
Fit = Callable[[np.ndarray, int, int], tuple[np.ndarray | None, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A decomposition: how it is fitted, and how it encodes."""

    fit: Fit
    linear: bool  # codes are a linear map of the input; else a pursuit finds k of them


baselines: Registry[Baseline] = Registry("baseline")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaselineOptions(Options):
    """What a baseline encodes by."""

    k: int | None  # codes kept of each sample; None: all
    linear: bool


@fixed
def fit_baseline(
    name: str,
    world: World,
    instance: Instance,
    d_sae: int,
    k: int | None = None,
    n_samples: int = 50_000,
    seed: int = 0,
) -> tuple[SAE, SAEParams]:
    """A baseline fitted to training samples, as an SAE and its weights, ready for `evaluate`.

    Names: "pca", "ica", "dictionary_learning"; all but "pca" need scikit-learn (the extra
    `baselines`). `b_dec` is the samples' mean, rows of `W_dec` have norm 1, and codes are signed
    lengths along them; a latent fires where its code is not 0. "pca" and "ica" have at most D
    directions; the k largest codes by size are kept, or all of them without k. For
    "dictionary_learning" k is needed: k codes are found by orthogonal matching pursuit.

    The samples are the first of the stream that `training.train` reads at this data seed; none is
    evaluated on. The SAE encodes and decodes, and can't be trained.
    """
    entry = baselines[name]
    d_in = instance.dictionary.shape[-1]
    limit = d_in if entry.linear else n_samples
    require(
        1 <= d_sae <= limit,
        f"baseline {name!r} has 1 to {limit} latents here, got d_sae={d_sae}.",
    )
    require(
        n_samples > d_sae,
        f"baseline {name!r} needs more samples than latents, got n_samples={n_samples}, "
        f"d_sae={d_sae}.",
    )
    most = d_sae if entry.linear else min(d_sae, d_in)
    needed = "" if entry.linear else f" for baseline {name!r}, which chooses k codes"
    require(
        (entry.linear and k is None) or (isinstance(k, int | np.integer) and 1 <= k <= most),
        f"k must be a whole number from 1 to {most}{needed}, got k={k}.",
    )
    x, _, _ = samples(world, instance, n_samples, seed, "train")
    x = x.astype(np.float64)
    mean = x.mean(axis=0)
    analysis, directions = entry.fit(x - mean[None], d_sae, seed)
    norms = np.linalg.norm(directions, axis=1)
    rows = directions / np.where(norms > 0, norms, 1)[:, None]
    params = SAEParams(
        W_enc=None if analysis is None else jnp.asarray(analysis * norms[None], jnp.float32),
        W_dec=jnp.asarray(rows, jnp.float32),
        b_dec=jnp.asarray(mean, jnp.float32),
    )
    options = BaselineOptions(d_in=d_in, d_sae=d_sae, k=k and int(k), linear=entry.linear)
    return SAE(name=name, options=options, factory=_rules, hyper=NoNumbers()), params


def _rules(options: BaselineOptions) -> Rules:
    def encode(params, x, hyper):
        centred = x - params.b_dec[None]
        if not options.linear:
            return pursue(centred, params.W_dec, options.k, signed=True)
        latents = jnp.matmul(centred, params.W_enc, precision=jax.lax.Precision.HIGHEST)
        if options.k is None:
            return latents
        return jnp.where(top_k_mask(jnp.abs(latents), options.k), latents, 0.0)

    def decode(params, latents):
        x_hat = jnp.matmul(latents, params.W_dec, precision=jax.lax.Precision.HIGHEST)
        return x_hat + params.b_dec[None]

    def train_encode(params, x, hyper, state):
        return encode(params, x, hyper)

    def finalize(params, state):
        return params

    return Rules(_untrainable, encode, decode, train_encode, _untrainable, no_state, finalize)


def _untrainable(*args):
    raise ConfigError("A baseline is fitted by metrics.fit_baseline, not initialised or trained.")


class MissingLibrary(ConfigError):
    """A library that only some methods need is not installed."""


def scikit_learn(module: str, what: str) -> ModuleType:
    """The module `sklearn.<module>`; `MissingLibrary` says what to install for `what`."""
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ModuleNotFoundError:
        raise MissingLibrary(
            f"{what} needs scikit-learn; install it with: pip install 'synthsae-jax[baselines]'."
        ) from None


def _register(name: str, explanation: Explanation, *, linear: bool) -> Callable[[Fit], Fit]:
    def add(fit: Fit) -> Fit:
        baselines.register(name, explanation)(Baseline(fit, linear))
        return fit

    return add


@_register(
    "pca",
    Explanation(
        what="Directions of largest variance; codes are signed projections.",
        formula="eigenvectors of the samples' covariance, largest eigenvalues first",
        source="Pearson 1901; beside SAEs: Cunningham et al. 2023, arXiv:2309.08600",
    ),
    linear=True,
)
def _pca(x: np.ndarray, d_sae: int, seed: int) -> tuple[Any, np.ndarray]:
    # D x D in float64 instead of the SVD of the samples, which would hold them twice.
    _, vectors = np.linalg.eigh(x.T @ x)
    directions = vectors[:, ::-1][:, :d_sae].T
    return directions.T, directions


@_register(
    "ica",
    Explanation(
        what="Directions whose codes are as independent (far from normal) as can be; codes are "
        "signed and linear in the input.",
        formula="FastICA after whitening on d_sae principal components",
        source="Hyvarinen 1999, by scikit-learn; with SAEs: Cunningham et al., arXiv:2309.08600",
    ),
    linear=True,
)
def _ica(x: np.ndarray, d_sae: int, seed: int) -> tuple[Any, np.ndarray]:
    decomposition = scikit_learn("decomposition", "baseline 'ica'")
    model = decomposition.FastICA(
        d_sae, whiten="unit-variance", max_iter=1000, tol=1e-3, random_state=seed
    )
    model.fit(x)
    return model.components_.T, model.mixing_.T


@_register(
    "dictionary_learning",
    Explanation(
        what="Directions that reconstruct with few codes, learned online with an L1 penalty "
        "in the place of k-SVD; codes are signed and found by orthogonal matching pursuit.",
        formula="min |x - z V|^2 / 2 + alpha |z|_1 over codes z and unit rows V, one pass in "
        "batches of 256; alpha = 1.2 / sqrt(D) times the root mean square of the samples' lengths",
        source="Mairal et al. 2009, by scikit-learn",
    ),
    linear=False,
)
def _dictionary_learning(x: np.ndarray, d_sae: int, seed: int) -> tuple[Any, np.ndarray]:
    decomposition = scikit_learn("decomposition", "baseline 'dictionary_learning'")
    # alpha of the paper, 1.2 / sqrt(D), is for samples of length 1
    size = np.sqrt(np.mean(np.sum(np.square(x), axis=1)))
    model = decomposition.MiniBatchDictionaryLearning(
        d_sae,
        alpha=1.2 / np.sqrt(x.shape[1]) * size,
        max_iter=1,
        batch_size=256,
        fit_algorithm="cd",
        random_state=seed,
    )
    unfinished = scikit_learn("exceptions", "baseline 'dictionary_learning'").ConvergenceWarning
    with warnings.catch_warnings():
        # single sparse codes stop at the solver's step limit; the dictionary averages over many
        warnings.simplefilter("ignore", unfinished)
        return None, model.fit(x).components_
