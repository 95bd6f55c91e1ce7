"""The command line's words to a command record; a mistake becomes one line, not a box of help."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import itertools
import operator
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import tyro

from synthsae_jax import interrupts
from synthsae_jax.errors import ConfigError, unknown_name

_HELP = ("-h", "--help")


def parse(program: str, argv: Sequence[str], commands: Mapping[str, type]) -> Any:
    """The record of the command that was asked for, or None where help was printed instead.

    `commands` maps a name to a dataclass whose fields are its arguments. Raises `ConfigError`
    with one line: what was given, what is allowed, and the nearest name.
    """
    union: Any = functools.reduce(
        operator.or_,
        (Annotated[command, tyro.conf.subcommand(name)] for name, command in commands.items()),
    )
    box = io.StringIO()
    try:
        # tyro explains a mistake in a box on stderr; what it says is read back and said in one
        # line.
        with contextlib.redirect_stderr(box):
            # without the last option each flag would have a twin, --no-...
            return tyro.cli(
                union, prog=program, args=list(argv), config=(tyro.conf.FlagCreatePairsOff,)
            )
    except interrupts.Terminated:  # which is a SystemExit too
        raise
    except SystemExit as end:
        if not end.code:
            return None
    raise _mistake(program, argv, commands, box.getvalue())


def _mistake(
    program: str, argv: Sequence[str], commands: Mapping[str, type], box: str
) -> ConfigError:
    if not argv:
        return ConfigError(
            f"No command given. Known: {', '.join(commands)}; '{program} --help' says more."
        )
    if argv[0] not in commands:
        return unknown_name("command", argv[0], commands)
    command, more = argv[0], f"'{program} {argv[0]} --help' says more."
    # what has no default is given by position, everything else by a flag
    flags = [
        "--" + field.name.replace("_", "-")
        for field in dataclasses.fields(commands[command])
        if field.default is not dataclasses.MISSING
    ]
    for word in argv[1:]:
        flag = word.split("=", 1)[0]
        if re.match("--?[a-zA-Z]", flag) and flag.replace("_", "-") not in (*flags, *_HELP):
            return unknown_name(f"flag of {command!r}", flag, flags)
    text = _first_sentence(box)
    if parts := re.match(r"Missing from [^:]*: (\S+)", text):
        return ConfigError(f"{command}: {parts[1]} is missing; {more}")
    if parts := re.match(r"Unrecognized options: (.*)", text):
        return ConfigError(f"{command}: no argument takes {parts[1]!r}; {more}")
    if parts := re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of (.*)", text):
        choices = re.findall("'([^']*)'", parts[3])
        return unknown_name(f"value of {parts[2]}", parts[1], choices)
    return ConfigError(f"{command}: {text}; {more}")


def _first_sentence(box: str) -> str:
    """What a box of tyro says between its title and its next rule, as one line.

    On a terminal the box has colours; where stdout is not UTF-8 it has no frame, and dashes.
    """
    lines = [
        re.sub("^-{3,}$", "", line.strip("│╭╮╰╯ ").strip("─ "))
        for line in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()
    ]
    body = list(itertools.dropwhile(lambda line: not line, lines[1:]))
    text = " ".join(itertools.takewhile(bool, body))
    return text.rstrip(" .") or "arguments do not fit"
