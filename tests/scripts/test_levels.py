"""The level of `ours@1` and of its null where models share nothing, in worlds of twins."""

import functools

import jax
import numpy as np
import pytest
from scipy.stats import kstest

import levels
from synthsae_jax import worlds
from synthsae_jax.matching import SideInputs
from synthsae_jax.matching.significance import judge_draws
from synthsae_jax.protocols import Context, ProtocolResult, run_protocol
from synthsae_jax.protocols.base import NullNumbers
from synthsae_jax.worlds.inputs import bare

F, N, SETS, FAMILIES, DRAWS = 24, 512, 30, 8, 19


@functools.partial(jax.jit, static_argnums=(1, 2))
def both_sides(key, n, n_sets, world):
    """True codes of a model with the features and of one with their twins, [2, sets, n, F]."""
    codes = worlds.densify(worlds.sample_codes(key, world, n * n_sets), 2 * F)
    return codes.reshape(n_sets, n, 2, F).transpose(2, 0, 1, 3)


@jax.jit
def p_of_sets(keys, codes):
    return jax.lax.map(lambda given: levels.shift_p(*given, draws=DRAWS), (keys, *codes))


@pytest.fixture(scope="module", params=["independent", "counts"])
def zero(request):
    """p-values [240, 2] under both shifts at one zero, and codes of all families."""
    rng = np.random.default_rng(0)
    found, kept = [], []
    for i in range(FAMILIES):
        world = worlds.make_world(rng.uniform(0.04, 0.3, F), slots=(24, 24, 24))
        registry = bare(worlds.twin(world, request.param))
        codes = both_sides(jax.random.key(i), N, SETS, registry)
        found.append(p_of_sets(jax.random.split(jax.random.key(100 + i), SETS), codes))
        kept.append(codes)
    return request.param, np.concatenate(found), kept


def uniform(p):
    """Kolmogorov-Smirnov at one in a thousand."""
    return kstest(p, "uniform").pvalue > 0.001


def test_shifts_within_activity_hold_the_level_and_plain_ones_only_without_coupling(zero):
    coupling, p, _ = zero
    plain, binned = (p <= 0.05).mean(0)
    # spread evenly over its steps, p is uniform where the null holds
    spread = p - np.random.default_rng(1).random(p.shape) / (1 + DRAWS)
    assert uniform(spread[:, 1])
    # the bound asked for; 240 at 5 % have a standard error of 1.4 %
    assert binned <= 0.07
    if coupling == "independent":
        assert uniform(spread[:, 0])
        assert plain <= 0.07 + 1.4 * 0.014
    else:
        assert plain > 0.8


def test_ours_calls_nothing_shared_and_its_p_is_uniform(zero):
    coupling, _, kept = zero
    rng = np.random.default_rng(2)
    p, declared = [], []
    # the steps are the same at the coupled zero, where a few pairs must do
    for i, (a, b) in enumerate(kept if coupling == "independent" else kept[:1]):
        for j in range(8):
            result = run_protocol(
                "ours@1",
                SideInputs(latents=a[j]),
                SideInputs(latents=b[j]),
                key=jax.random.key(i),
                draws=3,
                context=Context(level_draws=4),
            )
            declared.append(result.value)
            p.append(levels.spread_p(result, "shared", "activity_shift", rng))
    assert len(p) >= 60 or coupling == "counts"
    assert uniform(p)
    # at most one pair in a hundred latents on average
    assert np.mean(declared) < 0.01


def test_ties_are_dealt_out_evenly():
    drawn = np.array([[0.0], [0.0], [0.5]])
    judged = judge_draws(np.array([0.0]), drawn)
    null = NullNumbers("activity_shift", False, ("shared",), judged)
    result = ProtocolResult("x", 1, "shared", {"shared": 0.0}, {}, None, (), (), (null,))
    rng = np.random.default_rng(3)
    p = [levels.spread_p(result, "shared", "activity_shift", rng) for _ in range(400)]
    # one draw of three is above; the observed one and two draws share the rest
    assert min(p) >= 0.25
    assert max(p) <= 1
    assert kstest((np.array(p) - 0.25) / 0.75, "uniform").pvalue > 0.001
