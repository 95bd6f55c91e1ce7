"""What the device can do at most, measured here: a matrix product and a copy."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from harness import measure

# (edge of the square product, numbers copied): a fraction of a second each
_SIZES = {"cpu": (2048, 2**26), "tiny": (128, 2**16)}
_ACCELERATOR = (8192, 2**28)


@dataclasses.dataclass(frozen=True)
class Work:
    """What a task needs at least, by its formula and not by how it is programmed."""

    flops: float
    bytes: float

    def __mul__(self, times: float) -> Work:
        return Work(self.flops * times, self.bytes * times)


@dataclasses.dataclass(frozen=True)
class Ceilings:
    """Best of several repeats: FLOP/s of a product by dtype, bytes/s of a copy (read + write)."""

    flops: dict[str, float]
    bytes: float

    def fraction(self, work: Work, seconds: float, dtype: str = "float32") -> float:
        """Share of the ceiling reached by what binds: FLOPs or bytes, whichever is larger."""
        return max(
            work.flops / seconds / self.flops[dtype],
            work.bytes / seconds / self.bytes,
        )

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"flops_per_s": self.flops, "copy_bytes_per_s": self.bytes}


def measure_ceilings(tiny: bool = False, repeats: int = 5) -> Ceilings:
    """Measure them; products run at JAX's default precision, like everybody's here."""
    platform = jax.devices()[0].platform
    edge, numbers = _SIZES["tiny"] if tiny else _SIZES.get(platform, _ACCELERATOR)
    flops = {}
    for dtype in ("float32", "bfloat16"):
        a = jnp.ones((edge, edge), dtype)
        best = min(measure(jnp.matmul, a, a, repeats=repeats).times.seconds)
        flops[dtype] = 2 * edge**3 / best
    x = jnp.ones(numbers, jnp.float32)
    # a negation: as much traffic as a copy, and nothing that XLA could leave out
    best = min(measure(jnp.negative, x, repeats=repeats).times.seconds)
    return Ceilings(flops, 2 * x.nbytes / best)
