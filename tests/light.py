"""For processes that tests start: files of `io` without JAX, which its `__init__` imports."""

import sys
import types
from pathlib import Path

import synthsae_jax

_io = types.ModuleType("synthsae_jax.io")
_io.__path__ = [str(Path(synthsae_jax.__file__).parent / "io")]
sys.modules["synthsae_jax.io"] = _io
