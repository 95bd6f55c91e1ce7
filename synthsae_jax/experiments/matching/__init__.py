"""matching@1: which scores and solvers find the right partner, and what stands in their way?"""

import synthsae_jax.experiments.matching.experiment  # noqa: F401  (registers it)
