"""partial@1: two models share a part of their features: who finds out how much, and which?"""

import synthsae_jax.experiments.partial.experiment  # noqa: F401  (registers it)
