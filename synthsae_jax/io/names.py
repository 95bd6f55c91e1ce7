"""File names made from data: the one function behind every file that is named by a value."""

from __future__ import annotations

import hashlib
import re

LONGEST = 80  # characters before the digest: file systems end at 255 bytes, suffixes come on top
_DIGITS = 12
# Windows keeps these for devices, with any suffix
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def file_name(text: str, digest: str = "") -> str:
    """`text` as one name of a file: letters, digits, `.`, `_`, `-`, `@`, `=`, `+`, never a path.

    A text that is such a name already comes back as it is; of any other the rest becomes `-`, and
    a hash of the text is added, so that different texts have different names. With `digest` its
    first 12 digits are added instead, always.
    """
    clean = re.sub(r"[^A-Za-z0-9._@=+-]+", "-", text)[:LONGEST].strip(".-")
    if not clean or _DEVICES.fullmatch(clean):
        clean = f"x-{clean}".rstrip("-")
    if not digest:
        if clean == text:
            return clean
        # a lone surrogate (a file name that is no UTF-8) has no UTF-8 bytes
        digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
    return f"{clean}-{digest[:_DIGITS]}"
