"""Artefacts in SAELens' format, result tables, manifests."""

from synthsae_jax.io.saelens_model import load_saelens_model, save_saelens_model
from synthsae_jax.io.saelens_sae import load_saelens_sae, save_saelens_sae

__all__ = [
    "load_saelens_model",
    "load_saelens_sae",
    "save_saelens_model",
    "save_saelens_sae",
]
