"""matching@1: which scores and solvers find the right partner, and what stands in their way?"""

import synthsae_jax.suite.experiments.matching.experiment  # noqa: F401  (registers it)
