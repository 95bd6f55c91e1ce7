"""The sampler's own random words read the slow way, some odd worlds, and z-scores of counts.

Randomness belongs to a (token, feature) pair, so drawing every feature of every token in numpy,
in the order copula, magnitude, exclusion, gate and scaling, must give the very codes that gating
from the roots down gives. `world_oracles.sample` is the same law with randomness of its own.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import world_oracles
from scipy.special import ndtr, ndtri
from scipy.stats import binom, norm

from synthsae_jax import worlds
from synthsae_jax.worlds import bits
from synthsae_jax.worlds.forest import nodes_from
from synthsae_jax.worlds.nodes import node, write
from synthsae_jax.worlds.tree import factor_draw

SIGMA = 4.5
TAIL = 2 * norm.sf(SIGMA)

# one program per shape of world and number of tokens, shared by all tests of a process
sample = jax.jit(worlds.sample_codes, static_argnums=2)
densify = jax.jit(worlds.densify, static_argnums=1)


def draw(key, world, n):
    """Dense codes float32 [n, F] of the sampler, none of them cut short."""
    codes = sample(key, world, n)
    worlds.raise_on_overflow(codes, world)
    return np.asarray(densify(codes, world.n_features))


def dense_codes(key, world, n):
    """Codes float64 [n, F] of a plain world from the sampler's words, feature by feature."""
    forest = jax.tree.map(np.asarray, world.forest)
    n_features = world.n_base
    factors = factor_draw(jax.random.fold_in(key, 0), world, n)
    key = jax.random.fold_in(key, 1)

    token = jnp.arange(n, dtype=jnp.uint32)[:, None]
    pair = bits.words(jax.random.fold_in(key, 0), token, jnp.arange(n_features)[None])
    word, strength = (np.asarray(w, np.uint64) for w in pair)
    tops = np.concatenate([forest.roots, forest.free])
    block = jnp.arange(-(-len(tops) // 8))[None]
    coarse = np.asarray(bits.words(jax.random.fold_in(key, 1), token, block), np.uint64)
    for place, top in enumerate(tops):  # eight features share a block of two words, low byte first
        byte = (coarse[place % 8 // 4, :, place // 8] >> np.uint64(8 * (place % 4))) & np.uint64(
            255
        )
        word[:, top] = (byte << np.uint64(24)) | (word[:, top] >> np.uint64(8))

    probability = conditional_probability(world, np.asarray(factors, np.float64))
    fired = word < np.where(probability >= 1, 2.0**32, np.floor(probability * 2.0**32))
    normal = ndtri(((strength >> np.uint64(9)) + 0.5) * 2.0**-23)
    raw = np.where(fired, np.maximum(np.asarray(world.mean) + np.asarray(world.std) * normal, 0), 0)
    lot = word / np.maximum(probability, 1e-30)

    def visit(item, parent, scaled):
        feature = item["feature_index"]
        if feature is not None:
            if parent is not None:
                above = raw[:, parent]
                raw[:, feature] *= above / float(world.mean[parent]) if scaled else above > 0
            parent = feature
        children = item["children"]
        real = [c["feature_index"] for c in children if c["feature_index"] is not None]
        if item["mutually_exclusive_children"] and len(real) >= 2:
            best = np.where(raw[:, real] > 0, lot[:, real], -1).argmax(1)
            raw[:, real] = np.where(np.arange(len(real)) == best[:, None], raw[:, real], 0)
        for child in children:
            visit(child, parent, item["scale_children_by_parent"])

    for root in write(nodes_from(world.forest))["roots"]:
        visit(root, None, False)
    return raw


def conditional_probability(world, factors):
    """Chance of firing given the copula state, float64 [n, F]."""
    threshold = np.asarray(world.threshold, np.float64)
    if world.cholesky.shape[-1]:
        return (factors > threshold).astype(np.float64)
    if world.factor.shape[-1]:
        pull = factors @ np.asarray(world.factor, np.float64).T
        return ndtr((pull - threshold) / np.sqrt(np.asarray(world.residual, np.float64)))
    return np.broadcast_to(
        np.asarray(world.probabilities, np.float64), (len(factors), len(threshold))
    )


def correlation(world):
    """The copula's correlation matrix, float64 [F, F]."""
    if world.cholesky.shape[-1]:
        lower = np.asarray(world.cholesky, np.float64)
        return lower @ lower.T
    factor = np.asarray(world.factor, np.float64)
    return factor @ factor.T + np.diag(np.asarray(world.residual, np.float64))


def oracle_codes(rng, world, n):
    """Codes float64 [n, F] from numpy's randomness and the definitions alone."""
    lower = np.linalg.cholesky(correlation(world))
    gaussian = rng.standard_normal((n, world.n_base)) @ lower.T
    numbers = (np.asarray(x, np.float64) for x in (world.threshold, world.mean, world.std))
    return world_oracles.sample(rng, n, write(nodes_from(world.forest)), *numbers, gaussian)


# ---- what two samples say of one law -----------------------------------------------------------


def count_p(a, n_a, b, n_b):
    """Two-sided p-value that two counts over n_a and n_b trials have one rate; exact if rare.

    Given their sum, the first count of two rare events is binomial; for frequent ones that is
    cautious.
    """
    total = np.asarray(a + b, np.int64)
    share = n_a / (n_a + n_b)
    below, above = binom.cdf(a, total, share), binom.sf(np.asarray(a) - 1, total, share)
    return np.minimum(1.0, 2 * np.minimum(below, above))


def rate_p(count, n, rate):
    """Two-sided p-value of counts over n trials with known rates."""
    below, above = binom.cdf(count, n, rate), binom.sf(np.asarray(count) - 1, n, rate)
    return np.minimum(1.0, 2 * np.minimum(below, above))


def mean_z(x, y):
    """z-score of the difference of the means of two samples, along the first axis."""
    return (x.mean(0) - y.mean(0)) / np.sqrt(x.var(0) / len(x) + y.var(0) / len(y))


def sd_z(x, y):
    """z-score of the difference of two standard deviations, from the fourth moments."""

    def parts(v):
        variance = v.var(0)
        fourth = ((v - v.mean(0)) ** 4).mean(0)
        return variance, (fourth - variance**2) / len(v)

    (a, error_a), (b, error_b) = parts(x), parts(y)
    return (a - b) / np.sqrt(error_a + error_b)


# ---- worlds ------------------------------------------------------------------------------------


# 256 features in four grown trees of depth 2 and 172 free ones, all with exclusion
FOREST = worlds.WorldConfig(
    n_features=256,
    firing=worlds.Zipfian(exponent=0.5, max_prob=0.4, min_prob=2e-3),
    hierarchy=worlds.HierarchyConfig(4, 4, 2, 1.0, compensation="saelens"),
    correlation=worlds.LowRank(rank=10, scale=0.15),
    mean=worlds.LinearMagnitude(5.0, 4.0),
    std=worlds.FoldedNormal(0.5, 0.5),
)


def tree_world(portion=1.0, scaled=False, sure=False, correlation=None):
    """48 features: 26 in three uneven trees, ids out of order, and 22 free ones.

    Magnitudes are cut to 0 often. `sure`: some features, rivals among them, fire always or never.
    """
    rng = np.random.default_rng(7)
    probability = np.where(np.arange(48) < 26, rng.uniform(0.3, 0.8, 48), rng.uniform(0, 0.3, 48))
    mean, std = rng.uniform(0.5, 2.0, 48), rng.uniform(0.0, 1.5, 48)
    if sure:
        probability[[0, 2, 4, 16, 27]] = 1.0
        probability[[17, 21, 26]] = 0.0
        std[[0, 2, 27, 28]] = 0.0
        mean[29], mean[30], std[30] = -0.5, 0.0, 0.0
    # the most that can ever be active at each stage, so nothing overflows and no pilot is needed
    slots = (3, 25, 11, 12, 48)
    return worlds.make_world(
        probability, _uneven_trees(portion, scaled), correlation, mean, std, slots=slots
    )


def _uneven_trees(portion, scaled):
    count = iter(range(100))

    def parent(feature, *children):
        chosen = next(count) % 2 < 2 * portion and len(children) > 1
        return node(feature, *children, exclusive=chosen, scaled=scaled)

    def leaves(*features):
        return map(node, features)

    return {
        "roots": [
            parent(0, parent(2, *leaves(8, 9, 16, 17, 18)), parent(3, node(10)), node(4)),
            parent(
                1, parent(5, *leaves(12, 13)), parent(6, *leaves(14, 23, 19, 20)), *leaves(7, 11)
            ),
            parent(21, *leaves(22, 15, 24, 25)),
        ]
    }


def organised_world():
    """30 features under nodes without a feature: exclusive tops, nested groups, mixed scaling."""
    top = node(
        None,
        node(0, node(3), node(4), exclusive=True, scaled=True),
        node(1),
        node(None, node(5), node(6, node(7)), exclusive=True),  # no rival of 0, 1 and 2
        node(2),
        exclusive=True,
    )
    mixed = node(
        8,
        node(None, node(9), node(10), exclusive=True, scaled=True),
        node(11),
        node(None, node(12), node(None, node(13), node(14), node(15), exclusive=True)),
        scaled=True,
    )
    last = node(16, node(17, node(18)), node(19), node(None, node(20), scaled=True), exclusive=True)
    rng = np.random.default_rng(8)
    return worlds.make_world(
        rng.uniform(0.2, 0.9, 30),
        {"roots": [top, mixed, last]},
        mean=rng.uniform(0.5, 2.0, 30),
        std=rng.uniform(0.0, 1.5, 30),
        slots=(4, 16, 12, 1, 30),
    )


def factor_pair():
    """Rank-3 loadings and residuals of 48 features, some nearly all shared variance."""
    factor = np.random.default_rng(9).normal(0, 0.45, (48, 3))
    factor /= np.maximum(1, np.sqrt((factor**2).sum(1) / 0.98))[:, None]
    return factor, 1 - (factor**2).sum(1)


def random_correlation():
    """A correlation matrix of 48 features with strong entries of both signs."""
    draws = np.random.default_rng(10).standard_normal((48, 60))
    draws[:, :20] += 2 * np.random.default_rng(11).standard_normal((48, 1)) * np.ones((1, 20))
    matrix = draws @ draws.T
    scale = np.sqrt(np.diag(matrix))
    return matrix / np.outer(scale, scale)


WORLDS = {
    "partial exclusion": lambda: tree_world(portion=0.5),
    "scaled children": lambda: tree_world(scaled=True),
    "always and never": lambda: tree_world(portion=0.5, scaled=True, sure=True),
    "low rank": lambda: tree_world(sure=True, correlation=factor_pair()),
    "dense": lambda: tree_world(portion=0.5, scaled=True, correlation=random_correlation()),
    "organised": organised_world,
}
