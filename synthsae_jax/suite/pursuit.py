"""An SAE's dictionary with another encoder that takes no training: matching pursuit."""

from __future__ import annotations

import jax
import numpy as np

from synthsae_jax.metrics.evaluate import Reconstructor
from synthsae_jax.saes import SAEParams
from synthsae_jax.suite.reading import Subject
from synthsae_jax.suite.recipes import recipe
from synthsae_jax.training import TrainConfig

PURSUIT = "pursuit"


def dictionary(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """Decoder rows of norm 1 [L, D] and the bias [D] of an SAE."""
    rows = subject.decoder
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    bias = subject.run[0].b_dec
    return rows / np.maximum(length, 1e-12), np.asarray(bias)


def pursued(subject: Subject, k: float, config: TrainConfig) -> Subject:
    """The dictionary of an SAE with matching pursuit as encoder, k latents per token.

    `config` is the training to which the recipe of matching pursuit is suited. Latent i is latent i
    of the SAE.
    """
    rows, bias = dictionary(subject)
    width, dim = rows.shape
    sae = recipe("matching_pursuit", dim, width, k, config).sae
    params = SAEParams(W_dec=rows, b_dec=bias)
    run = jax.tree.map(np.asarray, (params, sae.hyper, sae.init_state()))
    reconstruct = Reconstructor(sae.static, "inference")
    return Subject(f"{subject.label}, {PURSUIT}", reconstruct, run, subject.instance, rows, None)
