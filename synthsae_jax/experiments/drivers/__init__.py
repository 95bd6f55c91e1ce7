"""drivers@1: what makes features universal, by intervention."""

import synthsae_jax.experiments.drivers.experiment  # noqa: F401  (registers it)
