"""How a training is laid out on its device: which products, and how many runs at once.

Nothing here changes a number by more than rounding.
"""

from __future__ import annotations

import dataclasses
import math
import os

import jax
import numpy as np

from synthsae_jax.errors import check_choice, require
from synthsae_jax.saes import SAE
from synthsae_jax.training.step import Numbers

PRODUCTS = ("auto", "dense", "sparse")


@dataclasses.dataclass(frozen=True)
class Device:
    """What is faster where, as measured."""

    sparse_share: float  # sparse where a sample has at most this share of its latents active
    in_turn: bool  # runs in turn, each with the caches for itself, or side by side


# Two threads of a server CPU, float32. Batch 1,024 at 16k (D 768, 4,096 latents, k 25), a step of
# batchtopk without its data: side by side 450 to 520 ms, in turn 250, in turn and sparse 90 (and 93
# for each of eight runs); matryoshka with four prefixes 275 in turn, 107 sparse. Small SAEs gain
# by turns too, in SAE-samples/s: batchtopk on 1k with 64 runs 56,000 to 167,000, on micro 105,000
# to 257,000; least of what was tried, topk on micro at batch 16 113,000 to 123,000, and matryoshka
# on micro 247,000 to 268,000.
DEVICES = {"cpu": Device(sparse_share=1 / 64, in_turn=True)}
_OTHERS = Device(sparse_share=0.0, in_turn=False)  # not measured: one batched dense program

_LEAST_CAPACITY = 32
_ROOM = 1.25  # candidates per active latent: the search for the k-th largest is a guess at first
_MEMORY_SHARE = 0.6
_COPIES = 4  # weights, two moments, gradient
_BATCH_ARRAYS = 8  # arrays [n, L] that a dense step keeps


@dataclasses.dataclass(frozen=True)
class Layout:
    """The choices for one training."""

    capacity: int | None  # active latents per sample that a sparse loss has room for; None: dense
    in_turn: bool


def layout_of(sae: SAE, numbers: Numbers, products: str) -> Layout:
    """Sparse or dense, in turn or side by side.

    "auto" is sparse where the SAE can be and it is faster. Room is a power of two, so that runs
    with another k seldom compile again.
    """
    check_choice("products", products, PRODUCTS)
    device = DEVICES.get(jax.default_backend(), _OTHERS)
    if products == "sparse":
        require(
            sae.has_sparse_loss,
            f"products 'sparse' is for float32 and k-sparse SAEs, got {sae.name!r} with dtype "
            f"{sae.options.dtype!r}; take 'auto'.",
        )
    if products == "dense" or not sae.has_sparse_loss:
        return Layout(None, device.in_turn)
    capacity = _capacity(numbers, sae.d_sae)
    if products == "sparse" or capacity <= device.sparse_share * sae.d_sae:
        # in turn, or a search that one run needs would be made for all
        return Layout(capacity, in_turn=True)
    return Layout(None, device.in_turn)


def _capacity(numbers: Numbers, d_sae: int) -> int:
    most = float(np.max(numbers.hyper.k))
    if "k" in numbers.ramps:
        most = max(most, float(np.max(numbers.ramps["k"].start)))
    room = max(_LEAST_CAPACITY, 1 << math.ceil(math.log2(_ROOM * most)))
    return min(room, d_sae)


def runs_at_once(
    sae: SAE, batch_size: int, n_instances: int, available: float | None = None
) -> int:
    """How many runs of each instance fit into memory together, at least 1.

    `available` bytes; None asks the device. What cannot be known counts as enough.
    """
    available = memory() if available is None else available
    if available is None:
        return 2**31 - 1
    params = jax.eval_shape(sae.init, jax.random.key(0))
    weights = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    shared, each = _bytes(weights, batch_size, sae.d_sae)
    return max(1, int((_MEMORY_SHARE * available - shared) / (each * n_instances)))


def program_bytes(
    weights: float, batch_size: int, d_sae: int, n_instances: int, n_runs: int
) -> float:
    """Bytes that a training of [I, R] runs takes, `weights` bytes each."""
    shared, each = _bytes(weights, batch_size, d_sae)
    return shared + each * n_instances * n_runs


def _bytes(weights: float, batch_size: int, d_sae: int) -> tuple[float, float]:
    """Bytes of a program whatever its runs, and of each run: its copies of the weights.

    A batch's arrays are there once where runs take turns, and for every run side by side.
    """
    device = DEVICES.get(jax.default_backend(), _OTHERS)
    batch = 4.0 * _BATCH_ARRAYS * batch_size * d_sae
    copies = _COPIES * weights
    return (batch, copies) if device.in_turn else (0.0, copies + batch)


def memory() -> float | None:
    """Bytes that the first device has in all; None where it does not say."""
    device = jax.local_devices()[0]
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return float(stats["bytes_limit"])
    if device.platform == "cpu" and hasattr(os, "sysconf"):
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    return None
