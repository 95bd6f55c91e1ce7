"""Numbers of k-sparse probes: how well a few latents of an SAE tell whether a feature is on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from synthsae_jax.suite.probes import sparse_probes
from synthsae_jax.suite.study import Number, Subject, read_codes, read_latents
from synthsae_jax.worlds import World

VARIANT = "sparse_probes"


def probe_numbers(
    subject: Subject,
    world: World,
    n: int,
    seed: int,
    ids: np.ndarray,
    sizes: Sequence[int] = (1, 5),
) -> list[Number]:
    """Mean F1 of probes on k latents each, "k1" and "k5", beside a probe that always says yes.

    On the stream for calibration, which nothing else reads here: fitted on its first half, scored
    on the second.
    """
    latents = read_latents(subject, world, n, seed, "calibrate")
    on = read_codes(subject.instance, world, n, seed, "calibrate")[:, ids].toarray() != 0
    found = {f"k{k}": float(np.mean(sparse_probes(latents, on, k))) for k in sizes}
    return probe_rows(found, on)


def probe_rows(found: Mapping[str, float], on: np.ndarray) -> list[Number]:
    """The numbers of probes, and of one that always says yes: 2 p / (1 + p) at rate p."""
    rate = on[len(on) // 2 :].mean(0)
    chance = float(np.mean(2 * rate / (1 + rate)))
    return [
        number
        for name, value in found.items()
        for number in (
            Number(VARIANT, name, value),
            Number(f"{VARIANT}/chance", name, chance),
        )
    ]
