"""Options of registered functions are their keyword-only parameters; anything else is refused."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

from synthsae_jax.errors import unknown_name


def check_options(entry: str, function: Callable, options: Mapping[str, object]) -> None:
    """Raise `ConfigError` unless each option is a keyword-only parameter of `function`.

    `entry` says whose options they are, such as "solver 'argmax'".
    """
    parameters = inspect.signature(function).parameters.values()
    allowed = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    for name in options:
        if name not in allowed:
            raise unknown_name(f"option of {entry}", name, allowed)
