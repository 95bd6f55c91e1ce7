"""linearity@1: what of recovery, truth and scores rests on features being linear?"""

import synthsae_jax.experiments.linearity.experiment  # noqa: F401  (registers it)
