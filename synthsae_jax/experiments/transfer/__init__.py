"""transfer@1: what of an SAE on one model serves on another, and how many samples it saves."""

import synthsae_jax.experiments.transfer.experiment  # noqa: F401  (registers it)
