"""How well each proxy tells true latents, and what is true of those that are reproduced."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from synthsae_jax.experiments.proxies.latents import Seen
from synthsae_jax.experiments.proxies.setting import (
    AGREE,
    BINNED,
    BINS,
    BY_ARCHITECTURES,
    KINDS,
    REPRODUCED,
    STABLE,
    STRATA,
    TRUTHS,
    WITNESSES,
    Entry,
)
from synthsae_jax.matching.detection import auroc
from synthsae_jax.suite.quarters import quarters

Proxies = Mapping[str, Sequence[np.ndarray]]  # by name, [L] per SAE of a group
Counted = dict[Entry, tuple[float, str]]  # a number, and why it is undefined where it is
DEAD = "all latents are dead"


def without(proxy: str) -> str:
    """Why no living latent has this proxy."""
    reasons = {
        "encoder_decoder": "these SAEs have no encoder",
        BY_ARCHITECTURES: "no other architecture is trained",
    }
    return reasons.get(proxy, DEAD)


def areas(group: Sequence[Seen], proxies: Proxies) -> Counted:
    """AUROC of each proxy over the living latents of a group."""
    alive, true = (_joined(group, what) for what in (lambda s: s.alive, lambda s: s.true[AGREE]))
    counted: Counted = {}
    for name, of_each in proxies.items():
        values = np.concatenate(of_each)
        defined = alive & np.isfinite(values)
        entry = Entry("auroc", name)
        if defined.any():
            area = auroc(values[defined], true[defined])
            counted[entry] = area, "all living latents are true, or none is"
        else:
            counted[entry] = math.nan, without(name)
    return counted


def quadrants(group: Sequence[Seen], proxies: Proxies) -> Counted:
    """Counts of (true or artefact) x (reproduced or not), by quarter of the firing rate."""
    counted: Counted = {}
    quarter = [quarters(seen.fired) for seen in group]
    for entry in quadrant_entries(proxies):
        proxy, least = WITNESSES[entry.proxy]
        if all(np.isnan(values).all() for values in proxies[proxy]):
            counted[entry] = math.nan, without(proxy)
            continue
        n = 0
        for seen, values, of_seen in zip(group, proxies[proxy], quarter, strict=True):
            true, again = seen.true[entry.truth], values >= least
            kinds = (true & again, true & ~again, ~true & again, ~true & ~again)
            of_kind = dict(zip(KINDS, kinds, strict=True))[entry.metric.removeprefix("n_")]
            n += int((of_kind & (of_seen == STRATA.index(entry.stratum))).sum())
        counted[entry] = n, ""
    return counted


def quadrant_entries(proxies: Sequence[str] | Proxies) -> Iterator[Entry]:
    """What `quadrants` counts of these proxies: all four kinds for one witness and truth alone."""
    for witness, (proxy, _) in WITNESSES.items():
        for truth in TRUTHS if proxy in proxies else ():
            kinds = KINDS if (witness, truth) == (STABLE, AGREE) else REPRODUCED
            for stratum in STRATA:
                yield from (Entry(f"n_{kind}", witness, truth, stratum) for kind in kinds)


def histograms(groups: Sequence[tuple[Sequence[Seen], Proxies]]) -> Counted:
    """True latents and artefacts by value of a proxy: what carries over to other worlds."""
    counted = {entry: 0.0 for entry in histogram_entries()}
    for name in BINNED:
        for group, proxies in groups:
            for seen, values in zip(group, proxies[name], strict=True):
                defined = seen.alive & np.isfinite(values)
                # a value of 1 belongs to the last bin
                bins = np.clip(values[defined] * BINS, 0, BINS - 1).astype(int)
                true = seen.true[AGREE][defined]
                for kind, of_kind in (("true", true), ("artefact", ~true)):
                    for b, n in enumerate(np.bincount(bins[of_kind], minlength=BINS)):
                        counted[Entry(f"n_{kind}", name, bin=b)] += n
    return {entry: (n, "") for entry, n in counted.items()}


def histogram_entries() -> Iterator[Entry]:
    """What `histograms` counts."""
    for name in BINNED:
        for kind in ("true", "artefact"):
            yield from (Entry(f"n_{kind}", name, bin=b) for b in range(BINS))


def _joined(group: Sequence[Seen], what) -> np.ndarray:
    return np.concatenate([what(seen) for seen in group])
