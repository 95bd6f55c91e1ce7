"""`synthsae run`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from synthsae_jax.cli.arguments import Folder, Scale, writable_folder
from synthsae_jax.cli.output import say, show_result
from synthsae_jax.errors import check_choice, require


@dataclasses.dataclass(frozen=True)
class Run:
    """Run a benchmark; 'synthsae list' names them."""

    name: Positional[Annotated[str, arg(metavar="NAME")]]
    """The benchmark, such as recovery@1."""
    scale: Scale = "smoke"
    """How large; smoke and small are pilots and cannot be cited."""
    out: Folder = None
    """Folder of the results; runs/NAME-SCALE if not given."""
    dry_run: bool = False
    """Only say what would run: runs, compiles, memory, time."""
    salt: Annotated[str | None, arg(metavar="HEX")] = None
    """Hexadecimal digits that draw fresh report worlds."""
    accept_mixed: bool = False
    """Go on in a folder whose finished cells another version made; the manifest has both."""

    def run(self) -> None:
        from synthsae_jax import suite

        check_choice("benchmark", self.name, suite.names())
        options: dict[str, Any] = {"scale": self.scale}
        if self.salt is not None:
            require(
                self.salt != "" and set(self.salt.lower()) <= set("0123456789abcdef"),
                f"--salt takes hexadecimal digits (0-9, a-f), got {self.salt!r}.",
            )
            options["salt"] = self.salt.lower()
        if self.dry_run:
            say(suite.plan(self.name, **options))
            return
        out = self.out or Path(suite.default_folder(self.name, self.scale))
        writable_folder(out)
        if self.accept_mixed:
            options["accept_mixed"] = True
        show_result(suite.run(self.name, out=out, **options), out)
