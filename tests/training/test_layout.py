"""Where products and runs go changes no result: sparse or dense, in turn, or in stretches."""

from __future__ import annotations

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from synthsae_jax import keys, saes
from synthsae_jax.errors import ConfigError
from synthsae_jax.training import TrainConfig, layout, program, train, turns
from synthsae_jax.training.layout import Device, layout_of, runs_at_once
from synthsae_jax.training.program import chunk
from synthsae_jax.training.runs import PerRun, numbers_of_runs
from synthsae_jax.training.schedules import Anneal

WORLD, A = tiny.world(), tiny.instance(0)
CONFIG = TrainConfig(n_samples=6 * tiny.BATCH, batch_size=tiny.BATCH, lr=3e-3, dead_window=2)
SEEDS = [3, 4, 5]
# float32 sums in another order, over six steps of Adam at 3e-3
CLOSE = 2e-5


def close(a, b):
    chex.assert_trees_all_close(a.params, b.params, atol=CLOSE)
    assert set(a.history) == set(b.history)
    for name, rows in a.history.items():
        np.testing.assert_allclose(rows, b.history[name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.fixture
def sparse_device(monkeypatch):
    """A device on which everything small is trained as 16k is on a CPU."""
    device = Device(sparse_share=1.0, in_turn=True)
    monkeypatch.setitem(layout.DEVICES, jax.default_backend(), device)


HYPER = tiny.sae().hyper.replace(k=[1, 3, 6])


@pytest.fixture(scope="module")
def dense():
    """Dense products, runs side by side."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(layout.DEVICES, jax.default_backend(), Device(0.0, in_turn=False))
        found = train(WORLD, A, tiny.sae(), CONFIG, SEEDS, hyper=HYPER, products="dense")
    assert found.history["dead_latents"].max() > 0  # the auxiliary loss takes part
    return found


def test_sparse_runs_in_turn_equal_dense_ones_side_by_side(dense, sparse_device):
    sparse = train(WORLD, A, tiny.sae(), CONFIG, SEEDS, hyper=HYPER)
    close(sparse, dense)
    np.testing.assert_array_equal(sparse.state.since_fired, dense.state.since_fired)


def test_dense_runs_in_turn_leave_revival_out_each_by_itself(dense, sparse_device, monkeypatch):
    monkeypatch.setattr(program, "_LONG_RUN", 0)
    close(train(WORLD, A, tiny.sae(), CONFIG, SEEDS, hyper=HYPER, products="dense"), dense)


@pytest.mark.parametrize("n_rows", [1, 2, 5])
def test_in_turn_each_row_gets_its_own_and_no_row_too_many_is_computed(n_rows):
    rng = np.random.default_rng(2)
    x = jnp.asarray(rng.normal(size=(n_rows, 4)), jnp.float32)
    stack = turns.at_least_two(x)

    @jax.jit
    def run(stack, count):
        one = lambda i: (turns.row(stack, i).sum() + 1, i)
        return turns.in_turn(one, count, n_rows)

    sums, index = run(stack, jnp.int32(n_rows))
    assert sums.shape == (max(n_rows, 2),)
    np.testing.assert_allclose(turns.first_rows(sums, (n_rows,)), x.sum(1) + 1, rtol=1e-5)
    np.testing.assert_array_equal(turns.first_rows(index, (n_rows, 1))[:, 0], np.arange(n_rows))
    assert not np.any(sums[n_rows:])  # the row that is there for the compiler alone


def test_another_k_of_the_same_capacity_does_not_compile_again(sparse_device):
    train(WORLD, A, tiny.sae(k=2), CONFIG, SEEDS)
    programs = chunk._cache_size()
    train(WORLD, A, tiny.sae(k=5), CONFIG, SEEDS)
    train(WORLD, A, tiny.sae(k=2), dataclasses.replace(CONFIG, lr=1e-3), SEEDS)
    assert chunk._cache_size() == programs


def test_stretches_of_runs_equal_all_at_once():
    sae, told = tiny.sae(), []
    given = {
        "init_seeds": [3, 4, 5, 6],
        "data_seed": [7, 8, 9, 7],
        "hyper": sae.hyper.replace(k=[1, 3, 6, 2]),
        "lr": [1e-3, 2e-3, 3e-3, 4e-3],
    }
    config = dataclasses.replace(CONFIG, snapshots=(0, 6), history_points=3)
    whole = train(WORLD, A, sae, config, **given)
    tell = lambda done, total, report: told.append((done, total, report["loss"].shape))
    parts = train(WORLD, A, sae, config, **given, at_once=2, progress=tell)
    close(parts, whole)
    assert told == [(s, 12, (1, 2)) for s in (2, 4, 6, 8, 10, 12)]
    for name in ("init_seeds", "data_seeds", "status", "input_scale"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name), name)
    chex.assert_trees_all_close(parts.hyper, whole.hyper)
    chex.assert_trees_all_close(parts.snapshots, whole.snapshots, atol=CLOSE)
    chex.assert_trees_all_close(parts.state.optimizer, whole.state.optimizer, atol=CLOSE)


def chosen(sae, products="auto", config=CONFIG, hyper=None, runs=2):
    numbers = numbers_of_runs(config, sae, np.zeros((1, runs), np.int32), PerRun(hyper=hyper))
    return layout_of(sae, numbers, products)


def test_large_sparse_saes_are_sparse_on_a_cpu_and_all_take_turns(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    big = saes.build("batchtopk", d_in=8, d_sae=4096, k=25)
    assert chosen(big) == layout.Layout(32, in_turn=True)
    assert chosen(big, hyper=big.hyper.replace(k=[25, 26])).capacity == 64
    annealed = dataclasses.replace(CONFIG, anneal=(Anneal("k", 40),))
    assert chosen(big, config=annealed).capacity == 64
    assert chosen(big, hyper=big.hyper.replace(k=[25, 60])).capacity is None  # 128 of 4,096
    assert chosen(big, products="dense") == layout.Layout(None, in_turn=True)
    assert chosen(big.with_options(dtype="bfloat16")).capacity is None
    assert chosen(saes.build("standard", d_in=8, d_sae=4096)) == layout.Layout(None, in_turn=True)
    assert chosen(tiny.sae()) == layout.Layout(None, in_turn=True)
    assert chosen(tiny.sae(), products="sparse").capacity == tiny.L
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert chosen(big) == layout.Layout(None, in_turn=False)


def test_what_cannot_be_sparse_is_refused_and_so_is_an_unknown_word():
    with pytest.raises(ConfigError, match="k-sparse"):
        chosen(saes.build("standard", d_in=8, d_sae=16), products="sparse")
    with pytest.raises(ConfigError, match="sparse"):
        chosen(tiny.sae(), products="spares")
    with pytest.raises(ConfigError, match="at_once"):
        train(WORLD, A, tiny.sae(), CONFIG, SEEDS, at_once=0)


def test_runs_at_once_grow_with_memory_and_are_never_none():
    sae = tiny.sae()
    counts = [runs_at_once(sae, tiny.BATCH, 2, available=a) for a in (0, 1e6, 1e7, 1e8)]
    assert counts[0] == 1
    assert counts == sorted(counts)
    assert counts[-1] > counts[-2]
    each = runs_at_once(sae, tiny.BATCH, 1, available=1e8)
    assert each == pytest.approx(2 * counts[-1], abs=1)
    available = layout.memory()
    assert available is None or available > 2**30


def test_given_weights_take_the_place_of_drawn_ones():
    sae = tiny.sae("topk")
    config = TrainConfig(n_samples=tiny.BATCH * 4, batch_size=tiny.BATCH)
    seeds = (0, 1)
    weights = [sae.init(keys.init_key(seed)) for seed in seeds]
    weights = jax.tree.map(lambda *leaves: np.stack(leaves), *weights)
    run = functools.partial(train, WORLD, A, sae, config)
    drawn = run(init_seeds=seeds)
    for more in ({}, {"at_once": 1}):
        given = run(init_seeds=(5, 6), weights=weights, **more)
        np.testing.assert_allclose(given.params.W_dec, drawn.params.W_dec, atol=1e-6)
    with pytest.raises(ConfigError, match="weights must have axes"):
        run(init_seeds=seeds, weights=weights.replace(W_dec=weights.W_dec[:, 1:]))


def test_frozen_weights_stay_and_what_learns_does_not_see_them():
    sae = tiny.sae("topk")
    config = TrainConfig(n_samples=tiny.BATCH * 4, batch_size=tiny.BATCH, grad_clip=0.01)
    run = functools.partial(train, WORLD, A, sae, config, init_seeds=(0, 0, 0))
    decoder, encoder = ("W_dec", "b_dec"), ("W_enc", "b_enc")
    free, only_decoder, only_encoder = range(3)
    held = dict.fromkeys(encoder, np.array([False, True, False]))
    held |= dict.fromkeys(decoder, np.array([False, False, True]))
    start = sae.init(keys.init_key(0))
    # a step moves a weight by 3e-4; what draws the start alone rounds otherwise
    moved = lambda result, name, r: (
        np.abs(getattr(result.state.params, name)[r] - getattr(start, name)).max() > 1e-5
    )
    for more in ({}, {"at_once": 1}):
        found = run(frozen=held, **more)
        for name in (*decoder, *encoder):
            assert moved(found, name, free)
            assert moved(found, name, only_decoder) == (name in decoder)
            assert moved(found, name, only_encoder) == (name in encoder)
    # all or none, for every run at once; the norm that is clipped is that of what learns
    every = run(frozen=dict.fromkeys((*decoder, *encoder), True))
    assert not moved(every, "W_dec", free)
    assert not every.history["grad_norm"].any()
    none = run(frozen={"W_dec": False})
    whole = run()
    got, expected = (np.asarray(result.params.W_dec) for result in (none, whole))
    np.testing.assert_allclose(got, expected, atol=1e-6)
    with pytest.raises(ConfigError, match="W_dec"):
        run(frozen={"W_decoder": True})
    resampling = TrainConfig(n_samples=256, batch_size=tiny.BATCH, resample_every=2)
    with pytest.raises(ConfigError, match="resample_every"):
        train(WORLD, A, sae, resampling, (0,), frozen={"W_dec": True})
