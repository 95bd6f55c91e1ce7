"""Artefacts in SAELens' format, sparse codes, result tables, manifests."""

from synthsae_jax.io.any_sae import LoadedSAE, load_sae
from synthsae_jax.io.codes import iter_codes, load_codes, save_codes
from synthsae_jax.io.saelens_model import load_saelens_model, save_saelens_model
from synthsae_jax.io.saelens_sae import load_saelens_sae, save_saelens_sae

__all__ = [
    "LoadedSAE",
    "iter_codes",
    "load_codes",
    "load_sae",
    "load_saelens_model",
    "load_saelens_sae",
    "save_codes",
    "save_saelens_model",
    "save_saelens_sae",
]
