"""evolution@1: when do scores settle, and when does what they should measure?"""

import synthsae_jax.experiments.evolution.experiment  # noqa: F401  (registers it)
