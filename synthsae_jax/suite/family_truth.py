"""Truth of a family's SAEs by every method at every threshold: the band of PROTOCOL 3."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.matching.truth_methods import (
    TruthInputs,
    TruthRule,
    decide,
    find_candidates,
    truth_methods,
)
from synthsae_jax.matching.truth_sweep import THRESHOLDS
from synthsae_jax.suite.study import Subject, read_codes, truth_evidence
from synthsae_jax.worlds import World

Array = jax.Array
DEFAULT = ("agree", TruthRule())
# one per map of `every_truth`, the default first
SETTINGS = (DEFAULT, *((m, TruthRule().at(t)) for m in truth_methods for t in THRESHOLDS))


def every_truth(
    subjects: Sequence[Sequence[Subject]], world: World, n_samples: int, seed: int
) -> np.ndarray:
    """Truth maps int32 [truths, I, R, L] in order of `SETTINGS`; `subjects[i][r]` is a run on i.

    Read from the truth stream, which neither matching nor calibration sees; ids are `world`'s.
    """
    found = []
    for row in subjects:
        codes = read_codes(row[0].instance, world, n_samples, seed, "truth")
        maps = []
        for subject in row:
            maps.append(np.asarray(_maps(truth_evidence(subject, world, codes, seed))))
        found.append(maps)
    return np.moveaxis(np.array(found), 2, 0)


@jax.jit
def _maps(evidence: TruthInputs) -> Array:
    candidates = find_candidates(evidence, truth_methods)
    return jnp.stack([decide(m, candidates, rule, evidence) for m, rule in SETTINGS])
