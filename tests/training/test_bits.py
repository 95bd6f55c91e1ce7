"""A run has the same bits alone and among others: every architecture, both ways to its products."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import chex
import jax
import numpy as np
import pytest
import tiny

from synthsae_jax import saes, worlds
from synthsae_jax.training import Anneal, TrainConfig, train

WORLD, A, B = tiny.world(), tiny.instance(0), tiny.instance(1)
STACK = worlds.stack([A, B])
BATCH, WIDTH, STEPS = 256, 96, 24
CONFIG = TrainConfig(
    n_samples=STEPS * BATCH, batch_size=BATCH, lr=3e-3, dead_window=4, history_points=3
)


def build(name: str):
    example = dict(saes.architectures[name].example)
    if "matryoshka_widths" in example:
        example["matryoshka_widths"] = (WIDTH // 4, WIDTH // 2)
    return saes.build(name, d_in=tiny.D, d_sae=WIDTH, **example)


# one of each kind of loop, selection and penalty; the others compile for minutes to say the same
FAST = {("topk", "sparse"), ("batchtopk", "dense"), ("matching_pursuit", "dense")}


def cases() -> list[Any]:
    """Every architecture with the products it can have."""
    every = [
        (name, products)
        for name in saes.names()
        for products in ("dense", "sparse")
        if products == "dense" or build(name).has_sparse_loss
    ]
    slow = lambda case: () if case in FAST else pytest.mark.slow
    return [pytest.param(*case, marks=slow(case)) for case in every]


def run_of(result, *index: int) -> dict[str, Any]:
    """All that one run leaves: weights, optimiser, numbers, history, status."""
    names = ("params", "state", "hyper", "snapshots")
    run = {name: tiny.pick(getattr(result, name), *index) for name in names}
    run["history"] = {k: v if k == "step" else v[index] for k, v in result.history.items()}
    return run | {"status": result.status[index]}


def assert_same_bits(a: dict[str, Any], b: dict[str, Any]) -> None:
    leaves, others = (jax.tree_util.tree_leaves_with_path(run) for run in (a, b))
    for (path, leaf), (same_path, other) in zip(leaves, others, strict=True):
        assert path == same_path
        np.testing.assert_array_equal(leaf, other, jax.tree_util.keystr(path))


@pytest.mark.parametrize(("name", "products"), cases())
def test_a_run_alone_equals_itself_among_runs_and_instances(name, products):
    sae = build(name)
    many = train(WORLD, STACK, sae, CONFIG, [[3, 4], [5, 6]], [7, 8], products=products)
    alone = train(WORLD, B, sae, CONFIG, [6], 8, products=products)
    assert_same_bits(run_of(many, 1, 1), run_of(alone, 0))
    assert alone.status[0] == "ok"


# ---- all other company, for one architecture of each way to select ------------------------------

SWEEP = build("topk").hyper.replace(k=[2, 5, 3, 2])
RICH = dataclasses.replace(
    CONFIG,
    normalize_activations="expected_average_only_in",
    resample_every=10,
    snapshots=(0, 7),
    anneal=(Anneal("k", 8),),
)


@pytest.fixture(scope="module")
def four():
    """Four runs with streams of their own and all that training can do besides."""
    return train(WORLD, A, build("topk"), RICH, [3, 4, 5, 6], [7, 8, 9, 7], hyper=SWEEP)


def alone_of_four(i: int):
    hyper = SWEEP.replace(k=SWEEP.k[i])
    return train(WORLD, A, build("topk"), RICH, [3 + i], [(7, 8, 9, 7)[i]], hyper=hyper)


@pytest.mark.parametrize("i", [0, 2])
def test_company_changes_no_bit_of_scaled_resampled_and_annealed_runs(four, i):
    assert four.history["dead_latents"].max() > 0
    alone = alone_of_four(i)
    assert_same_bits(run_of(four, i), run_of(alone, 0))
    assert four.input_scale[i] == alone.input_scale[0]


@pytest.mark.parametrize("at_once", [1, 3])
def test_stretches_change_no_bit(four, at_once):
    sae = build("topk")
    seeds, streams = [3, 4, 5, 6], [7, 8, 9, 7]
    parts = train(WORLD, A, sae, RICH, seeds, streams, hyper=SWEEP, at_once=at_once)
    for i in range(4):
        assert_same_bits(run_of(parts, i), run_of(four, i))


def test_who_reads_the_same_stream_changes_no_bit():
    sae = build("topk")
    run = functools.partial(train, sae=sae, config=CONFIG)
    shared = run(WORLD, A, init_seeds=[3, 6], data_seed=7)
    expected = run_of(shared, 1)
    of_its_own = run(WORLD, A, init_seeds=[6], data_seed=[7])
    beside = run(WORLD, STACK, init_seeds=[6], data_seed=7)
    seeds = run(WORLD, STACK, init_seeds=[6], data_seed=[7, 8])
    own = run(WORLD, STACK, init_seeds=[6], data_seed=[[7], [8]])
    stacked_worlds = run(worlds.stack([WORLD] * 2), STACK, init_seeds=[6], data_seed=[7, 8])
    assert_same_bits(run_of(of_its_own, 0), expected)
    for result in (beside, seeds, own, stacked_worlds):
        assert_same_bits(run_of(result, 0, 0), expected)


def test_how_often_history_is_kept_changes_no_bit_of_the_weights():
    results = [
        train(WORLD, A, build("topk"), dataclasses.replace(CONFIG, history_points=p), [3], 7)
        for p in (1, 5, STEPS)
    ]
    for other in results[1:]:
        chex.assert_trees_all_equal(other.state, results[0].state)


def test_room_for_a_neighbour_with_a_larger_k_changes_no_bit():
    sae = build("batchtopk")
    both = sae.hyper.replace(k=[1.5, 40.0])  # room for 32 alone, for 64 beside it
    many = train(WORLD, A, sae, CONFIG, [3, 4], 7, hyper=both, products="sparse")
    assert_same_bits(
        run_of(many, 0), run_of(train(WORLD, A, sae, CONFIG, [3], 7, products="sparse"), 0)
    )
