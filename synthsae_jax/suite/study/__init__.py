"""What experiments are made of: settings that train, readings, pairs, families.

`Study` says where a cell stands and trains; `read` gives what an SAE does on a stream and which
features it tracks; a `Pair` of readings answers rules, measures and protocols beside the truth.
"""

from synthsae_jax.suite.context import flags
from synthsae_jax.suite.pair import (
    ALL_RULES,
    RELATIONAL,
    TRUTH,
    Number,
    Pair,
    measure_numbers,
    protocol_numbers,
    rows_of_pair,
    rule_numbers,
    truth_numbers,
)
from synthsae_jax.suite.reading import (
    Reading,
    Subject,
    read,
    read_codes,
    read_latents,
    read_truth,
    subjects,
    truth_evidence,
)
from synthsae_jax.suite.study.families import FamilyPair, family_of, family_pairs, train_family
from synthsae_jax.suite.study.select import by_world, mean, select, values
from synthsae_jax.suite.study.setting import (
    Study,
    Trained,
    balanced,
    cells_by_arm,
)

__all__ = [
    "ALL_RULES",
    "RELATIONAL",
    "TRUTH",
    "FamilyPair",
    "Number",
    "Pair",
    "Reading",
    "Study",
    "Subject",
    "Trained",
    "balanced",
    "by_world",
    "cells_by_arm",
    "family_of",
    "family_pairs",
    "flags",
    "mean",
    "measure_numbers",
    "protocol_numbers",
    "read",
    "read_codes",
    "read_latents",
    "read_truth",
    "rows_of_pair",
    "rule_numbers",
    "select",
    "subjects",
    "train_family",
    "truth_evidence",
    "truth_numbers",
    "values",
]
