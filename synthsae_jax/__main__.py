"""`python -m synthsae_jax` is the command `synthsae`."""

import sys

from synthsae_jax.cli import main

sys.exit(main())
