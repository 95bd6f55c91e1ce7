"""`python -m synthsae_jax` is the command `synthsae`."""

import sys

from synthsae_jax import interrupts


def main() -> int:
    """The exit status of the command line; Ctrl-C is heard while it is still imported."""
    with interrupts.program("synthsae"):
        from synthsae_jax.cli import main

        return main()


if __name__ == "__main__":
    sys.exit(main())
