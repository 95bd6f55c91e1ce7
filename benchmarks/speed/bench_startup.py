"""Seconds before anything happens: imports, the command's help, the first training step.

Each is a process of its own. The first step is taken twice in a fresh compile cache: what the
second process no longer waits for is what the cache saves, which the command line switches on by
itself (JAX_COMPILATION_CACHE_DIR says where, and an empty one switches it off).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import command
from harness import Times, clock

COLUMNS = ("what", "seconds", "least_seconds", "spread", "repeats")
_FOLDERS = (
    "worlds, saes, matching, similarity, metrics, training, protocols, io, suite, experiments"
)
_STEP = """
from synthsae_jax import keys, saes, training, worlds
p = worlds.preset({preset!r})
world = worlds.init_world(keys.world_key(0), p.world, seed=0)
instance = worlds.init_instance(keys.instance_key(0), world, p.instance)
sae = saes.build({sae!r}, d_in=p.instance.hidden_dim, d_sae=p.d_sae, k=p.k)
training.train(world, instance, sae, training.TrainConfig(n_samples=64, batch_size=64))
"""


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, write."""
    parser = command.options(__doc__)
    parser.set_defaults(preset="mini", repeats=3)
    given = command.parse(parser, words)
    if given.tiny:
        given.repeats = 1
    python = [sys.executable]
    short = {
        "import synthsae_jax": [*python, "-c", "import synthsae_jax"],
        "import of all its folders": [*python, "-c", f"from synthsae_jax import {_FOLDERS}"],
        "synthsae --help": [*python, "-m", "synthsae_jax", "--help"],
    }
    rows = [row_of(what, line, given.repeats) for what, line in short.items()]
    step = [*python, "-c", _STEP.format(preset=given.preset, sae=given.sae[0])]
    if not given.tiny:
        with tempfile.TemporaryDirectory() as cache:
            for what in ("first training step, empty cache", "the same, programs kept"):
                rows.append(row_of(what, step, 1, JAX_COMPILATION_CACHE_DIR=cache))
    content = command.head("startup", given) | {"import_seconds": rows[0]["seconds"], "rows": rows}
    return command.finish(content, COLUMNS, given.json)


def row_of(what: str, line: Sequence[str], repeats: int, **variables: str) -> dict[str, Any]:
    """Seconds of whole processes."""
    seconds = []
    for _ in range(repeats):
        began = clock()
        environment = {**os.environ, **variables}
        subprocess.run(line, check=True, env=environment, stdout=subprocess.DEVNULL)
        seconds.append(clock() - began)
    return {"what": what, **Times(tuple(seconds)).record()}


if __name__ == "__main__":
    command.run(main)
