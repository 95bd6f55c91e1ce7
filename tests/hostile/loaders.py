"""Everything that reads what somebody else wrote, each with a small valid input of its own."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy import sparse

from synthsae_jax import io, match, matching
from synthsae_jax.io import configs, manifest, results
from synthsae_jax.io.arrays import map_array
from synthsae_jax.io.rows import make_row

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
CONFIG = {"name": "topk", "k": 3, "nested": {"widths": [4, 8]}}


@dataclasses.dataclass(frozen=True)
class Loader:
    """A reader: `make` writes a valid file or folder of this name, `load` reads it."""

    name: str
    file: str
    make: Callable[[Path], Any]
    load: Callable[[Path], Any]
    weight: int = 1  # of the inputs of a long run; what compiles for each input gets few


def _golden(*parts: str) -> Callable[[Path], Any]:
    return lambda path: shutil.copytree(GOLDEN.joinpath(*parts), path)


def _arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    vector = lambda n: rng.normal(size=n).astype(np.float32)
    return {
        "W_dec": rng.normal(size=(10, 6)).astype(np.float32),
        "W_enc": rng.normal(size=(6, 10)).astype(np.float32),
        "b_enc": vector(10),
        "b_dec": vector(6),
        "k": np.array(3),
        "apply_b_dec_to_input": np.array(1),
    }


def _sharded(path: Path) -> None:
    shutil.copytree(GOLDEN / "saelens-saes" / "topk", path)
    weights = path / "sae_weights.safetensors"
    tensors = load_file(weights)
    weights.unlink()
    parts = {name: f"part-{i % 2}.safetensors" for i, name in enumerate(sorted(tensors))}
    for part in set(parts.values()):
        save_file({k: v for k, v in tensors.items() if parts[k] == part}, path / part)
    index = path / "sae_weights.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": parts}))


def _codes() -> np.ndarray:
    rng = np.random.default_rng(0)
    return ((rng.random((30, 10)) < 0.3) * rng.random((30, 10))).astype(np.float32)


def rows() -> list[dict[str, Any]]:
    """A small table of results."""
    return [
        make_row(benchmark="x@1", run_id=f"r{i}", step=1, metric=m, value=0.5, n_eval=10)
        for i in range(3)
        for m in ("f1", "mcc")
    ]


def _result_folder(path: Path) -> None:
    path.mkdir()
    results.write_rows(path / results.RESULTS, rows())
    seeds = {"instance": [0], "init": [0], "data": [1000]}
    made = manifest.make_manifest("x@1", "smoke", "0" * 64, {"first": [0.5, 1.5]}, seeds)
    manifest.write_manifest(path, manifest.finish(made, "completed"))


def _record(path: Path) -> None:
    folder = path.parent / "saes-of-the-record"
    folder.mkdir(exist_ok=True)
    files = [folder / "a.npz", folder / "b.npz"]
    for i, file in enumerate(files):
        np.savez(file, W_dec=np.random.default_rng(i).normal(size=(12, 6)))
    record = match.match_saes(files, weights_only=True, protocols=(), draws=0)
    match.write_match(path, record)


def _credence(path: Path) -> None:
    shutil.copyfile(Path(matching.__file__).parent / "data" / "credence.json", path)


def _config(path: Path) -> None:
    configs.store_config(path, CONFIG)


def _saes() -> list[Loader]:
    kinds = sorted(p.name for p in (GOLDEN / "saelens-saes").iterdir() if p.is_dir())
    return [
        Loader(f"SAE folder {k}", "sae", _golden("saelens-saes", k), io.load_saelens_sae, 3)
        for k in kinds
    ]


LOADERS: dict[str, Loader] = {
    loader.name: loader
    for loader in (
        *_saes(),
        Loader("sharded SAE folder", "sae", _sharded, io.load_sae, 4),
        Loader("arrays .npz", "sae.npz", lambda p: np.savez(p, **_arrays()), io.load_sae, 8),
        Loader(
            "arrays .npz, deflated",
            "sae.npz",
            lambda p: np.savez_compressed(p, **_arrays()),
            io.load_sae,
            8,
        ),
        Loader(
            "arrays .safetensors",
            "sae.safetensors",
            lambda p: save_file(_arrays(), p),
            io.load_sae,
            8,
        ),
        Loader(
            "codes .npz",
            "codes.npz",
            lambda p: sparse.save_npz(p, sparse.csr_matrix(_codes())),
            io.load_codes,
            8,
        ),
        Loader("codes .npy", "codes.npy", lambda p: np.save(p, _codes()), io.load_codes, 8),
        Loader("activations .npy", "acts.npy", lambda p: np.save(p, _codes()), map_array, 4),
        Loader("synthetic model", "model", _golden("saelens-tiny"), io.load_saelens_model, 2),
        Loader("result folder", "folder", _result_folder, manifest.read_folder, 8),
        Loader(
            "rows",
            "results.jsonl",
            lambda p: results.write_rows(p, rows()),
            results.read_rows,
            8,
        ),
        Loader(
            "stored config",
            "folder",
            _config,
            lambda p: configs.load_config(p, configs.config_hash(CONFIG)),
            4,
        ),
        Loader("match record", "record.json", _record, match.read_match, 4),
        Loader("credence artefact", "credence.json", _credence, matching.load_credence, 2),
    )
}
