"""SAEs that know the answer: true directions and true codes of chosen features."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from synthsae_jax.matching import TruthSweep
from synthsae_jax.metrics.reference import OracleCodes, most_frequent
from synthsae_jax.suite.observation import Side
from synthsae_jax.suite.reading import DEFAULT_TRUTH, Subject
from synthsae_jax.worlds import Instance, expected_rates
from synthsae_jax.worlds.family import Family

ORACLE = "oracle"


@dataclasses.dataclass(frozen=True)
class Oracles:
    """One oracle on each model of a family, of its most frequent features."""

    subjects: list[list[Subject]]  # [I][1]
    columns: list[dict[str, Any]]  # [I]

    def side(self, i: int, r: int = 0) -> Side:
        """An oracle as one side of an observation: it can't diverge."""
        return Side(self.columns[i])


def oracle_subject(instance: Instance, ids: np.ndarray) -> Subject:
    """Latents that are the true codes of features `ids`; there is no encoder, they are told."""
    rows = np.asarray(instance.dictionary)[ids]
    run = (ids, rows, np.asarray(instance.bias))
    return Subject(ORACLE, OracleCodes(instance.dictionary.shape[0]), run, instance, rows, None)


def oracles_of(family: Family, n_latents: int, world_seed: int, first: int) -> Oracles:
    """Oracles on all models of a family, which are numbered from `first`.

    The most frequent features are the same in the plain world for every member, so that a member
    which has a twin instead has that twin here.
    """
    rates = expected_rates(family.base)
    subjects = [
        [oracle_subject(instance, most_frequent(rates, instance, n_latents))]
        for instance in family.instances
    ]
    columns = [
        {"sae": ORACLE, "instance": first + i, "run_id": f"{ORACLE}-{world_seed}-{first + i}"}
        for i in range(len(family.instances))
    ]
    return Oracles(subjects, columns)


def known_truth(subject: Subject, *_: Any) -> TruthSweep:
    """What an oracle's latents track, by any truth (a `families.Truth`)."""
    ids = np.asarray(subject.run[0], np.int32)
    return TruthSweep((DEFAULT_TRUTH,), ids[None])
