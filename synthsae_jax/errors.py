"""The one kind of error a user can cause, with a message that says what to type instead."""

from __future__ import annotations

import difflib
import math
import numbers
import re
import sys
import unicodedata
from collections.abc import Iterable
from typing import Any, TypeGuard


class ConfigError(ValueError):
    """The user's input is wrong: one line with what was given and what is allowed.

    The command line prints it as it is and ends with exit status 2. Names of files and fields go
    into messages as they come, so the message is made `printable`.
    """

    def __init__(self, message: str):
        super().__init__(printable(re.sub(r"\s*\n\s*", " ", message)))


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError(message)` unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def unknown_name(kind: str, name: object, allowed: Iterable[str]) -> ConfigError:
    """The error for a name nobody registered: what was given, the nearest name, all allowed."""
    names = sorted(allowed)
    near = difflib.get_close_matches(str(name)[:_LONGEST], names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"Unknown {kind} {short(name)}.{hint} Known: {', '.join(names) or 'none'}.")


def check_choice(where: str, value: object, allowed: Iterable[str]) -> None:
    """Raise unless `value` is one of the allowed words."""
    allowed = tuple(allowed)
    # by hash a list would be an error of its own
    if not isinstance(value, str) or value not in allowed:
        raise unknown_name(where, value, allowed)


def check_range(what: str, value: float, least: float, most: float) -> None:
    """Raise unless `value` lies in [least, most]; NaN does not."""
    require(bool(value >= least), f"{what} must be at least {least:,}, got {short(value)}.")
    require(bool(value <= most), f"{what} must be at most {most:,}, got {short(value)}.")


def is_number(value: Any) -> TypeGuard[float]:
    """A finite real number, and no truth value."""
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if isinstance(value, int):
        # math.isfinite is an error of its own for an integer beyond float64
        return is_real and abs(value) <= int(sys.float_info.max)
    return is_real and math.isfinite(value)  # pyright: ignore


def short(value: object) -> str:
    """The value as Python writes it, cut where that is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits; an endless list
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def printable(text: str, keep: str = "") -> str:
    """`text` with an escape for each character that a terminal would obey, not show.

    Those are control characters, marks that turn the direction of writing, and the surrogates by
    which Python stands for bytes of a file name that are not UTF-8 (shown as those bytes). `keep`:
    characters left as they are, such as the newlines of a table.
    """
    if text.isprintable():
        return text
    shown = lambda c: c.isprintable() or c in keep or unicodedata.category(c) == "Zs"
    return "".join(c if shown(c) else _escape(c) for c in text)


_LONGEST = 120  # characters of a value in a message


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
