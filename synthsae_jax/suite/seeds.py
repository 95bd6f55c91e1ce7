"""Which worlds and seeds a benchmark uses: dev worlds to choose on, report worlds to report on."""

from __future__ import annotations

import hashlib

DEV = "dev"
PUBLIC = ""  # the salt of the public report worlds


def world_seed(benchmark: str, salt: str, index: int = 0) -> int:
    """Integer seed (31 bits) of a world: a hash of (benchmark id, salt, index).

    Settings are chosen on worlds of salt `DEV`; numbers come from others (PROTOCOL 5).
    """
    text = f"{benchmark}|{salt}|{index}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "big") >> 1


def run_seed(instance: int, replicate: int) -> int:
    """Init and data seed of a run: 1000 i + s, so that no scored pair shares one (PROTOCOL 2)."""
    return 1000 * instance + replicate
