"""Where the artefact that the quick job runs on lies."""

from __future__ import annotations

from pathlib import Path

from synthsae_jax.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]
_NAME = "saelens-1k"
_FILES = ("synthetic_model_config.json", "synthetic_model.safetensors", "hierarchy.json")


def reference_artefact() -> Path:
    """The folder of the synthetic model `saelens-1k`, written by SAELens 6.54.

    1,024 features in 128 dimensions, eight trees of depth 3, a low-rank copula. A wheel carries
    it inside the package; an editable install reads the checkout's own copy in `tests/golden`.
    """
    places = (_PACKAGE / "_artefacts" / _NAME, _PACKAGE.parent / "tests" / "golden" / _NAME)
    for path in places:
        if all((path / file).is_file() for file in _FILES):
            return path
    raise ConfigError(
        f"The artefact {_NAME!r} is neither in {places[0]} nor in {places[1]}: "
        "install synthsae-jax again, or name a model folder with --model."
    )
