"""What `synthsae match` computes: inputs, evidence, credence, protocols, record and page."""

from synthsae_jax.match.record import read_match, write_match
from synthsae_jax.match.run import match_saes

__all__ = ["match_saes", "read_match", "write_match"]
