"""Files that somebody else wrote: opened only where they are regular files, read only where they
fit into memory. What is wrong is one `ConfigError` that names the file."""

from __future__ import annotations

import functools
import os
import stat
from pathlib import Path
from typing import BinaryIO

from synthsae_jax.errors import ConfigError, require

PathLike = str | os.PathLike[str]


def check_name(path: PathLike) -> None:
    """Raise where `path` can be the name of no file; Python's own words differ by version."""
    name = os.fspath(path)
    require("\0" not in name, f"{path}: the name holds a null byte.")
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise ConfigError(f"{path}: the name holds half of a surrogate pair.") from None


def expanded(path: PathLike) -> Path:
    """The path with `~` replaced by the home folder, where there is one."""
    check_name(path)
    return Path(os.path.expanduser(path))


def is_folder(path: PathLike) -> bool:
    """Whether there is a folder at `path`; False too where the name can be that of none."""
    return os.path.isdir(path)


def open_input(path: PathLike) -> BinaryIO:
    """The regular file at `path`, open for reading bytes; a FIFO or a device is refused."""
    check_name(path)
    try:
        # without O_NONBLOCK opening a FIFO waits for somebody to write to it
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file.") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be opened ({_reason(error)}).") from None
    file = os.fdopen(handle, "rb") if not _is_folder(handle) else None
    if file is None:
        os.close(handle)
        raise ConfigError(f"{path} is a folder; a file is needed.")
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        file.close()
        raise ConfigError(f"{path} is no regular file (a FIFO, a device or a socket).")
    return file


def read_input(path: PathLike, most: int) -> bytes:
    """The whole content of a regular file of at most `most` bytes."""
    with open_input(path) as file:
        size = os.fstat(file.fileno()).st_size
        require(
            size <= most,
            f"{path} has {size_text(size)}; at most {size_text(most)} are read of such a file.",
        )
        try:
            return file.read()
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({_reason(error)}).") from None


def check_memory(where: str, n_bytes: int) -> None:
    """Raise where `n_bytes` are more than half of the memory that this process may take."""
    limit = memory() // 2
    require(
        n_bytes <= limit,
        f"{where} would take {size_text(n_bytes)} of memory; at most {size_text(limit)}, half of "
        "this machine's, are given to an input.",
    )


@functools.lru_cache(maxsize=1)
def memory() -> int:
    """Bytes of memory this process may take: the machine's, the container's or the shell's."""
    limits = [1 << 40]
    if hasattr(os, "sysconf"):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # of a container, v2 and v1
        try:
            limits.append(int(Path("/sys/fs/cgroup", name).read_text()))
        except (OSError, ValueError):  # none, or "max"
            continue
    try:
        import resource

        limits.append(resource.getrlimit(resource.RLIMIT_AS)[0])
    except ImportError:  # not on Windows
        pass
    return min(limit for limit in limits if limit > 0)


def size_text(n_bytes: int) -> str:
    """A number of bytes as a reader says it: "3.2 GB"."""
    size = float(n_bytes)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"


def _is_folder(handle: int) -> bool:
    return stat.S_ISDIR(os.fstat(handle).st_mode)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
