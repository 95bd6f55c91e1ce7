"""What all tests share: where compiled programs are kept, and a few fixtures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Set before any test file imports JAX. Compiling is most of a test's time, so even small programs
# are kept between runs; the numbers do not change with it.
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "synthsae_jax" / "xla"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# a matrix that quietly stretches to another's rank is most often a forgotten axis
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")


_PLENTY = 3 << 30  # bytes


@pytest.fixture(scope="module", autouse=True)
def _compiled_programs_do_not_pile_up():
    """Drop compiled programs after a file once they take gigabytes; the disk still has them."""
    yield
    pages = Path("/proc/self/statm")
    if pages.exists() and int(pages.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") > _PLENTY:
        import jax

        jax.clear_caches()


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of committed artefacts and numbers that tests compare with."""
    return Path(__file__).parent / "golden"


@pytest.fixture
def key():
    """A fixed key; split it, or fold a number in, for more."""
    import jax

    return jax.random.key(0)
