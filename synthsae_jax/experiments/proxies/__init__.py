"""proxies@1: what that can be seen without the truth predicts it?"""

import synthsae_jax.experiments.proxies.experiment  # noqa: F401  (registers it)
