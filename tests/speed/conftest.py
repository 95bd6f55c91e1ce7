"""The speed scripts are run from their folder; their tests import them from there."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "speed"
sys.path.insert(0, str(FOLDER))
