"""Run recovery@1; the same as `synthsae run recovery@1`, with its options (--scale, --out, --salt)."""

import sys

from synthsae_jax.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", "recovery@1", *sys.argv[1:]]))
