"""The command `synthsae`, one file per command; `main` is its entrance."""

from synthsae_jax.cli.command import COMMANDS, main

__all__ = ["COMMANDS", "main"]
