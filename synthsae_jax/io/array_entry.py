"""One array of a file that somebody else wrote: what the file says of it, and its numbers."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from synthsae_jax.errors import ConfigError, require, short
from synthsae_jax.inputs import check_memory

_MOST_AXES = 32  # numpy 1 has no more
_PIECE = 4 << 20  # bytes read at a time


class _Readable(Protocol):
    """The part of a binary file that reading numbers takes."""

    def readinto(self, buffer: Any, /) -> int | None: ...

    def read(self, size: int, /) -> bytes: ...


@dataclasses.dataclass(frozen=True)
class Entry:
    """One array of a file: what the file says of it, and its numbers once they are asked for."""

    where: str  # file and name, for messages
    dtype: np.dtype  # of its values as they are read; float32 for bfloat16, which numpy lacks
    stored: np.dtype  # in the file: for bfloat16 16 bits, for truth values bytes
    shape: tuple[int, ...]
    start: Callable[[], contextlib.AbstractContextManager[_Readable]]  # at its first number
    offset: int | None = None  # of its first number in its file, where it lies there as it is
    column_major: bool = False

    def __post_init__(self) -> None:
        # so that sizes are numbers which a message can say and a product which is quickly made
        require(
            len(self.shape) <= _MOST_AXES,
            f"{self.where} declares {len(self.shape):,} axes; at most {_MOST_AXES} are read.",
        )
        require(
            self.n_bytes < 1 << 63,
            f"{self.where} declares a shape of {short(list(self.shape))}, more than any file has.",
        )

    @property
    def size(self) -> int:
        """How many numbers it declares."""
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """What it takes in its file."""
        return self.size * self.stored.itemsize

    @property
    def type(self) -> str:
        """The name of the type it is stored in."""
        return "bfloat16" if self.dtype.kind == "f" != self.stored.kind else str(self.dtype)

    @property
    def is_real(self) -> bool:
        """Whether its values are real numbers (or truth values)."""
        return self.dtype.kind in "fiub"

    def read(self) -> np.ndarray:
        """All its values."""
        check_memory(self.where, self.size * self.dtype.itemsize)
        with self.stream() as stream:
            values = stream.take(self.size)
        return values.reshape(self.shape, order="F" if self.column_major else "C")

    def number(self) -> float | int | bool:
        """Its only value, where it is one real number."""
        require(
            self.size == 1 and self.is_real,
            f"{self.where} must be one number; got {self.type} {list(self.shape)}.",
        )
        return self.read().reshape(()).item()

    @contextlib.contextmanager
    def stream(self) -> Iterator[Stream]:
        """Context of its values in the order in which they are stored."""
        with decoding(self.where):
            opened = self.start()
        with opened as file:
            yield Stream(self, file)


class Stream:
    """The values of one array, taken from its start to its end."""

    def __init__(self, entry: Entry, file: _Readable):
        self._entry, self._file, self._left = entry, file, entry.size

    def take(self, count: int) -> np.ndarray:
        """The next `count` values `[count]`; one that is damaged is known when it is read."""
        stored, dtype = self._entry.stored, self._entry.dtype
        values = np.empty(count, stored)
        buffer, done = memoryview(values.view(np.uint8)), 0
        with decoding(self._entry.where):
            while done < len(buffer):
                step = self._file.readinto(buffer[done : done + _PIECE])
                if not step:
                    raise EOFError("it ends too early")
                done += step
            self._left -= count
            # an archive compares checksums when it comes to the end
            if self._left == 0 and self._entry.offset is None and self._file.read(1):
                raise ValueError("it is longer than it says")
        if stored == dtype:
            return values
        if dtype.kind == "b":  # to numpy a byte of 2 is no truth value
            return values != 0
        # bfloat16: the upper half of a float32
        return (values.astype(np.uint32) << 16).view(np.float32)


@contextlib.contextmanager
def decoding(where: str) -> Iterator[None]:
    """Whatever a decoder says of damaged bytes, as one `ConfigError`.

    zipfile, zlib, struct, tokenize and ast raise a dozen kinds between them, most of them not
    documented, and ast warns of text that is no header.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ConfigError:
        raise
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise ConfigError(f"{where} is damaged: {reason}.") from None


def check_end(entry: Entry, size: int) -> None:
    """Raise where a file of `size` bytes ends before the numbers of an array do."""
    end = (entry.offset or 0) + entry.n_bytes
    require(
        end <= size,
        f"{entry.where} is truncated: it declares {end:,} bytes and the file has {size:,}.",
    )
