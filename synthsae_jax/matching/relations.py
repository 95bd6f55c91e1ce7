"""Solvers that read how latents stand to each other within each SAE: no common space is needed."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import quadratic_assignment

from synthsae_jax.errors import ConfigError, require
from synthsae_jax.matching.gram import compare_relations
from synthsae_jax.matching.records import Matching
from synthsae_jax.matching.solvers import solve
from synthsae_jax.options import check_options
from synthsae_jax.registry import Explanation, Registry

# (gram_a, gram_b, s or None, options) -> score [L_a, L_b] to pair by; on the host, NaN forbidden
Relate = Callable[..., np.ndarray]
relation_solvers: Registry[Relate] = Registry("relation solver")


def solve_relations(
    name: str,
    gram_a: np.ndarray,
    gram_b: np.ndarray,
    s: np.ndarray | None = None,
    threshold: float | None = None,
    alive_a: np.ndarray | None = None,
    alive_b: np.ndarray | None = None,
    **options,
) -> Matching:
    """The pairs found from within-SAE similarities `gram_a [L_a, L_a]`, `gram_b [L_b, L_b]`.

    For example `gram(W_dec)`, or correlations of codes over tokens that need not be paired.
    `s [L_a, L_b]`: scores across, where there are any (seeds, or a linear term; see the solver).
    One-to-one; dead latents play no part at all. `score` of the matching is how well a pair's
    relations agree (for `quadratic` the cosine of their profiles over all pairs found, for
    `gromov_wasserstein` the smaller of the shares of their mass they give each other). On the host.
    """
    relate = relation_solvers[name]
    check_options(f"relation solver {name!r}", relate, options)
    sides = []
    for side, relations, alive in (("a", gram_a, alive_a), ("b", gram_b, alive_b)):
        relations = np.asarray(relations, np.float64)
        n = relations.shape[0] if relations.ndim else 0
        require(
            relations.shape == (n, n) and n > 0,
            f"gram_{side} must be a square matrix [L, L], L > 0; given shape {relations.shape}.",
        )
        alive = np.ones(n, bool) if alive is None else np.asarray(alive, bool)
        require(alive.shape == (n,), f"alive_{side} must be bool [{n}]; given {alive.shape}.")
        # a latent with an undefined relation to itself (a row of NaN) is as good as dead
        index = np.flatnonzero(alive & np.isfinite(np.diag(relations)))
        inner = relations[np.ix_(index, index)]
        require(
            bool(np.isfinite(inner).all()), f"gram_{side} has NaN or infinities among the living."
        )
        sides.append((index, inner, n))
    (rows, inner_a, n_a), (cols, inner_b, n_b) = sides
    shape = (n_a, n_b) if s is None else np.shape(s)
    require(
        shape == (n_a, n_b),
        f"s must be [{n_a}, {n_b}] as the two Gram matrices say; given {shape}.",
    )
    agreement = np.full((n_a, n_b), np.nan)
    if rows.size and cols.size:
        across = None if s is None else np.asarray(s, np.float64)[np.ix_(rows, cols)]
        agreement[np.ix_(rows, cols)] = relate(inner_a, inner_b, across, **options)
    return solve("assignment", agreement, threshold)


@relation_solvers.register(
    "second_order",
    Explanation(
        what="From seeds (mutual nearest by s, at or above seed_threshold), latents are compared "
        "by their relations to the seeds; the pairs found are the next round's seeds.",
        formula="r_ij = cosine over seeds (k, l) of G_A[i, k] and G_B[j, l], means removed",
        chance="1/sqrt(M) per pair for M seeds; the best of many lies well above: set a threshold",
        undefined="without seeds nothing is matched",
        source="relative representations, Moschella et al., arXiv 2209.15430",
    ),
)
def second_order(
    gram_a: np.ndarray,
    gram_b: np.ndarray,
    s: np.ndarray | None,
    *,
    seed_threshold: float | None = None,
    rounds: int = 2,
) -> np.ndarray:
    """Agreement of relation profiles in the last round, `[L_a, L_b]`."""
    if s is None:
        raise ConfigError("second_order takes its seeds from scores: give s [L_a, L_b].")
    require(rounds >= 1, f"rounds must be at least 1; given {rounds}.")
    current: np.ndarray = s
    least = seed_threshold
    for _ in range(rounds):
        seeds = solve("mutual_nearest", current, least)
        if not np.asarray(seeds.valid).any():
            return np.full(s.shape, np.nan)
        current = np.asarray(
            compare_relations(jnp.asarray(gram_a), jnp.asarray(gram_b), anchors=seeds)
        )
        least = None
    return current


@relation_solvers.register(
    "quadratic",
    Explanation(
        what="The pairing under which one Gram matrix looks most like the other (quadratic "
        "assignment by FAQ), with s as a start. A local optimum; the best of some restarts.",
        formula="max over permutations P of tr(G_A P G_B P^T), diagonals 0",
        chance="Some agreement is always found: permute one Gram matrix's eigenvectors, or take an "
        "unrelated dictionary, for the null.",
        undefined="a latent of the longer side that nobody needs is not matched",
        source="FAQ, Vogelstein et al., arXiv 1112.5507; scipy.optimize.quadratic_assignment",
    ),
)
def quadratic(
    gram_a: np.ndarray,
    gram_b: np.ndarray,
    s: np.ndarray | None,
    *,
    restarts: int = 8,
    seed: int = 0,
) -> np.ndarray:
    """Profile agreement of the pairs found, NaN elsewhere: `[L_a, L_b]`. L of some hundreds."""
    require(restarts >= 1, f"restarts must be at least 1; given {restarts}.")
    n_a, n_b = len(gram_a), len(gram_b)
    n = max(n_a, n_b)
    padded = []
    for relations in (gram_a, gram_b):
        # Latents that are only padding stand in no relation to anybody.
        full = np.zeros((n, n))
        # The diagonal says nothing: a latent's relation to itself is 1 for all.
        full[: len(relations), : len(relations)] = relations - np.diag(np.diag(relations))
        padded.append(full)
    rng = np.random.default_rng(seed)
    best, permutation = -np.inf, np.arange(n)
    for attempt in range(restarts):
        start = _start(s, n) if attempt == 0 else _perturbed(_start(s, n), rng)
        done = quadratic_assignment(
            *padded, method="faq", options={"maximize": True, "P0": start, "rng": rng}
        )
        if done.fun > best:
            best, permutation = done.fun, done.col_ind
    row = np.arange(n_a)[permutation[:n_a] < n_b]
    col = permutation[row]
    agreement = np.full((n_a, n_b), np.nan)
    a, b = padded[0][np.ix_(row, row)], padded[1][np.ix_(col, col)]
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    agreement[row, col] = (a * b).sum(1) / np.where(norms > 0, norms, 1.0)
    return agreement


def _start(s: np.ndarray | None, n: int) -> np.ndarray:
    """A doubly stochastic start: flat, or halfway to the assignment by s."""
    flat = np.full((n, n), 1 / n)
    if s is None:
        return flat
    full = np.full((n, n), np.nan)
    full[: s.shape[0], : s.shape[1]] = s
    pairs = solve("assignment", full)
    row, col = pairs.row[pairs.valid], pairs.col[pairs.valid]
    unused = [np.setdiff1d(np.arange(n), used) for used in (row, col)]
    permutation = np.zeros((n, n))
    permutation[np.concatenate([row, unused[0]]), np.concatenate([col, unused[1]])] = 1.0
    # as FAQ's own random starts: halfway between the barycentre and a permutation
    return (flat + permutation) / 2


def _perturbed(start: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Halfway to a random doubly stochastic matrix: a mean of a few permutations."""
    n = len(start)
    noise = np.zeros((n, n))
    for _ in range(4):
        noise[np.arange(n), rng.permutation(n)] += 0.25
    return (start + noise) / 2


@relation_solvers.register(
    "gromov_wasserstein",
    Explanation(
        what="Gromov-Wasserstein: a soft pairing that keeps distances within each SAE, from no "
        "start but the marginals; s, if given, is a linear term (fused). Needs the extra `ot`.",
        formula="min over plans P of sum |C_A[i, k] - C_B[j, l]|^2 P_ij P_kl, C = 1 - G",
        chance="A local optimum of a hard problem: on unrelated sides some plan is always found.",
        undefined="nothing is matched where the solver does not converge to finite numbers",
        source="Peyre, Cuturi and Solomon 2016; ott-jax, arXiv 2201.12324",
    ),
)
def gromov_wasserstein(
    gram_a: np.ndarray,
    gram_b: np.ndarray,
    s: np.ndarray | None,
    *,
    epsilon: float = 1e-3,
    fused: float = 0.1,
    max_iterations: int = 50,
) -> np.ndarray:
    """Smaller of the two shares of their mass that i and j give each other, `[L_a, L_b]`."""
    require(epsilon > 0, f"epsilon must be positive; given {epsilon}.")
    geometry, solver = _ott("geometry.geometry"), _ott("solvers.quadratic")
    cost = lambda m: geometry.Geometry(cost_matrix=jnp.asarray(m, jnp.float32))
    linear = None
    if s is not None:
        finite = np.isfinite(s)
        require(bool(finite.any()), "gromov_wasserstein: s has no finite score.")
        usable = np.where(finite, s, s[finite].min())
        linear = cost(usable.max() - usable)
    # what is a slip in our own arrays is ott's way of writing
    with jax.numpy_rank_promotion("allow"):
        done = solver.solve(
            cost(1.0 - gram_a),
            cost(1.0 - gram_b),
            linear,
            fused_penalty=fused if s is not None else 0.0,
            epsilon=epsilon,
            max_iterations=max_iterations,
        )
    plan = np.asarray(done.matrix, np.float64)
    # Marginals are 1 / L, so this is the share of a latent's mass, on the smaller side of the two.
    share = np.minimum(plan * len(gram_a), plan * len(gram_b))
    return np.where(np.isfinite(plan), share, np.nan)


def _ott(module: str):
    try:
        return importlib.import_module(f"ott.{module}")
    except ImportError:
        raise ConfigError(
            "gromov_wasserstein needs ott-jax, which is not installed: "
            "pip install 'synthsae-jax[ot]'."
        ) from None
