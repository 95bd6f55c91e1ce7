"""The record of `match_saes` as JSON: what is in it, and its numbers as JSON has them.

A record is one object:

- `schema`: this format and its version. `provenance`: versions, options, tokens, and for each SAE
  its path, the sha256 of its files, `d_in`, `d_sae`, architecture and what its codes came from.
- `latents`: for each SAE its arrays `[L]`: `fired` and `firing_rate` (null without tokens),
  `alive`, and `universality` (see `match_many`).
- `pairs`: for each two SAEs a < b the columns of the whole matching (`a`, `b`, `score`,
  `credence`, `joint`), each latent's best partner, the priors, and `protocols` by name.
- `many`: cycles and reappearance of three SAEs or more; null for two.

A number that is undefined is null, and a `reason` or `reasons` beside it says why.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from synthsae_jax.errors import ConfigError, require, short
from synthsae_jax.io import atomic
from synthsae_jax.strict_json import read_object

SCHEMA = "synthsae-match/1"
KEYS = ("schema", "provenance", "latents", "pairs", "many")
Record = dict[str, Any]
_DIGITS = 7  # significant: what float32 has


def plain(value: Any) -> Any:
    """A value as JSON has it: arrays as lists, NaN and infinities as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(v) for key, v in value.items()}
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return plain(np.asarray(value).tolist())
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value


def write_match(path: atomic.PathLike, record: Record) -> None:
    """Write the record as JSON, whole or not at all."""
    text = json.dumps(record, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    atomic.write_text(path, text + "\n")


def read_match(path: atomic.PathLike) -> Record:
    """The record in a file; `ConfigError` where it is none, or of another version."""
    record = read_object(Path(path))
    return check_record(record, str(path))


def check_record(record: Record, where: str = "record") -> Record:
    """The record, if it has the parts of this version and no two of its columns disagree."""
    require(
        record.get("schema") == SCHEMA,
        f"{where}: expected schema {SCHEMA!r}; got {short(record.get('schema'))}.",
    )
    missing = [key for key in KEYS if key not in record]
    require(not missing, f"{where}: {', '.join(missing)} is missing.")
    try:
        _check_columns(record, where)
    except ConfigError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(f"{where}: malformed record ({type(error).__name__}: {error}).") from None
    return record


def _check_columns(record: Record, where: str) -> None:
    widths = [sae["d_sae"] for sae in record["provenance"]["saes"]]
    for sae, width in zip(record["latents"], widths, strict=True):
        wrong = [k for k, v in sae.items() if isinstance(v, list) and len(v) != width]
        require(not wrong, f"{where}: {', '.join(wrong)} must have {width} entries.")
    require(isinstance(record["pairs"], list), f"{where}: pairs must be a list.")
    for pair in record["pairs"]:
        matching = pair["matching"]
        sizes = {len(v) for v in matching.values() if isinstance(v, list)}
        require(len(sizes) == 1, f"{where}: columns of a matching must be equally long.")
