"""How a time is taken: lower, compile, first call and steady calls apart, always after blocking."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
from memory import Peak

clock = time.perf_counter


@dataclasses.dataclass(frozen=True)
class Times:
    """Repeated wall-clock seconds of the same work."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The number to quote."""
        return statistics.median(self.seconds)

    def record(self) -> dict[str, Any]:
        """Median, least and spread: (largest - least) / median."""
        low, high = min(self.seconds), max(self.seconds)
        return {
            "seconds": self.median,
            "least_seconds": low,
            "spread": (high - low) / self.median,
            "repeats": len(self.seconds),
        }


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What `measure` found out about one program."""

    lower_seconds: float
    compile_seconds: float
    first_seconds: float
    times: Times
    calls: int  # per repeat; `times` are those of one call
    flops: float | None  # XLA's count of the program, a loop's body counted once
    bytes: float | None
    memory: dict[str, int]  # XLA's plan of the program, and the peak while it ran
    call: Callable[[], Any]  # one more call, not blocked
    compiled: Callable  # the program, for other arguments of the same shapes

    def record(self) -> dict[str, Any]:
        """Everything as one flat JSON object."""
        return {
            "lower_seconds": self.lower_seconds,
            "compile_seconds": self.compile_seconds,
            "first_seconds": self.first_seconds,
            **self.times.record(),
            "program_flops": self.flops,
            "program_bytes": self.bytes,
            **self.memory,
        }


def measure(fn: Callable, *args: Any, repeats: int = 5, calls: int = 1) -> Measurement:
    """Lower, compile, first and steady seconds of `fn(*args)`, its memory and XLA's cost of it.

    `fn` may be jitted or not; every argument is an array or a pytree of them, on the device before
    the clock starts. One repeat is `calls` calls in a row and blocks on the last: a device that
    works through a queue is timed as it is used. Steady times are per call.
    """
    jitted: Any = fn if hasattr(fn, "lower") else jax.jit(fn)
    args = jax.block_until_ready(jax.device_put(args))
    began = clock()
    lowered = jitted.lower(*args)
    lower = clock() - began
    began = clock()
    compiled = lowered.compile()
    compile = clock() - began
    call = lambda: compiled(*args)
    with Peak() as peak:
        first = seconds_of(call)
        times = repeated(call, repeats, calls)
    cost = _cost(compiled)
    return Measurement(
        lower_seconds=lower,
        compile_seconds=compile,
        first_seconds=first,
        times=times,
        calls=calls,
        flops=cost.get("flops"),
        bytes=cost.get("bytes accessed"),
        memory={**_plan(compiled), **peak.record()},
        call=call,
        compiled=compiled,
    )


def seconds_of(call: Callable[[], Any], calls: int = 1) -> float:
    """Seconds per call of `calls` calls in a row, results and all."""
    began = clock()
    for _ in range(calls):
        result = call()
    jax.block_until_ready(result)
    return (clock() - began) / calls


def repeated(call: Callable[[], Any], repeats: int, calls: int = 1) -> Times:
    """Steady times of a call that has been made before."""
    return Times(tuple(seconds_of(call, calls) for _ in range(repeats)))


def differences(long: Sequence[float], short: Sequence[float]) -> Times:
    """Times of what the long work has more than the short: fixed costs cancel. One per pair."""
    return Times(tuple(a - b for a, b in zip(long, short, strict=True)))


def _cost(compiled: Any) -> dict[str, float]:
    found = compiled.cost_analysis() or {}
    return found[0] if isinstance(found, list) else found  # a list before JAX 0.5's change


def _plan(compiled: Any) -> dict[str, int]:
    """Bytes that XLA plans for: arguments, results, and work space."""
    plan = compiled.memory_analysis()
    names = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
    return {} if plan is None else {n.replace("_size_in", ""): int(getattr(plan, n)) for n in names}
