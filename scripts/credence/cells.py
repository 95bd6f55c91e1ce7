"""One world of the calibrated matcher's data: train a family, keep its codes and its truth.

A cell is all that later steps read: sparse codes of every SAE on the same tokens, decoders,
encoders, and what each latent tracks under several truth methods. Making it takes the time;
everything after it is numpy.
"""

from __future__ import annotations

import dataclasses
import io
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import csr_array, vstack

from credence.worlds import CONDITIONS, ZERO_MEMBER, Place
from synthsae_jax import keys, saes, worlds
from synthsae_jax.io import atomic
from synthsae_jax.io.arrays import open_arrays
from synthsae_jax.io.numpy_files import NPZ
from synthsae_jax.metrics.evaluate import Reconstructor
from synthsae_jax.suite import pairs
from synthsae_jax.suite.seeds import run_seed
from synthsae_jax.training import train
from synthsae_jax.worlds import see, stack
from synthsae_jax.worlds.family import Family, init_family
from synthsae_jax.worlds.inputs import bare

N_TRUTH = 32_768
N_COUPLED = 32_768  # coupling by counts draws the copy thirteen times
# the default first: calibration is told under each of them
TRUTHS = (
    ("agree", 0.7, 0.5),
    ("geometric", 0.7, 0.7),
    ("functional", 0.5, 0.5),
    ("agree", 0.5, 0.3),
    ("agree", 0.9, 0.7),
)


@dataclasses.dataclass(frozen=True)
class CellData:
    """What one world left behind; SAEs are [I members, S snapshots], the last snapshot the end."""

    name: str
    split: str
    truth: np.ndarray  # int32 [T, I, S, L]
    W_dec: np.ndarray  # float32 [I, S, L, D]
    W_enc: np.ndarray  # float32 [I, S, L, D], directions as rows
    codes: list[list[csr_array]]  # [I][S], each [n, L]
    coupled: list[list[csr_array]]  # [2][S]: A and ZERO on tokens coupled by counts
    apart: list[list[csr_array]]  # [2][S]: A and ZERO with factors of their own


def make_cell(place: Place) -> CellData:
    """Train the family of a place and read its SAEs on paired tokens."""
    setting, seed = place.setting, place.seed
    instance = place.instance()
    world = worlds.init_world(keys.world_key(seed), place.world(), seed=seed)
    family = init_family(world, instance, CONDITIONS, seed % 2**20)
    built = saes.build(
        setting.sae, d_in=instance.hidden_dim, d_sae=setting.d_sae, **setting.options
    )
    members = len(CONDITIONS) + 1
    first = (seed % 2**12) * members
    seeds = np.array([[run_seed(first + i, 0)] for i in range(members)])
    result = train(
        family.base,
        family.training_views(),
        built,
        setting.config(),
        init_seeds=seeds,
        data_seed=seeds,
    )
    params = jax.tree.map(
        lambda *leaves: jnp.concatenate(leaves, axis=1), *result.snapshots, result.params
    )
    n_snapshots = len(result.snapshots) + 1
    repeat = lambda leaf: jnp.repeat(leaf, n_snapshots, axis=1)
    runs = (params, jax.tree.map(repeat, result.hyper), jax.tree.map(repeat, result.state.carried))
    reconstruct = Reconstructor(result.sae.static, "inference")

    instances = stack(list(family.instances))
    registry = family.registry("factors")
    counts = pairs.truth_counts(reconstruct, registry, instances, runs, N_TRUTH, seed % 2**20)
    maps = [
        pairs.truth_maps(method, params.W_dec, counts, bare(instances), cosine, f1)
        for method, cosine, f1 in TRUTHS
    ]
    ends = [0, ZERO_MEMBER]
    of_ends = jax.tree.map(lambda leaf: leaf[jnp.array(ends)], (instances, runs))

    def read(coupling: str, who: tuple, n: int) -> list[list[csr_array]]:
        return _codes(reconstruct, family, coupling, who[0], who[1], n, seed % 2**20)

    return CellData(
        name=place.name,
        split=place.split,
        truth=np.stack([np.asarray(m) for m in maps]),
        W_dec=np.asarray(params.W_dec, np.float32),
        W_enc=np.asarray(params.W_enc, np.float32).swapaxes(-1, -2),
        codes=read("factors", (instances, runs), setting.n_match),
        coupled=read("counts", of_ends, N_COUPLED),
        apart=read("independent", of_ends, N_COUPLED),
    )


def save_cell(cell: CellData, path: Path) -> None:
    """One uncompressed `.npz` without pickles."""
    arrays: dict[str, Any] = {"truth": cell.truth, "W_dec": cell.W_dec, "W_enc": cell.W_enc}
    for kind in ("codes", "coupled", "apart"):
        for i, row in enumerate(getattr(cell, kind)):
            for s, codes in enumerate(row):
                name = f"{kind}.{i}.{s}"
                arrays[f"{name}.data"] = codes.data.astype(np.float16)
                arrays[f"{name}.indices"] = codes.indices.astype(np.uint16)
                arrays[f"{name}.indptr"] = codes.indptr
    buffer = io.BytesIO()
    np.savez(buffer, name=cell.name, split=cell.split, **arrays)
    atomic.write_bytes(path, buffer.getvalue())


def load_cell(path: Path) -> CellData:
    """A cell as it was saved; activations at half precision."""
    with open_arrays(path, NPZ) as file:
        arrays = {name: entry.read() for name, entry in file.items()}
    n_latents = arrays["W_dec"].shape[2]

    def of_kind(kind: str) -> list[list[csr_array]]:
        places = [n.split(".")[1:3] for n in arrays if n.startswith(f"{kind}.")]
        members = 1 + max(int(i) for i, _ in places)
        snapshots = 1 + max(int(s) for _, s in places)
        return [
            [_csr(arrays, f"{kind}.{i}.{s}", n_latents) for s in range(snapshots)]
            for i in range(members)
        ]

    return CellData(
        name=str(arrays["name"]),
        split=str(arrays["split"]),
        truth=arrays["truth"],
        W_dec=arrays["W_dec"],
        W_enc=arrays["W_enc"],
        codes=of_kind("codes"),
        coupled=of_kind("coupled"),
        apart=of_kind("apart"),
    )


def _csr(arrays: dict[str, np.ndarray], name: str, n_latents: int) -> csr_array:
    data, indices, indptr = (arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr"))
    shape = (indptr.size - 1, n_latents)
    return csr_array((data.astype(np.float32), indices.astype(np.int32), indptr), shape=shape)


def _codes(
    reconstruct, family: Family, coupling: str, instances, runs, n: int, seed: int
) -> list[list[csr_array]]:
    """Sparse codes [I][S] of stacked instances and runs on the same tokens."""
    instances = bare(instances)
    world = family.registry(coupling)
    n_members, n_snapshots = jax.tree.leaves(runs)[0].shape[:2]
    parts: list[list[list[csr_array]]] = [
        [[] for _ in range(n_snapshots)] for _ in range(n_members)
    ]
    blocks = pairs.parent_codes(world, n, seed, "match")
    for key, parents in blocks:
        for batch in range(pairs.BLOCK_TOKENS // 1024):
            here = jax.tree.map(lambda leaf, b=batch: leaf[b], parents)
            dense = np.asarray(
                _latents(reconstruct, jax.random.fold_in(key, batch), here, instances, runs)
            )
            for i, s in np.ndindex(n_members, n_snapshots):
                parts[i][s].append(csr_array(dense[i, s]))
    whole = math.ceil(n / pairs.BLOCK_TOKENS) * pairs.BLOCK_TOKENS
    assert sum(p.shape[0] for p in parts[0][0]) == whole
    return [[csr_array(vstack(p, format="csr")) for p in row] for row in parts]


_latents = jax.jit(
    lambda reconstruct, key, parents, instances, runs: jax.vmap(
        lambda instance, runs: _of_instance(reconstruct, key, parents, instance, runs)
    )(instances, runs),
    static_argnums=0,
)


def _of_instance(reconstruct, key, parents, instance, runs):
    codes, x = see(key, instance, parents)
    return jax.vmap(lambda run: reconstruct(run, codes, x)[0])(runs)
