"""Named worlds and instances, so that numbers from different papers are about the same thing.

Their slots are pilots' with room to spare, and fixed: worlds of a preset share compiled programs.
"""

from __future__ import annotations

import dataclasses

from synthsae_jax.registry import Explanation, Registry
from synthsae_jax.worlds.build import WorldConfig
from synthsae_jax.worlds.correlation import LowRank
from synthsae_jax.worlds.firing import ScaledZipf, Zipfian
from synthsae_jax.worlds.forest import HierarchyConfig
from synthsae_jax.worlds.instance import InstanceConfig
from synthsae_jax.worlds.magnitude import FoldedNormal, LinearMagnitude

_SOURCE = "SynthSAEBench, arXiv 2602.14687"


@dataclasses.dataclass(frozen=True)
class Preset:
    """A world, an instance of it, and the SAEs that are usually trained on it."""

    name: str
    world: WorldConfig
    instance: InstanceConfig
    d_sae: int  # L: usual width
    k: float  # usual k; near the L0 of the d_sae most frequent features unless said otherwise


presets: Registry[Preset] = Registry("preset")


def preset(name: str) -> Preset:
    """The preset of this name; `ConfigError` with the nearest name for an unknown one."""
    return presets[name]


def preset_names() -> tuple[str, ...]:
    """All presets."""
    return presets.names()


def _tree(roots: int, scaled: bool, depth: int = 3) -> HierarchyConfig:
    return HierarchyConfig(
        total_root_nodes=roots,
        branching_factor=4,
        max_depth=depth,
        mutually_exclusive_portion=1.0,
        compensation="saelens",
        scale_children_by_parent=scaled,
    )


def _world(
    n: int, min_prob: float, tree: HierarchyConfig, slots: tuple[int, ...], max_prob: float = 0.4
) -> WorldConfig:
    return WorldConfig(
        n_features=n,
        firing=Zipfian(exponent=0.5, max_prob=max_prob, min_prob=min_prob),
        hierarchy=tree,
        correlation=LowRank(rank=25, scale=0.1),
        mean=LinearMagnitude(5.0, 4.0),
        std=FoldedNormal(0.5, 0.5),
        slots=slots,
    )


def _add(preset: Preset, what: str, source: str = _SOURCE) -> None:
    presets.register(preset.name, Explanation(what=what, source=source))(preset)


_add(
    Preset(
        "micro",
        WorldConfig(
            n_features=256,
            firing=ScaledZipf(exponent=0.7, mean_l0=6.0),
            mean=LinearMagnitude(5.0, 4.0),
            std=FoldedNormal(0.5, 0.5),
            slots=(8, 40, 32),
        ),
        InstanceConfig(hidden_dim=64, bias_norm=0.5),
        d_sae=128,
        k=5,
    ),
    "256 features in 64 dimensions, Zipf exponent .7 at mean L0 6, no trees, no correlation: for "
    "tests, seconds.",
    source="",
)
_add(
    Preset(
        "mini",
        WorldConfig(
            n_features=256,
            firing=Zipfian(exponent=0.5, max_prob=0.4, min_prob=2e-3),
            hierarchy=_tree(4, scaled=False, depth=2),
            correlation=LowRank(rank=10, scale=0.15),
            mean=LinearMagnitude(5.0, 4.0),
            std=FoldedNormal(0.5, 0.5),
            slots=(8, 32, 16, 16, 40),
        ),
        InstanceConfig(hidden_dim=96, bias_norm=0.5),
        d_sae=96,
        k=4,
    ),
    "256 features in 96 dimensions with all that the large worlds have: 4 trees of depth 2, "
    "exclusion, rank-10 correlation. The family of the quick job.",
    source="",
)
_add(
    Preset(
        "1k",
        _world(1024, 5e-4, _tree(8, scaled=False), (8, 32, 16, 16, 16, 56)),
        InstanceConfig(hidden_dim=128, bias_norm=10.0),
        d_sae=256,
        k=10,
    ),
    "1,024 features in 128 dimensions, 8 trees of depth 3, rank-25 correlation: the configuration "
    "of the reference artefact saelens-1k. SAEs of width 256; k = 10 is SAELens' comparison, the "
    "256 most frequent features have L0 5.5.",
)
_add(
    Preset(
        "4k",
        _world(4096, 2e-3, _tree(32, scaled=True), (24, 72, 32, 32, 32, 104)),
        InstanceConfig(hidden_dim=256, bias_norm=0.5),
        d_sae=1024,
        k=12,
    ),
    "4,096 features in 256 dimensions, 32 trees of depth 3, children scaled by the parent. SAEs of "
    "width 1,024.",
)
_add(
    Preset(
        "synthsaebench-16k",
        _world(16_384, 5e-4, _tree(128, scaled=True), (40, 96, 40, 40, 40, 144)),
        InstanceConfig(hidden_dim=768, bias_norm=0.5),
        d_sae=4096,
        k=25,
    ),
    "The published benchmark: 16,384 features in 768 dimensions, 128 trees of depth 3, children "
    "scaled by the parent, L0 34.4. SAEs of width 4,096 at L0 25.",
)
_add(
    Preset(
        "synthsaebench-16k-v1",
        _world(16_384, 5e-4, _tree(128, scaled=False), (40, 96, 40, 40, 40, 144)),
        InstanceConfig(hidden_dim=768, bias_norm=0.5),
        d_sae=4096,
        k=25,
    ),
    "The artefact first uploaded under that name: as synthsaebench-16k, children not scaled.",
)

_add(
    Preset(
        "1m",
        _world(
            48 * 21_845 + 5504,
            5e-4,
            _tree(48, scaled=True, depth=7),
            (24, 88, *[24] * 7, 184),
            0.33,
        ),
        # Orthogonalising keeps four more arrays of the dictionary's size, and a million rows in so
        # few dimensions overlap nearly as before.
        InstanceConfig(hidden_dim=512, bias_norm=0.5, orthogonalize_steps=0),
        d_sae=16_384,
        k=20,
    ),
    "1,054,064 features in 512 dimensions at the L0 of synthsaebench-16k: 48 trees of depth 7, "
    "its 5,504 free features, and its laws with firing probabilities from .33 down; directions "
    "are random, not orthogonalised. For cost that follows what fires; its dictionary takes 2 GB.",
    source="",
)
