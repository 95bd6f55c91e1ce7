"""Three SAEs and more: do pairwise matchings close, and in how many SAEs does a latent return?"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from synthsae_jax.matching import Matching, cycle_consistency, match_many
from synthsae_jax.matching.multiway import mean_cycle_consistency, reappearance

Pairwise = Mapping[tuple[int, int], Matching]


def many(pairwise: Pairwise, widths: Sequence[int]) -> dict[str, Any] | None:
    """Cycle consistency of all triples, and one registry of the latents of all SAEs.

    `pairwise[a, b]` for all a < b. `cycles`: for each triple a < b < c the share of A's latents
    with both routes to C for which they meet, its coverage, and chance, 1 / L_C. `groups`: the
    number of each latent's group, -1 for none (`matching.match_many`); `reappearance`: the share of
    the other SAEs that have a latent of its group. None for two SAEs.
    """
    n = len(widths)
    if n < 3:
        return None
    triples = []
    for a, b, c in itertools.combinations(range(n), 3):
        cycle = cycle_consistency(pairwise[a, b], pairwise[b, c], pairwise[a, c])
        triples.append({"saes": [a, b, c], "chance": 1 / widths[c], **cycle})
    groups = match_many(pairwise, widths)
    return {
        "cycles": triples,
        "mean": mean_cycle_consistency(pairwise, n),
        "groups": groups,
        "reappearance": reappearance(groups),
    }
