"""The one reader of JSON: what it reads, and what it refuses in one line that names the file."""

from __future__ import annotations

import json
import os

import pytest

from synthsae_jax.errors import ConfigError
from synthsae_jax.strict_json import DEPTH, parse_json, read_json, read_object

NESTED = "[" * DEPTH + "]" * DEPTH

READ = {
    "plain": (b'{"k": 3, "x": 1e-3, "name": "a"}', {"k": 3, "x": 1e-3, "name": "a"}),
    "a byte order mark": (b'\xef\xbb\xbf{"k": 3}', {"k": 3}),
    "UTF-16 of a Windows shell": ('{"k": 3}'.encode("utf-16"), {"k": 3}),
    "64 bits": (b"[18446744073709551615, -9223372036854775808]", [2**64 - 1, -(2**63)]),
    "a whole pair of surrogates": (b'"\\ud83d\\ude00"', "\N{GRINNING FACE}"),
    "as deep as is read": (NESTED.encode(), json.loads(NESTED)),
    "many lists beside each other": (b"[" + b"[]," * 300 + b"[]]", [[]] * 301),
}
REFUSED = {
    "NaN": (b'{"k": NaN}', "NaN is no number in JSON"),
    "Infinity": (b"[-Infinity]", "-Infinity is no number in JSON"),
    "beyond float64": (b"[1e999]", "'1e999' is beyond the range of float64"),
    "400 digits": (b'{"k": ' + b"9" * 400 + b"}", "an integer of 400 digits; 64 bits are read"),
    "5,000 digits": (b'{"k": ' + b"9" * 5000 + b"}", "an integer of 5000 digits"),
    "more than 64 bits": (b"18446744073709551616", "an integer of 20 digits"),
    "half of a pair": (b'{"name": "\\ud800"}', "half of a surrogate pair"),
    "half of a pair in a key": (b'{"\\udfff": 1}', "half of a surrogate pair"),
    "one level too deep": (f"[{NESTED}]".encode(), f"at most {DEPTH} levels"),
    "deep": (b"[" * 100_000, f"at most {DEPTH} levels"),
    "deep objects": (b'{"a":' * 3000 + b"1" + b"}" * 3000, f"at most {DEPTH} levels"),
    "no UTF-8": (b'{"a": "\xff"}', "cannot be read as JSON"),
    "half a file": (b'{"a": ', "cannot be read as JSON"),
    "nothing": (b"", "cannot be read as JSON"),
    "two values": (b"1 2", "cannot be read as JSON"),
}


@pytest.mark.parametrize("case", READ)
def test_what_is_json_is_read(case, tmp_path):
    text, value = READ[case]
    (tmp_path / "x.json").write_bytes(text)
    assert read_json(tmp_path / "x.json") == value


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_none_is_one_line_that_names_the_file(case, tmp_path):
    text, message = REFUSED[case]
    path = tmp_path / "x.json"
    path.write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        read_json(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).isprintable()


def test_text_is_read_as_bytes_are():
    assert parse_json('\ufeff{"k": 3}', "text") == {"k": 3}
    with pytest.raises(ConfigError, match="30 digits"):
        parse_json("9" * 30, "text")


def test_an_object_is_asked_for_and_sizes_are_limited(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("[1]")
    with pytest.raises(ConfigError, match=r"expected a JSON object; got \[1\]"):
        read_object(path)
    with pytest.raises(ConfigError, match="has 3 bytes; at most 2 bytes are read"):
        read_json(path, most=2)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_what_is_no_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for name, message in (
        ("fifo", "is no regular file"),
        ("absent", "no such file"),
        (".", "is a folder"),
        ("x" * 300, "name too long"),
        ("a\0b", r"a\\x00b: the name holds a null byte\.$"),
        ("a\ud800b", r"a\\ud800b: the name holds half of a surrogate pair\.$"),
        ("a\x1b[31m", r"a\\x1b\[31m: no such file"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_json(f"{tmp_path}/{name}")
