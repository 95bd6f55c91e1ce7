"""Nine real SAEs beside nine synthetic ones: what a world of like sharing leads one to expect.

A setting (world, width, steps of training) is chosen on the published share of shared latents
alone; cycles, agreement of encoder and decoder, and latents that never return are then read off
it and laid beside the measured ones, whatever comes out (PROTOCOL 6).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from credence.rows import cosine
from synthsae_jax import keys, saes, worlds
from synthsae_jax.matching.seed_assignments import Assignments, agreement, cycles
from synthsae_jax.suite.seeds import DEV, run_seed, world_seed
from synthsae_jax.training import TrainConfig, train
from synthsae_jax.worlds import init_instance, stack

ID = "credence-pythia@1"
PUBLISHED_SHARE = 0.42  # both assignments agree, both cosines >= .7 (arXiv 2501.16615)
PUBLISHED_NEVER = 0.35  # of a seed's latents, shared with none of the other eight
COSINE = 0.7
SEEDS = 9


@dataclasses.dataclass(frozen=True)
class SeedSetting:
    """SAEs that differ in their seed, with weights kept along training."""

    preset: str
    d_sae: int
    k: int
    n_steps: int
    snapshots: tuple[int, ...]
    batch_size: int = 256
    lr: float = 1e-2


SETTINGS = (
    SeedSetting("micro", 128, 5, 500, (25, 40, 60, 90, 130, 180, 250)),
    SeedSetting("micro", 320, 8, 500, (25, 40, 60, 90, 130, 180, 250)),
)


def train_seeds(setting: SeedSetting) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """(steps, W_dec [R, L, D], W_enc [R, L, D]) after each kept step, last the end."""
    preset = worlds.preset(setting.preset)
    seed = world_seed(ID, DEV)
    world = worlds.init_world(keys.world_key(seed), preset.world, seed=seed)
    instance = init_instance(keys.instance_key(seed % 2**20), world, preset.instance)
    sae = saes.build("topk", d_in=preset.instance.hidden_dim, d_sae=setting.d_sae, k=setting.k)
    config = TrainConfig(
        n_samples=setting.n_steps * setting.batch_size,
        batch_size=setting.batch_size,
        lr=setting.lr,
        lr_decay_steps=setting.n_steps // 3,
        dead_window=100,
        snapshots=setting.snapshots,
    )
    # the real seeds saw their tokens in one order
    seeds = np.array([[run_seed(0, s) for s in range(SEEDS)]])
    result = train(world, stack([instance]), sae, config, init_seeds=seeds, data_seed=seeds[0, :1])
    steps = (*setting.snapshots, setting.n_steps)
    rows = lambda p: np.asarray(p.W_enc[0], np.float64).swapaxes(-1, -2)
    return [
        (step, np.asarray(params.W_dec[0], np.float64), rows(params))
        for step, params in zip(steps, (*result.snapshots, result.params))
    ]


def assign(W_dec: np.ndarray, W_enc: np.ndarray) -> tuple[Assignments, dict]:
    """Optimal assignments of all pairs of seeds, and which latents of each pair are shared."""
    decoder, encoder, shared = {}, {}, {}
    for i, j in itertools.combinations(range(len(W_dec)), 2):
        by = [cosine(w[i], w[j]) for w in (W_dec, W_enc)]
        to = [linear_sum_assignment(c, maximize=True)[1].astype(np.int32) for c in by]
        at = np.arange(to[0].size)
        high = (by[0][at, to[0]] >= COSINE) & (by[1][at, to[0]] >= COSINE)
        decoder[i + 1, j + 1], encoder[i + 1, j + 1] = to
        shared[i + 1, j + 1] = (to[0] == to[1]) & high
    seeds = tuple(range(1, len(W_dec) + 1))
    return Assignments(seeds, W_dec.shape[1], decoder, encoder), shared


def measures(data: Assignments, shared: dict | None = None) -> dict[str, float]:
    """Shares without truth: cycles, agreement, and with cosines those shared and never shared."""
    found = {
        "cycle_consistency": float(np.mean(list(cycles(data).values()))),
        "encoder_decoder_agreement": float(np.mean(list(agreement(data).values()))),
    }
    if shared is not None:
        found["shared"] = float(np.mean([s.mean() for s in shared.values()]))
        met = {s: np.zeros(data.width, bool) for s in data.seeds}
        for (i, j), yes in shared.items():
            met[i] |= yes
            met[j][data.decoder[i, j][yes]] = True
        found["never_shared"] = float(np.mean([1 - m.mean() for m in met.values()]))
    return found


def predict(settings: Sequence[SeedSetting] = SETTINGS) -> dict[str, Any]:
    """All settings by their share, and the numbers of the one nearest to the published share."""
    tried = []
    for setting in settings:
        for step, W_dec, W_enc in train_seeds(setting):
            numbers = measures(*assign(W_dec, W_enc))
            tried.append({**dataclasses.asdict(setting), "steps": step, **numbers})
    chosen = min(tried, key=lambda t: abs(t["shared"] - PUBLISHED_SHARE))
    return {"chosen": chosen, "tried": tried}


def compare(chosen: dict[str, Any], data: Assignments) -> dict[str, dict[str, float]]:
    """Predicted beside measured: on the real seeds' own file, and as published."""
    real = measures(data)
    names = ("cycle_consistency", "encoder_decoder_agreement")
    beside = {n: {"predicted": chosen[n], "measured": real[n]} for n in names}
    beside["never_shared"] = {"predicted": chosen["never_shared"], "measured": PUBLISHED_NEVER}
    beside["shared_chosen_on"] = {"predicted": chosen["shared"], "measured": PUBLISHED_SHARE}
    return beside
