"""architectures@1: do different architectures find the same features, and does their order hold?"""

import synthsae_jax.experiments.architectures.experiment  # noqa: F401  (registers it)
