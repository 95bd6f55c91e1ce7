"""Ways to spoil a file: its bytes, its JSON, its arrays, its archive, or what stands in its place.

A mutation is a function of a numpy generator and a path, and changes what is there. The same
generator gives the same input on every machine.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from safetensors.numpy import load_file, save_file

Mutation = Callable[[Generator, Path], None]


# --- bytes ----------------------------------------------------------------------------------


def _bytes(change: Callable[[Generator, bytearray], bytes | bytearray]) -> Mutation:
    def mutate(rng: Generator, path: Path) -> None:
        path.write_bytes(change(rng, bytearray(path.read_bytes())))

    return mutate


def _flip(rng: Generator, content: bytearray, count: int = 1) -> bytearray:
    for bit in rng.integers(8 * max(len(content), 1), size=count if content else 0):
        content[bit // 8] ^= 1 << bit % 8
    return content


def _span(rng: Generator, content: bytearray) -> tuple[int, int]:
    start = int(rng.integers(len(content) + 1))
    return start, min(len(content), start + int(rng.integers(1, 64)))


def _truncate(rng: Generator, content: bytearray) -> bytearray:
    return content[: int(rng.integers(len(content) + 1))]


def _cut(rng: Generator, content: bytearray) -> bytearray:
    start, end = _span(rng, content)
    return content[:start] + content[end:]


def _repeat(rng: Generator, content: bytearray) -> bytearray:
    start, end = _span(rng, content)
    return content[:end] + content[start:]


def _overwrite(rng: Generator, content: bytearray) -> bytearray:
    start, end = _span(rng, content)
    fill = [b"\0", b"\xff", rng.bytes(1)][rng.integers(3)]
    return content[:start] + fill * (end - start) + content[end:]


def _insert(rng: Generator, content: bytearray) -> bytearray:
    start, _ = _span(rng, content)
    return content[:start] + rng.bytes(int(rng.integers(1, 32))) + content[start:]


BYTES: dict[str, Mutation] = {
    "one bit": _bytes(_flip),
    "ten bits": _bytes(lambda rng, content: _flip(rng, content, 10)),
    "truncated": _bytes(_truncate),
    "cut": _bytes(_cut),
    "repeated": _bytes(_repeat),
    "overwritten": _bytes(_overwrite),
    "inserted": _bytes(_insert),
    "more at the end": _bytes(lambda rng, content: content + rng.bytes(40)),
    "nothing": _bytes(lambda rng, content: b""),
    "noise": _bytes(lambda rng, content: rng.bytes(int(rng.integers(1, 400)))),
}


# --- JSON -----------------------------------------------------------------------------------

# texts in the place of a value; what is no JSON stands for itself
VALUES = (
    *("null", "true", "false", "0", "-1", "1", "2", "4.7", "1e-300", "1e300", "1e999", "-0.0"),
    *("NaN", "Infinity", "-Infinity", "9" * 400, "9" * 5000, "1e400", "10000000000", "2147483648"),
    *('""', '"x"', '"\\ud800"', '"\\u001b[31m"', '"\\u0000"', '"../../x"', '"' + "y" * 3000 + '"'),
    *(
        "[]",
        "{}",
        "[[]]",
        '["topk"]',
        '{"k": 1}',
        "[1, 2, 3]",
        "[" * 150 + "]" * 150,
        "[" + "9223372036854775807, " * 300 + "1]",
    ),
    *("[" * 5000, '{"a":' * 3000, "[null]", '"topk"', '"standard"', '"ok"'),
)
_MARK = "@the place@"


def _parts(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every part of a value."""
    parts, pending = [], [value]
    while pending:
        item = pending.pop()
        keys = item.keys() if isinstance(item, dict) else range(len(item))
        for key in keys:
            parts.append((item, key))
            if isinstance(item[key], dict | list):
                pending.append(item[key])
    return parts


def _json(change: Callable[[Generator, Any], str | None]) -> Mutation:
    """A mutation of one line or of the whole text; the rest of the lines stay as they are."""

    def mutate(rng: Generator, path: Path) -> None:
        text = path.read_text("utf-8")
        whole = path.suffix != ".jsonl"
        lines = [text] if whole else text.splitlines()
        at = int(rng.integers(len(lines)))
        value = json.loads(lines[at])
        spoilt = change(rng, value)
        lines[at] = json.dumps(value) if spoilt is None else spoilt
        path.write_text("\n".join(lines) + ("" if whole else "\n"), "utf-8")

    return mutate


def _choose(rng: Generator, value: Any) -> tuple[Any, Any]:
    parts = _parts(value)
    return parts[int(rng.integers(len(parts)))]


def _replace(rng: Generator, value: Any) -> str:
    container, key = _choose(rng, value)
    container[key] = _MARK
    return json.dumps(value).replace(f'"{_MARK}"', VALUES[int(rng.integers(len(VALUES)))], 1)


def _drop(rng: Generator, value: Any) -> None:
    container, key = _choose(rng, value)
    del container[key]


def _add(rng: Generator, value: Any) -> str:
    container, _ = _choose(rng, value)
    if isinstance(container, dict):
        container[["k", "x", "\x1b[31m", "", "architecture"][rng.integers(5)]] = _MARK
    else:
        container.append(_MARK)
    return json.dumps(value).replace(f'"{_MARK}"', VALUES[int(rng.integers(len(VALUES)))], 1)


def _rename(rng: Generator, value: Any) -> None:
    container, key = _choose(rng, value)
    if isinstance(container, dict):
        container[key + "s"] = container.pop(key)
    else:
        container.reverse()


def _whole(rng: Generator, value: Any) -> str:
    return VALUES[int(rng.integers(len(VALUES)))]


def _marked(rng: Generator, path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def _in_utf16(rng: Generator, path: Path) -> None:
    path.write_bytes(path.read_text("utf-8").encode("utf-16"))


JSON: dict[str, Mutation] = {
    "another value": _json(_replace),
    "a key less": _json(_drop),
    "a key more": _json(_add),
    "a key renamed": _json(_rename),
    "another text": _json(_whole),
    "a byte order mark": _marked,
    "UTF-16": _in_utf16,
}


# --- arrays ---------------------------------------------------------------------------------

_TYPES = (
    "f2",
    "f8",
    ">f4",
    "c8",
    "i1",
    "i2",
    "u4",
    "u8",
    "?",
    "U3",
    "S2",
    "V2",
    "V3",
    "M8[s]",
    "O",
)
_NUMBERS = (np.nan, np.inf, -np.inf, 1e300, -1.0, 0.0, 1e-45, 2.0**31, 1e20, 4.7)


def _read(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".npy":
        return {"": np.load(path)}
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return dict(arrays)
    return dict(load_file(path))


def _write(path: Path, arrays: dict[str, Any], compressed: bool) -> None:
    if path.suffix == ".npy":
        np.save(path, next(iter(arrays.values())), allow_pickle=True)
    elif path.suffix == ".npz":
        (np.savez_compressed if compressed else np.savez)(path, **arrays)
    else:
        kinds = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
        save_file({k: v for k, v in kinds.items() if v.dtype.kind in "fiub"}, path)


def _arrays(change: Callable[[Generator, dict[str, np.ndarray], str], None]) -> Mutation:
    def mutate(rng: Generator, path: Path) -> None:
        arrays = _read(path)
        name = sorted(arrays)[int(rng.integers(len(arrays)))]
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                change(rng, arrays, name)
                _write(path, arrays, bool(rng.integers(2)))
            except (TypeError, ValueError, KeyError, StopIteration):
                path.write_bytes(b"")  # what cannot be written is an empty file

    return mutate


def _other_type(rng: Generator, arrays: dict[str, np.ndarray], name: str) -> None:
    kind = _TYPES[int(rng.integers(len(_TYPES)))]
    array = arrays[name]
    arrays[name] = np.zeros(array.shape, kind) if kind[0] in "VM" else array.astype(kind)


def _other_shape(rng: Generator, arrays: dict[str, np.ndarray], name: str) -> None:
    array = arrays[name]
    shapes = (array.T, array[None], array.ravel(), array[:0], array[..., None], array.ravel()[:1])
    more = (array.ravel()[:1].reshape(()), np.repeat(np.atleast_1d(array), 2, axis=0), array[::-1])
    arrays[name] = (*shapes, *more)[int(rng.integers(9))]


def _other_values(rng: Generator, arrays: dict[str, np.ndarray], name: str) -> None:
    value = _NUMBERS[int(rng.integers(len(_NUMBERS)))]
    array = np.array(arrays[name], np.float64)
    chosen = slice(None) if rng.integers(2) else int(rng.integers(max(array.size, 1)))
    array.reshape(-1)[chosen] = value
    arrays[name] = array if rng.integers(2) else array.astype(arrays[name].dtype)


def _both_turned(rng: Generator, arrays: dict[str, np.ndarray], name: str) -> None:
    for other, array in arrays.items():
        arrays[other] = array.T


def _less(rng: Generator, arrays: dict[str, np.ndarray], name: str) -> None:
    del arrays[name]


def _renamed(rng: Generator, arrays: dict[str, np.ndarray], name: str) -> None:
    arrays[["x", "\x1b[31m", "é", "W_dec", "k"][rng.integers(5)]] = arrays.pop(name)


def _huge(rng: Generator, arrays: dict[str, np.ndarray], name: str) -> None:
    # some kB of zeros that declare up to 160 MB, where they are deflated
    size = int(rng.choice([1_000_000, 20_000_000], p=[0.9, 0.1]))
    arrays[name] = np.broadcast_to(np.zeros(1), (size,)).astype(np.float64)


ARRAYS: dict[str, Mutation] = {
    "another type": _arrays(_other_type),
    "another shape": _arrays(_other_shape),
    "other values": _arrays(_other_values),
    "all turned": _arrays(_both_turned),
    "an array less": _arrays(_less),
    "an array renamed": _arrays(_renamed),
    "an array of millions": _arrays(_huge),
}


# --- headers --------------------------------------------------------------------------------

_SHAPES = (
    "(100000000000, 0)",
    "(1000000000000,)",
    "(-1, 3)",
    "(3.5,)",
    "(" + "9" * 400 + ",)",
    "(" + ("9" * 400 + ",") * 15 + ")",
    "(" + "1," * 40 + ")",
    "()",
)
_DESCR = ("'<f4'", "'|O'", "'<V2'", "[('a', '<f4')]", "'<q9'", "None", "(((((1)))))", "'<f4")


def _numpy_header(rng: Generator, path: Path) -> None:
    """An array whose header says something else; in an archive under the name of one of its."""
    shape = _SHAPES[int(rng.integers(len(_SHAPES)))]
    descr = _DESCR[int(rng.integers(len(_DESCR)))]
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode()
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + rng.bytes(16)
    if path.suffix == ".npy":
        path.write_bytes(content)
        return
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[sorted(members)[int(rng.integers(len(members)))]] = content
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def _archive_header(rng: Generator, path: Path) -> None:
    """Fields of an archive's directory: flags, method, sums, sizes, names."""
    content = bytearray(path.read_bytes())
    starts = [i for i in range(len(content) - 4) if content[i : i + 4] == b"PK\x01\x02"]
    if not starts:
        return
    start = starts[int(rng.integers(len(starts)))]
    at, form = [(8, "<H"), (10, "<H"), (16, "<I"), (20, "<I"), (24, "<I"), (28, "<H"), (42, "<I")][
        rng.integers(7)
    ]
    value = int(rng.choice([0, 1, 9, 12, 14, 93, 255, 65_535]))
    struct.pack_into(form, content, start + at, value)
    path.write_bytes(content)


def _tensor_header(rng: Generator, path: Path) -> None:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    text = (_replace, _add)[rng.integers(2)](rng, header).encode()
    declared = len(text) if rng.integers(4) else int(rng.choice([0, 2**40, 2**63]))
    path.write_bytes(struct.pack("<Q", declared) + text + content[8 + length :])


# --- what stands in the place of a file -----------------------------------------------------


def _folder(rng: Generator, path: Path) -> None:
    path.unlink()
    path.mkdir()


def _fifo(rng: Generator, path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _linked(target: str) -> Mutation:
    def mutate(rng: Generator, path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return mutate


def _another_kind(rng: Generator, path: Path) -> None:
    """What the name does not say: another kind of archive, a pickle, a table, a page."""
    others: list[bytes] = [b"a,b\n1,2\n", b"\x80\x04K\x01.", b"\x1f\x8b\x08\x00", b"<html>", b"{}"]
    others += [b"PK\x05\x06" + bytes(18), b"\x93NUMPY\x01\x00", struct.pack("<Q", 2) + b"{}"]
    path.write_bytes(others[int(rng.integers(len(others)))])


PLACES: dict[str, Mutation] = {
    "gone": lambda rng, path: path.unlink(),
    "a folder": _folder,
    "a FIFO": _fifo,
    "a link to itself": lambda rng, path: _linked(path.name)(rng, path),
    "an endless device": _linked("/dev/zero"),
    "another kind": _another_kind,
}


def mutations_of(path: Path) -> dict[str, Mutation]:
    """All that can be done to a file of this name."""
    ways = {**BYTES, **PLACES}
    if path.suffix in (".json", ".jsonl"):
        ways |= JSON
    if path.suffix in (".npz", ".npy", ".safetensors"):
        ways |= ARRAYS
    if path.suffix in (".npz", ".npy"):
        ways["a header of numpy"] = _numpy_header
    if path.suffix == ".npz":
        ways["a header of the archive"] = _archive_header
    if path.suffix == ".safetensors":
        ways["a header of tensors"] = _tensor_header
    return ways


def declared_bytes(path: Path) -> int:
    """What the regular files at a path have, and what their archives say they unpack to."""
    total = 0
    for file in [path] if not path.is_dir() else sorted(path.rglob("*")):
        if not file.is_file() or file.is_symlink():
            continue
        total += file.stat().st_size
        try:
            with zipfile.ZipFile(file) as archive:
                total += sum(min(m.file_size, 1 << 30) for m in archive.infolist())
        # spoilt archives fail in every way that zipfile knows, and then declare nothing
        except Exception:
            continue
    return total


def fresh(source: Path, goal: Path) -> Path:
    """A copy of a valid input in the place of what is there."""
    if goal.is_symlink() or (goal.exists() and not goal.is_dir()):
        goal.unlink()
    elif goal.exists():
        shutil.rmtree(goal)
    goal.parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if source.is_dir() else shutil.copyfile)(source, goal)
    return goal
