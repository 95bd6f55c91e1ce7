"""validity@1: do scores of universality follow the truth?"""

import synthsae_jax.experiments.validity.experiment  # noqa: F401  (registers it)
