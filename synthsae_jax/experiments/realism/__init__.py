"""realism@1: the published numbers of universality beside what synthetic worlds give."""

import synthsae_jax.suite.experiments.realism.experiment  # noqa: F401  (registers it)
