"""realism@1: the published numbers of universality beside what synthetic worlds give."""

import synthsae_jax.experiments.realism.experiment  # noqa: F401  (registers it)
