"""Run transfer@1, with the options of `synthsae run`: --scale, --out, --salt, --dry-run."""

import sys

from synthsae_jax.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", "transfer@1", *sys.argv[1:]]))
