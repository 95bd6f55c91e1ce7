"""The one reader of archives: what every loader of arrays says of a file that is damaged."""

from __future__ import annotations

import io
import os
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from synthsae_jax import inputs
from synthsae_jax.errors import ConfigError
from synthsae_jax.io.arrays import map_array, open_arrays
from synthsae_jax.io.numpy_files import NPY, NPZ
from synthsae_jax.io.tensor_files import SAFETENSORS

VALUES = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)


def write(path, array=VALUES, compressed=True):
    if path.suffix == NPZ:
        (np.savez_compressed if compressed else np.savez)(path, a=array)
    elif path.suffix == NPY:
        np.save(path, array)
    else:
        save_file({"a": np.ascontiguousarray(array)}, path)
    return path


def read(path):
    with open_arrays(path, path.suffix) as archive:
        (name,) = archive
        return archive[name].read()


@pytest.fixture(params=[NPZ, NPY, SAFETENSORS])
def suffix(request):
    return request.param


def refusal(path):
    """What the reader says of a file that it does not read, behind the file's name."""
    with pytest.raises(ConfigError) as caught:
        read(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert text.isprintable()
    return text.removeprefix(str(path))


TYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_comes_back(kind, suffix, tmp_path):
    array = np.arange(12).reshape(3, 4).astype(kind)
    back = read(write(tmp_path / f"x{suffix}", array))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0), (2, 3, 4)])
def test_every_shape_comes_back(shape, suffix, tmp_path):
    array = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    np.testing.assert_array_equal(read(write(tmp_path / f"x{suffix}", array)), array)


@pytest.mark.parametrize("suffix", [NPZ, NPY])
def test_order_byte_order_and_bfloat16_of_numpy(suffix, tmp_path):
    for array in (np.asfortranarray(VALUES), VALUES.astype(">f4")):
        np.testing.assert_array_equal(read(write(tmp_path / f"x{suffix}", array)), VALUES)
    half = VALUES.astype(ml_dtypes.bfloat16)
    back = read(write(tmp_path / f"x{suffix}", half))
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, half.astype(np.float32))


def test_one_flipped_bit_is_seen_or_changes_a_number(suffix, tmp_path):
    path = write(tmp_path / f"x{suffix}")
    content = path.read_bytes()
    rng = np.random.default_rng(1)
    messages = []
    for bit in rng.choice(8 * len(content), 150, replace=False):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            read(path)
        except ConfigError as error:
            messages.append(str(error))
    assert all(m.startswith(str(path)) and m.isprintable() for m in messages)
    # an archive has checksums, the others have none
    assert len(messages) >= (120 if suffix == NPZ else 1)


def test_a_truncated_file_is_named_wherever_it_ends(suffix, tmp_path):
    path = write(tmp_path / f"x{suffix}")
    content = path.read_bytes()
    for end in (*range(0, 130, 3), *range(130, len(content), 211), len(content) - 1):
        path.write_bytes(content[:end])
        assert any(word in refusal(path) for word in ("damaged", "truncated", "empty", "is no"))
    path.write_bytes(content)
    np.testing.assert_array_equal(read(path), VALUES)


def test_a_misnamed_file_is_told_what_it_is(suffix, tmp_path):
    for other in {NPZ, NPY, SAFETENSORS} - {suffix}:
        path = tmp_path / f"x{suffix}"
        path.write_bytes(write(tmp_path / f"y{other}").read_bytes())
        assert refusal(path) == (f" holds what a {other} file holds: name it so, or save it again.")
    path.write_text("a,b\n1,2\n")
    assert refusal(path) == f" is no {suffix} file: it starts with b'a,b\\n1,2\\n'."


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_does_not_wait_for_a_writer(suffix, tmp_path):
    os.mkfifo(tmp_path / f"x{suffix}")
    assert refusal(tmp_path / f"x{suffix}") == (
        " is no regular file (a FIFO, a device or a socket)."
    )


def test_types_that_are_no_numbers_are_named(tmp_path):
    for array, message in (
        (np.array([{}]), "pickled Python objects"),
        (np.zeros(2, "f4,i4"), "plain numbers are needed"),
        (np.zeros(2, "M8[s]"), "plain numbers are needed"),
        (np.zeros(2, "V1"), "plain numbers are needed"),
    ):
        for name in ("x.npz", "x.npy"):
            np.savez(tmp_path / "x.npz", a=array)
            np.save(tmp_path / "x.npy", array)
            assert message in refusal(tmp_path / name)


def rewritten(path, **changes):
    """The archive with fields of its only member changed in both of its headers."""
    content = bytearray(path.read_bytes())
    central = content.rindex(b"PK\x01\x02")
    for field, value in changes.items():
        at, form = {"flag_bits": (6, "<H"), "compress_type": (8, "<H")}[field]
        struct.pack_into(form, content, at, value)
        struct.pack_into(form, content, central + at + 2, value)
    path.write_bytes(content)


def test_encryption_and_unknown_methods_are_named(tmp_path):
    path = write(tmp_path / "x.npz")
    rewritten(path, flag_bits=1)
    assert refusal(path) == ": a is encrypted; save it without a password."
    for method in (9, 12, 14, 93, 255):
        rewritten(write(path), compress_type=method)
        assert refusal(path).startswith(f": a is compressed by method {method}; ")


def test_names_given_twice_and_members_that_are_no_arrays(tmp_path):
    path = tmp_path / "x.npz"
    buffer = io.BytesIO()
    np.save(buffer, VALUES)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", buffer.getvalue())
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.npy", buffer.getvalue())
    assert refusal(path) == " holds 'a' twice."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"\x80\x04")
    assert refusal(path) == ": data.pkl is no array."


HEADERS = {
    "an open bracket": ("{'descr': '<f4', 'fortran_order': False, 'shape': (3,", "damaged"),
    "deep": ("[" * 3000, "damaged"),
    "code": (
        "{'descr': __import__('os'), 'fortran_order': False, 'shape': (3,)}",
        "damaged: malformed",
    ),
    "a negative size": (
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}",
        "damaged: its shape is (-3,)",
    ),
    "a size of 400 digits": (
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 400 + ",)}",
        "declares a shape of [999",
    ),
    # a number of 6,000 digits cannot even be printed
    "fifteen such sizes": (
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + ("9" * 400 + ",") * 15 + ")}",
        "declares a shape of [999",
    ),
    "33 axes": (
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 33 + ")}",
        "declares 33 axes; at most 32",
    ),
    "a type nobody knows": (
        "{'descr': '<q4', 'fortran_order': False, 'shape': (3,)}",
        "not a valid dtype",
    ),
    "too few keys": ("{'descr': '<f4'}", "does not contain the correct keys"),
    "more than there is": (
        "{'descr': '<f4', 'fortran_order': False, 'shape': (300,)}",
        "declares 1,267 bytes and",
    ),
}


@pytest.mark.parametrize("case", HEADERS)
def test_headers_of_numpy_that_are_none(case, tmp_path):
    text, message = HEADERS[case]
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(12)
    (tmp_path / "x.npy").write_bytes(content)
    assert message in refusal(tmp_path / "x.npy")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", content)
    assert message in refusal(tmp_path / "x.npz")


NEEDS = "a: broken tensor; it needs dtype, shape and two data_offsets, got "
TENSORS = {
    "no JSON": ("{", "header: cannot be read as JSON"),
    "a list": ("[]", "is no .safetensors file"),
    "no shape": ('{"a": {"dtype": "F32", "data_offsets": [0, 4]}}', NEEDS),
    "a negative size": ('{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', NEEDS),
    "other offsets": (
        '{"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 4]}}',
        "a: broken tensor; 12 bytes by its shape, 4 by its offsets",
    ),
    "beyond the end": (
        '{"a": {"dtype": "F32", "shape": [3], "data_offsets": [4, 16]}}',
        "a is truncated: it declares 86 bytes and the file has 82",
    ),
    "offsets the wrong way": (
        '{"a": {"dtype": "F32", "shape": [0], "data_offsets": [4, 0]}}',
        "a: broken tensor; 0 bytes by its shape, -4 by its offsets",
    ),
    "a type nobody knows": (
        '{"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}',
        "a has type F8_E4M3; known: BF16, ",
    ),
    "a list for a type": ('{"a": {"dtype": [], "shape": [1], "data_offsets": [0, 4]}}', NEEDS),
    "a word for a tensor": ('{"a": "F32"}', NEEDS + "'F32'."),
    "a shape of 300 long sizes": (
        f'{{"a": {{"dtype": "F32", "shape": {[2**63] * 300}, "data_offsets": [0, 4]}}}}',
        "a declares 300 axes; at most 32",
    ),
    "a shape beyond any file": (
        f'{{"a": {{"dtype": "F32", "shape": {[2**63] * 9}, "data_offsets": [0, 4]}}}}',
        "a declares a shape of [9223372036854775808, ",
    ),
}


@pytest.mark.parametrize("case", TENSORS)
def test_headers_of_safetensors_that_are_none(case, tmp_path):
    text, message = TENSORS[case]
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text.encode() + bytes(12))
    assert message in refusal(path)


def test_a_header_longer_than_the_file_is_not_read(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", 2**63) + b"{}")
    assert refusal(path) == (
        ": broken or truncated tensors: its header declares 9,223,372,036,854,775,808 bytes, the "
        "file has 10, and at most 10,485,760 are read."
    )


def test_what_would_not_fit_is_refused_before_memory_is_taken(suffix, tmp_path, monkeypatch):
    path = write(tmp_path / f"x{suffix}", np.zeros((1000, 1000), np.float32))
    monkeypatch.setattr(inputs, "memory", lambda: 4_000_000)
    monkeypatch.setattr(np, "empty", lambda *_: pytest.fail("memory was taken"))
    assert "would take 4 MB of memory; at most 2 MB, half of this machine's" in refusal(path)


def test_maps_stay_on_disk(tmp_path):
    for array in (VALUES, np.asfortranarray(VALUES), VALUES.astype(np.float16)):
        path = write(tmp_path / "x.npy", array)
        mapped = map_array(path)
        assert isinstance(mapped, np.memmap)
        np.testing.assert_array_equal(mapped, array)
    assert map_array(write(path, np.zeros((0, 3)))).shape == (0, 3)
    for array in (VALUES.astype(complex), VALUES.astype(ml_dtypes.bfloat16), np.array(["a"])):
        with pytest.raises(ConfigError, match="real numbers are needed"):
            map_array(write(path, array))


def test_parts_of_a_sharded_file_are_read_through_its_index(tmp_path):
    first, second = VALUES, VALUES[:3]
    save_file({"a": first}, tmp_path / "x-00001-of-00002.safetensors")
    save_file({"b": second}, tmp_path / "x-00002-of-00002.safetensors")
    index = tmp_path / "x.safetensors.index.json"
    index.write_text(
        '{"metadata": {}, "weight_map": {"a": "x-00001-of-00002.safetensors", '
        '"b": "x-00002-of-00002.safetensors"}}'
    )
    with open_arrays(tmp_path / "x.safetensors", SAFETENSORS) as archive:
        assert set(archive) == {"a", "b"}
        np.testing.assert_array_equal(archive["a"].read(), first)
        np.testing.assert_array_equal(archive["b"].read(), second)
    for text, message in (
        ('{"weight_map": {"a": "../x-00001-of-00002.safetensors"}}', "beside it"),
        ('{"weight_map": {"a": "x.safetensors"}}', "no such file"),
        ('{"weight_map": {"a": "x-00002-of-00002.safetensors"}}', "'a' is missing"),
        ('{"weight_map": []}', "weight_map must give"),
    ):
        index.write_text(text)
        with (
            pytest.raises(ConfigError, match=message),
            open_arrays(tmp_path / "x.safetensors", SAFETENSORS) as archive,
        ):
            archive["a"]
