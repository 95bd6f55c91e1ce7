"""leakage@1: how much universality can a shared initialisation or data order fake?"""

import synthsae_jax.experiments.leakage.experiment  # noqa: F401  (registers it)
