"""evolution@1: when do scores settle, and when does what they should measure?"""

import synthsae_jax.suite.experiments.evolution.experiment  # noqa: F401  (registers it)
