"""The one kind of error a user can cause, with a message that says what to type instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


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


def unknown_name(kind: str, given: object, allowed: Iterable[str]) -> ConfigError:
    """The error for a name nobody registered: what was given, the nearest name, all allowed."""
    names = sorted(allowed)
    near = difflib.get_close_matches(str(given)[:_LONGEST], names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"Unknown {kind} {short(given)}.{hint} Known: {', '.join(names) or 'none'}.")


def check_choice(where: str, given: object, allowed: Iterable[str]) -> None:
    """Raise unless `given` is one of the allowed words."""
    allowed = tuple(allowed)
    # by hash a list would be an error of its own
    if not isinstance(given, str) or given not in allowed:
        raise unknown_name(where, given, allowed)


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
    return "".join(c if c.isprintable() or c in keep else _escape(c) for c in text)


_LONGEST = 120  # characters of a value in a message


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
