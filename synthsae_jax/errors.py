"""The one kind of error a user can cause, with a message that says what to type instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """The user's input is wrong: one line with what was given and what is allowed.

    The command line prints it as it is and ends with exit status 2.
    """


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError(message)` unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def unknown_name(kind: str, given: object, allowed: Iterable[str]) -> ConfigError:
    """The error for a name nobody registered: what was given, the nearest name, all allowed."""
    names = sorted(allowed)
    near = difflib.get_close_matches(str(given), names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"Unknown {kind} {given!r}.{hint} Known: {', '.join(names) or 'none'}.")


def check_choice(where: str, given: str, allowed: Iterable[str]) -> None:
    """Raise unless `given` is one of the allowed words."""
    allowed = tuple(allowed)
    if given not in allowed:
        raise unknown_name(where, given, allowed)
