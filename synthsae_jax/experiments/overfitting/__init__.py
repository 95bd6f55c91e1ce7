"""overfitting@1: does matching pursuit learn the noise of a dictionary?"""

import synthsae_jax.experiments.overfitting.experiment  # noqa: F401  (registers it)
