"""The setting of proxies@1: SAEs by architecture and setting, and what every number is about."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from synthsae_jax.suite.design import Arm
from synthsae_jax.suite.scale import TREES_AT, TreesScale, scales_of

RUNS = 3  # seeds of a setting
CREDENCE, DECODER, CORRELATION = (
    "universality_credence",
    "reappearance_decoder",
    "best_correlation",
)
BY_ARCHITECTURES, BY_MODELS = (
    "best_correlation_architectures",
    "best_correlation_models",
)
# of a latent, from its SAE and the other seeds of its setting
FROM_SEEDS = (
    DECODER,
    "reappearance_codes",
    "best_cosine",
    CORRELATION,
    "cycle",
    "encoder_decoder",
    "firing_rate",
    CREDENCE,
)
PROXIES = (*FROM_SEEDS, BY_ARCHITECTURES, BY_MODELS)
# of an SAE: the mean of a latent's, and what its loss and its seeds say
OF_SAES = (*FROM_SEEDS, "pw_mcc", "explained_variance", "low_l0", "alive")
F1 = "f1"  # what those of an SAE are to predict
SAME_COSINE, SAME_CODE = 0.7, 0.5
# who reproduces a latent -> the proxy that says so, and from where on
WITNESSES = {
    "seeds, decoder": (DECODER, 1.0),
    "seeds, codes": (CORRELATION, SAME_CODE),
    "architectures": (BY_ARCHITECTURES, SAME_CODE),
    "models": (BY_MODELS, SAME_CODE),
}
STABLE = "seeds, decoder"
AGREE, ANY = TRUTHS = ("agree", "any")  # any: as soon as one method at one threshold says so
STRATA = ("q1", "q2", "q3", "q4")  # quarters of the living latents by firing rate, rarest first
KINDS = ("true_reproduced", "true_single", "artefact_reproduced", "artefact_single")
REPRODUCED = KINDS[::2]
BINNED = (CREDENCE, CORRELATION, DECODER)
BINS = 10  # of a proxy between 0 and 1
TOGETHER = "all"  # condition of numbers of all architectures together


@dataclasses.dataclass(frozen=True)
class Entry:
    """What one number is about."""

    metric: str
    proxy: str  # or a witness
    truth: str = AGREE
    stratum: str = "all"
    bin: int | None = None

    @property
    def variant(self) -> str:
        """The entry as text, beside its metric."""
        parts = [p for p in (self.proxy, self.truth, self.stratum) if p not in (AGREE, "all")]
        return "/".join(parts if self.bin is None else [*parts, f"bin{self.bin}"])

    def columns(self) -> dict[str, Any]:
        """Its factors."""
        factors = {"proxy": self.proxy, "truth": self.truth, "stratum": self.stratum}
        return factors if self.bin is None else {**factors, "bin": self.bin}


class Setting(NamedTuple):
    """How SAEs differ from those of the scale, as factors."""

    k: float = 1.0
    width: float = 1.0
    lr: float = 1.0


SETTINGS: Mapping[str, Setting] = {
    "half k": Setting(k=0.5),
    "double k": Setting(k=2.0),
    "slow": Setting(lr=0.1),
    "narrow": Setting(width=0.5),
}
MODEL = "model"


class Plan(NamedTuple):
    """A group of seeds: its architecture, its setting, and on which of the two models."""

    sae: str
    setting: Setting = Setting()
    member: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProxiesScale(TreesScale):
    """With the architectures, and the other settings of the first of them."""

    architectures: tuple[str, ...] = (
        "topk",
        "batchtopk",
        "matryoshka",
        "standard",
        "matching_pursuit",
    )
    settings: tuple[str, ...] = tuple(SETTINGS)

    def plans(self) -> dict[str, Plan]:
        """Label -> what is trained, in order; the last is on another model."""
        first = self.architectures[0]
        return {
            **{name: Plan(name) for name in self.architectures},
            **{name: Plan(first, SETTINGS[name]) for name in self.settings},
            MODEL: Plan(first, member=1),
        }


SCALES = scales_of(
    ProxiesScale,
    smoke={
        **TREES_AT["smoke"],
        "arms": ("plain",),
        "architectures": ("topk",),
        "settings": (),
        "width": 160,
    },
    small={
        **TREES_AT["small"],
        "architectures": ("topk", "matryoshka", "standard", "matching_pursuit"),
        "width": 160,
    },
    standard={**TREES_AT["standard"], "width": 256},
    full={**TREES_AT["full"], "width": 1024},
)
ARCHITECTURES = tuple({name: None for scale in SCALES.values() for name in scale.architectures})


@dataclasses.dataclass(frozen=True)
class Worlds(Arm):
    """Worlds with or without trees."""

    trees: bool = False


PLAIN, TREES = "plain", "trees"
ARMS = (Worlds(PLAIN), Worlds(TREES, trees=True))


def sizes(scale: ProxiesScale, arm: Worlds) -> ProxiesScale:
    """The sizes of an arm: with trees, another preset."""
    return scale.with_trees() if arm.trees else scale


def levels(scale: ProxiesScale) -> dict[str, Sequence[Any]]:
    """Values of the columns that vary within an arm."""
    return {
        "condition": (*scale.architectures, *scale.settings, TOGETHER),
        "proxy": tuple(dict.fromkeys((*PROXIES, *OF_SAES, F1, *WITNESSES))),
        "truth": TRUTHS,
        "stratum": ("all", *STRATA),
        "bin": tuple(range(BINS)),
    }
