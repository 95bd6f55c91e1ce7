"""validity@1: do scores of universality follow the truth?"""

import synthsae_jax.suite.experiments.validity.experiment  # noqa: F401  (registers it)
