"""Peak memory while a block runs: the process's on a CPU, the device's elsewhere."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from types import TracebackType

import jax

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


class Peak:
    """`with Peak() as peak: ...`, then `peak.record()`.

    On Linux the process's high-water mark is set back at the start; where that is not allowed,
    and on devices, the peak is that since the process began, and the record says so.
    """

    def __enter__(self) -> Peak:
        self.since_start = not _set_back()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        device = jax.devices()[0].memory_stats()
        on_device = device is not None and "peak_bytes_in_use" in device
        self.since_start |= on_device
        self.bytes = device["peak_bytes_in_use"] if on_device else resident_peak()

    def record(self) -> dict[str, int]:
        """`peak_bytes`, or `peak_bytes_so_far` where the mark could not be set back."""
        return {"peak_bytes_so_far" if self.since_start else "peak_bytes": self.bytes}


def resident_peak() -> int:
    """The process's largest resident size in bytes."""
    if _STATUS.exists():
        line = next(x for x in _STATUS.read_text().splitlines() if x.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def available() -> int | None:
    """Bytes that can still be had: on the device, or in main memory; None where nobody says."""
    stats = jax.devices()[0].memory_stats()
    if stats is not None and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    info = Path("/proc/meminfo")
    if not info.exists():
        return None
    line = next(x for x in info.read_text().splitlines() if x.startswith("MemAvailable"))
    return 1024 * int(line.split()[1])


def _set_back() -> bool:
    """Whether the high-water mark was set to what is resident now."""
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    return True
