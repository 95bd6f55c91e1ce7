"""engineering@1: can SAEs be made to find the same features, and is it worth what it costs?"""

import synthsae_jax.experiments.engineering.experiment  # noqa: F401  (registers it)
