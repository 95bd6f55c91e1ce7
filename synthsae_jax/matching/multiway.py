"""Three and more SAEs: do pairwise matchings agree, and one registry of latents for all of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from synthsae_jax.errors import require
from synthsae_jax.matching.records import Matching

NAN = float("nan")
Pairwise = Mapping[tuple[int, int], Matching]


def cycle_consistency(ab: Matching, bc: Matching, ac: Matching) -> dict[str, float]:
    """Does A -> B -> C lead to the same latent as A -> C? Shares of A's latents, no truth needed.

    Of latents of A that have both routes to C, `cycle_consistency` is the share for which they
    meet (NaN where no latent has both); `n_paths` is how many have both, and `cycle_coverage`
    their share of those that have at least one. Chance for random matchings is 1/L_C. A one-to-one
    or an A-to-many direction of matching is needed: each latent of A, and of B, may have one
    partner.
    """
    to_b, b_to_c, to_c = (_as_map(m) for m in (ab, bc, ac))
    around = {i: b_to_c[j] for i, j in to_b.items() if j in b_to_c}
    both = around.keys() & to_c.keys()
    meet = sum(around[i] == to_c[i] for i in both)
    some = around.keys() | to_c.keys()
    return {
        "cycle_consistency": meet / len(both) if both else NAN,
        "cycle_coverage": len(both) / len(some) if some else NAN,
        "n_paths": float(len(both)),
    }


def mean_cycle_consistency(pairwise: Pairwise, n_saes: int) -> dict[str, float]:
    """`cycle_consistency` over all triples a < b < c of SAEs: mean of each key over the triples.

    `pairwise[a, b]` is the matching with rows of SAE a and columns of SAE b, for all a < b. Each
    triple counts alike; triples without any path are left out of the mean (`n_triples` counts the
    rest).
    """
    _check_pairwise(pairwise, n_saes, 3)
    triples = [
        cycle_consistency(pairwise[a, b], pairwise[b, c], pairwise[a, c])
        for a, b, c in itertools.combinations(range(n_saes), 3)
    ]
    defined = [t for t in triples if not np.isnan(t["cycle_consistency"])]
    mean = lambda name: float(np.mean([t[name] for t in defined])) if defined else NAN
    names = ("cycle_consistency", "cycle_coverage", "n_paths")
    return {**{name: mean(name) for name in names}, "n_triples": float(len(defined))}


def match_many(pairwise: Pairwise, widths: Sequence[int]) -> list[np.ndarray]:
    """A cycle-consistent matching of S SAEs: each latent's group, int32 `[L_s]` per SAE.

    Latents of one group are called one and the same; a group has at most one latent of each SAE,
    so following it around any cycle comes back. -1 where a latent is matched with nobody. Groups
    are numbered from the largest down. Valid pairs of `pairwise[a, b]` (rows of SAE a, columns of
    SAE b, for some or all a < b) are taken from the best score down, ties in order of (a, b, row,
    col); a pair joins the groups of its two latents if these have no SAE in common. `widths`: L_s.
    """
    _check_pairwise(pairwise, len(widths), 2, all_pairs=False)
    first = np.concatenate([[0], np.cumsum(widths)])
    edges = []
    for (a, b), m in sorted(pairwise.items()):
        valid = np.asarray(m.valid)
        row, col, score = (np.asarray(v)[valid] for v in (m.row, m.col, m.score))
        require(
            row.size == 0 or (row.max() < widths[a] and col.max() < widths[b]),
            f"the matching of SAEs {a} and {b} names latents beyond {widths[a]} and {widths[b]}.",
        )
        edges += zip((-score).tolist(), (first[a] + row).tolist(), (first[b] + col).tolist())
    # As Kruskal builds a spanning tree, with a veto: the best pairs settle who belongs together
    # before weaker ones could join groups that hold two latents of one SAE.
    edges.sort(key=lambda edge: edge[0])  # stable: ties stay in order

    sae_of = np.repeat(np.arange(len(widths)), widths)
    leader = list(range(first[-1]))
    saes = {i: {int(sae_of[i])} for i in leader}
    members = {i: [i] for i in leader}
    for _, i, j in edges:
        one, other = leader[i], leader[j]
        if one != other and not saes[one] & saes[other]:
            saes[one] |= saes.pop(other)
            for k in members[other]:
                leader[k] = one
            members[one] += members.pop(other)

    groups = sorted((g for g in members.values() if len(g) > 1), key=lambda g: (-len(g), min(g)))
    label = np.full(first[-1], -1, np.int32)
    for number, group in enumerate(groups):
        label[group] = number
    return np.split(label, first[1:-1])


def reappearance(groups: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Share of the other SAEs in which each latent reappears, float32 `[L_s]` per SAE.

    From `match_many`; 0 for a latent matched with nobody. The stability of a feature in arXiv
    2606.12138, with the groups as matches.
    """
    require(len(groups) >= 2, f"reappearance needs at least two SAEs; given {len(groups)}.")
    everybody = np.concatenate([np.asarray(g) for g in groups])
    sizes = np.bincount(everybody[everybody >= 0], minlength=1)
    others = lambda g: np.where(g >= 0, sizes[np.maximum(g, 0)] - 1, 0)
    return [(others(np.asarray(g)) / (len(groups) - 1)).astype(np.float32) for g in groups]


def _as_map(m: Matching) -> dict[int, int]:
    valid = np.asarray(m.valid)
    row, col = np.asarray(m.row)[valid].tolist(), np.asarray(m.col)[valid].tolist()
    require(
        len(set(row)) == len(row),
        "cycle consistency needs at most one partner per latent of the first side.",
    )
    return dict(zip(row, col))


def _check_pairwise(pairwise: Pairwise, n: int, least: int, all_pairs: bool = True) -> None:
    require(n >= least, f"needs at least {least} SAEs; given {n}.")
    allowed = set(itertools.combinations(range(n), 2))
    wrong = sorted(set(pairwise) - allowed)
    require(not wrong, f"matchings are keyed (a, b) with 0 <= a < b < {n}; given {wrong[:1]}.")
    missing = sorted(allowed - set(pairwise)) if all_pairs else []
    require(not missing, f"the matching of SAEs {missing[:1]} is missing.")
