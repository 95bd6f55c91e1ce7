"""Many runs as one program: each is what it would be alone, and other numbers do not compile."""

import dataclasses
import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from synthsae_jax import keys, metrics, worlds
from synthsae_jax.errors import ConfigError
from synthsae_jax.training import RunState, TrainConfig, program, train, train_step
from synthsae_jax.training.program import chunk
from synthsae_jax.training.schedules import Schedule
from synthsae_jax.training.step import Batch, Numbers, StepRule, init_moments

WORLD = tiny.world()
A, B = tiny.instance(0), tiny.instance(1)
SAE = tiny.sae()
CONFIG = TrainConfig(
    n_samples=20 * tiny.BATCH, batch_size=tiny.BATCH, lr=3e-3, dead_window=2, history_points=20
)
SHORT = dataclasses.replace(CONFIG, n_samples=6 * tiny.BATCH)
SEEDS = (0, 1, 2, 3, 4, 5)
# what DESIGN promises of a run beside others
ALONE = 1e-5


@functools.cache
def alone(seed, data_seed=0, instance=0, config=SHORT):
    """The reference: one run of one instance in a program of its own."""
    return train(WORLD, (A, B)[instance], SAE, config, [seed], data_seed)


def assert_same_run(result, index, single, tolerance=ALONE):
    """Run `index` of a result is run 0 of `single`: weights, state, history and status."""
    for name in ("params", "state", "hyper"):
        run = tiny.pick(getattr(result, name), *index)
        chex.assert_trees_all_close(run, tiny.pick(getattr(single, name), 0), atol=tolerance)
    assert result.status[index] == single.status[0]
    assert set(result.history) == set(single.history)
    for name, values in result.history.items():
        run = values if name == "step" else values[index]
        expected = single.history[name] if name == "step" else single.history[name][0]
        np.testing.assert_allclose(run, expected, rtol=tolerance, atol=tolerance, err_msg=name)


def assert_different(a, b):
    """Two runs that share neither data nor weights are nowhere near each other."""
    assert np.abs(np.asarray(a.W_dec) - np.asarray(b.W_dec)).max() > 1e-2


@pytest.fixture(scope="module")
def six():
    """Six runs beside each other, of which two are made to diverge and one has no dead latents."""
    hyper = SAE.hyper.replace(
        k=np.array([1, 3, 30, 3, 3, 3]), aux_loss_coefficient=[1, 1, 1, math.inf, 1, 0.25]
    )
    rates = [3e-3, 3e-3, 3e-3, 3e-3, 1e30, 1e-3]
    return train(WORLD, A, SAE, CONFIG, SEEDS, hyper=hyper, lr=rates)


# ---- a run alone and among others ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "hyper", "lr"),
    [
        (0, {"k": 1.0}, 3e-3),
        (1, {}, 3e-3),
        (2, {"k": 30.0}, 3e-3),
        (5, {"aux_loss_coefficient": 0.25}, 1e-3),
    ],
)
def test_a_run_is_the_same_alone_and_beside_runs_that_diverge(six, run, hyper, lr):
    sae = tiny.sae(**hyper)
    single = train(WORLD, A, sae, dataclasses.replace(CONFIG, lr=lr), [SEEDS[run]])
    assert_same_run(six, (run,), single)


def test_a_diverged_run_is_a_row(six):
    assert six.status.tolist() == ["ok", "ok", "ok", "diverged", "diverged", "ok"]
    for run in (3, 4):
        assert not np.isfinite(six.history["loss"][run]).any() or run == 4
        assert np.isnan(six.history["loss"][run, -1])
    healthy = tiny.pick(six.params, np.array([0, 1, 2, 5]))
    chex.assert_tree_all_finite(healthy)


def test_dead_latents_of_one_run_do_not_touch_another(six):
    # run 0 has dead latents and run 2 none, in one and the same step: the program computes the
    # auxiliary loss for both, and `test_a_run_is_the_same_alone...` holds both against themselves
    dead, revival = six.history["dead_latents"], six.history["auxiliary_reconstruction_loss"]
    assert dead[0, 3:].min() > 0
    assert dead[2].max() == 0
    assert (dead[:, :3] == 0).all()  # the window is 2 steps
    finite = [0, 1, 2, 5]
    np.testing.assert_array_equal(revival[finite] > 0, dead[finite] > 0)


@pytest.mark.parametrize("window", [0, 1, 2, 4])  # 4: dead before the last of six steps
def test_dead_windows_alone_and_among_others(window):
    config = dataclasses.replace(SHORT, dead_window=window)
    many = train(WORLD, A, SAE, config, SEEDS, hyper=SAE.hyper.replace(k=[1, 3, 30, 3, 3, 3]))
    assert many.history["dead_latents"][2].max() == 0
    first = int(np.argmax(many.history["dead_latents"][1] > 0))
    assert first == window + 1  # silent for window + 1 steps, and seen before the next one
    assert_same_run(many, (1,), alone(1, config=config))
    without = train(WORLD, A, tiny.sae(aux_loss_coefficient=0), config, [1])
    assert_different(tiny.pick(many.params, 1), tiny.pick(without.params, 0))


def test_a_run_too_short_for_dead_latents_is_the_same():
    # with a window longer than the run the auxiliary loss is left out of the program
    sae = tiny.sae(k=30)
    short, long = (
        train(WORLD, A, sae, dataclasses.replace(SHORT, dead_window=w), [0]) for w in (2, 1000)
    )
    assert short.history["dead_latents"].max() == 0
    assert_same_run(short, (0,), long)


def test_a_long_run_leaves_revival_out_while_nobody_is_dead(monkeypatch):
    # both forms of the step are compiled then, and one condition picks
    short = train(WORLD, A, SAE, SHORT, SEEDS)
    monkeypatch.setattr(program, "_LONG_RUN", 0)
    long = train(WORLD, A, SAE, SHORT, SEEDS)
    assert short.history["dead_latents"].max() > 0
    chex.assert_trees_all_close(long.params, short.params, atol=ALONE)
    np.testing.assert_allclose(long.history["loss"], short.history["loss"], rtol=ALONE)


def test_a_run_broken_by_its_last_update_is_diverged():
    config = dataclasses.replace(CONFIG, n_samples=tiny.BATCH)
    result = train(WORLD, A, SAE, config, SEEDS, lr=[3e-3, math.inf, 3e-3, 3e-3, 3e-3, 3e-3])
    assert np.isfinite(result.history["loss"]).all()
    assert result.status.tolist() == ["ok", "diverged", "ok", "ok", "ok", "ok"]


# ---- instances and data streams -----------------------------------------------------------------

INITS = np.array([[4, 5], [6, 4]])
STREAMS = {"shared": 7, "per instance": [7, 8], "per run": [[7, 8], [9, 7]]}


@pytest.mark.parametrize("name", STREAMS)
def test_stacked_instances_equal_separate_runs(name):
    stacked = train(WORLD, worlds.stack([A, B]), SAE, SHORT, INITS, STREAMS[name])
    streams = np.array(STREAMS[name])
    streams = np.broadcast_to(streams[:, None] if streams.ndim == 1 else streams, (2, 2))
    np.testing.assert_array_equal(stacked.init_seeds, INITS)
    np.testing.assert_array_equal(stacked.data_seeds, streams)
    assert stacked.status.shape == (2, 2)
    assert stacked.history["loss"].shape == (2, 2, 6)
    for i, r in np.ndindex(2, 2):
        single = alone(int(INITS[i, r]), int(streams[i, r]), i)
        assert_same_run(stacked, (i, r), single)


def test_one_world_for_all_instances_equals_a_stack_of_it():
    instances = worlds.stack([A, B])
    one = train(WORLD, instances, SAE, SHORT, INITS, 7)
    many = train(worlds.stack([WORLD, WORLD]), instances, SAE, SHORT, INITS, 7)
    chex.assert_trees_all_close(one.params, many.params, atol=ALONE)
    other = train(worlds.stack([WORLD, tiny.world(spread=0.1)]), instances, SAE, SHORT, INITS, 7)
    for r in range(2):
        chex.assert_trees_all_close(
            tiny.pick(other.params, 0, r), tiny.pick(one.params, 0, r), atol=ALONE
        )
        assert_different(tiny.pick(other.params, 1, r), tiny.pick(one.params, 1, r))


def test_runs_of_one_instance_share_a_stream_or_have_their_own():
    own = train(WORLD, A, SAE, SHORT, [4, 4], [7, 8])
    assert own.data_seeds.tolist() == [7, 8]
    for run, seed in enumerate([7, 8]):
        assert_same_run(own, (run,), alone(4, seed))
    assert_different(tiny.pick(own.params, 0), tiny.pick(own.params, 1))
    shared = train(WORLD, A, SAE, SHORT, SEEDS, 7)
    assert shared.data_seeds.tolist() == [7] * 6
    assert_same_run(shared, (4,), alone(4, 7))
    assert_different(tiny.pick(shared.params, 4), tiny.pick(shared.params, 5))


# ---- the loop -----------------------------------------------------------------------------------


def test_the_loop_equals_steps_one_by_one():
    config = dataclasses.replace(CONFIG, n_samples=2 * tiny.BATCH + 1, history_points=2)
    result = train(WORLD, A, SAE, config, [3], 5)
    numbers = Numbers(
        schedule=Schedule(
            lr=jnp.float32(config.lr),
            end=jnp.float32(0),
            warm_up=jnp.int32(0),
            decay=jnp.int32(0),
            n_steps=jnp.int32(3),
        ),
        dead_window=jnp.int32(config.dead_window),
        grad_clip=jnp.float32(1),
        init_seed=jnp.int32(3),
        hyper=jax.tree.map(jnp.asarray, SAE.hyper),
        target_l0=jnp.float32(1),
    )
    params = SAE.init(keys.init_key(3))
    state = RunState(
        params=params,
        optimizer=init_moments(params),
        carried=SAE.init_state(),
        since_fired=jnp.zeros(tiny.L, jnp.int32),
        diverged=jnp.zeros((), bool),
    )

    @jax.jit
    def one(state, step):
        key = jax.random.fold_in(keys.data_key(5, "train"), step)
        _, x = worlds.draw(key, WORLD, A, tiny.BATCH)
        own_key = jax.random.fold_in(jax.random.fold_in(keys.init_key(3), 1), step)
        return train_step(StepRule(SAE), state, numbers, Batch(x, step, own_key))

    reports = []
    for step in range(3):
        state, report = one(state, jnp.int32(step))
        reports.append(report)
    chex.assert_trees_all_close(tiny.pick(result.state, 0), state, atol=ALONE)
    chex.assert_trees_all_close(
        tiny.pick(result.params, 0), SAE.finalize(state.params, state.carried), atol=ALONE
    )
    # two rows for three steps: the mean of the first two, and the third
    assert result.history["step"].tolist() == [2, 3]
    for name in reports[0]:
        first, second, third = (float(report[name]) for report in reports)
        expected = [(first + second) / 2, third]
        np.testing.assert_allclose(result.history[name][0], expected, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("n_samples", "points", "steps"),
    [
        (640, 50, list(range(1, 11))),
        (640, 5, [2, 4, 6, 8, 10]),
        (640, 4, [3, 6, 9, 10]),
        (640, 1, [10]),
        (1, 3, [1]),
        (65, 1, [2]),
    ],
)
def test_rows_of_the_history(n_samples, points, steps):
    config = dataclasses.replace(CONFIG, n_samples=n_samples, history_points=points)
    result = alone(0, config=config)
    assert result.history["step"].tolist() == steps
    assert int(result.state.optimizer.count[0]) == steps[-1] == math.ceil(n_samples / tiny.BATCH)
    assert all(v.shape == (1, len(steps)) for k, v in result.history.items() if k != "step")


def test_how_often_history_is_kept_changes_nothing():
    fine, coarse = (alone(0, config=dataclasses.replace(CONFIG, history_points=p)) for p in (20, 2))
    chex.assert_trees_all_equal(fine.params, coarse.params)
    means = fine.history["loss"][0].reshape(2, 10).mean(1)
    np.testing.assert_allclose(coarse.history["loss"][0], means, rtol=1e-5)


def test_progress_is_told_of_every_chunk():
    told = []
    config = dataclasses.replace(SHORT, history_points=3)
    result = train(WORLD, A, SAE, config, [0], progress=lambda *news: told.append(news))
    assert [(done, total) for done, total, _ in told] == [(2, 6), (4, 6), (6, 6)]
    losses = np.array([row["loss"] for *_, row in told])  # [points, I, R]
    np.testing.assert_array_equal(losses[:, 0, 0], result.history["loss"][0])


def test_a_result_carries_what_made_it():
    result = train(WORLD, A, SAE, SHORT, SEEDS, lr=np.linspace(1e-3, 2e-3, 6))
    assert result.sae == SAE
    assert result.config == SHORT
    assert result.init_seeds.tolist() == list(SEEDS)
    assert {leaf.shape for leaf in jax.tree.leaves(result.hyper)} == {(6,)}
    assert result.params.W_dec.shape == (6, tiny.L, tiny.D)
    assert (result.state.since_fired.dtype, result.state.diverged.dtype) == (jnp.int32, bool)


# ---- one program --------------------------------------------------------------------------------


def test_other_numbers_do_not_compile_again(six):
    before = chunk._cache_size()
    config = TrainConfig(
        n_samples=130,
        batch_size=tiny.BATCH,
        lr=1e-2,
        lr_warm_up_steps=1,
        lr_decay_steps=1,
        dead_window=1,
        grad_clip=None,
        history_points=2,
    )
    sweep = lambda k: tiny.sae().hyper.replace(k=k)
    world, instance = tiny.world(spread=0.2), tiny.instance(3)
    made = [
        train(world, instance, tiny.sae(k=5.5, aux_loss_coefficient=0.5), config, range(6, 12), 3),
        train(world, instance, tiny.sae(topk_threshold_lr=0.2), config, SEEDS, lr=[1e-3] * 6),
        train(WORLD, A, SAE, SHORT, SEEDS, hyper=sweep([1, 2, 3, 4, 5, 6])),
        train(WORLD, A, SAE, SHORT, SEEDS, hyper=sweep(np.array([[1, 2, 3, 4, 5, 6.5]]))),
        train(WORLD, A, SAE, SHORT, SEEDS, hyper=sweep(jnp.arange(1, 7))),
        # where a world or an instance comes from is not part of a program
        train(WORLD.replace(seed=4, config="other"), A, SAE, SHORT, SEEDS),
        train(
            WORLD,
            worlds.init_instance(jax.random.key(0), WORLD, worlds.InstanceConfig(tiny.D)),
            SAE,
            SHORT,
            SEEDS,
        ),
    ]
    assert chunk._cache_size() == before
    assert [r.history["step"][-1] for r in made] == [3, 3, 6, 6, 6, 6, 6]
    # and yet the numbers are heard: k active latents per sample
    for k, l0 in zip(range(1, 6), made[2].history["l0"][:, 0]):
        assert l0 == pytest.approx(k, abs=1 / tiny.BATCH)
    chex.assert_trees_all_equal(tiny.pick(made[2].params, 3), tiny.pick(made[4].params, 3))


# ---- does it learn ------------------------------------------------------------------------------


def probe(name, seeds, **options):
    """Orthogonal features, about one at a time: a problem that an SAE can solve."""
    rows = np.linalg.qr(np.random.default_rng(0).normal(size=(tiny.D, tiny.D)))[0][: tiny.F]
    world, instance = tiny.world(spread=0.05), worlds.make_instance(WORLD, rows)
    config = TrainConfig(
        n_samples=800 * tiny.BATCH,
        batch_size=tiny.BATCH,
        lr=1e-2,
        lr_decay_steps=400,
        dead_window=50,
    )
    result = train(world, instance, tiny.sae(name, **options), config, seeds)
    return result, [metrics.mcc(w, instance.dictionary) for w in result.params.W_dec]


def test_batchtopk_solves_the_probe_world():
    result, mcc = probe("batchtopk", SEEDS, k=1.2)
    assert min(mcc) > 0.99
    assert result.history["loss"][:, -1].max() < 0.2 * result.history["loss"][:, 0].min()
    assert (result.params.threshold > 0).all()  # the running threshold is written in


def test_topk_solves_the_probe_world():
    _, mcc = probe("topk", [0], k=2)
    assert min(mcc) > 0.99


def test_bfloat16_is_near_float32_and_not_the_same():
    config = dataclasses.replace(SHORT, dtype="bfloat16")
    half = train(WORLD, A, SAE, config, [0])
    full = alone(0)
    assert half.sae.options.dtype == "bfloat16"
    assert {leaf.dtype for leaf in jax.tree.leaves(half.params)} == {jnp.dtype("float32")}
    # bfloat16 has 8 bits, so a sum of squares is off by some 2^-8
    np.testing.assert_allclose(half.history["loss"], full.history["loss"], rtol=0.02)
    assert (half.history["loss"] != full.history["loss"]).any()


# ---- what cannot be -----------------------------------------------------------------------------


def test_too_few_slots_are_an_error_with_the_number_to_ask_for():
    world = tiny.world(slots=(8, 24, 2))
    with pytest.raises(ConfigError, match=r"\(8, 24, 2\) hold; build it with slots=\(12, 36, 3\)"):
        train(world, A, SAE, SHORT, [0])


WRONG = {
    "width": (
        {"sae": tiny.saes.build("topk", d_in=8, d_sae=16, k=2)},
        "SAE has d_in=8, the instance hidden_dim=32",
    ),
    "features": (
        {"world": worlds.make_world([0.1] * 5, slots=tiny.SLOTS)},
        "instance has 24 features, its world 5",
    ),
    "worlds": (
        {"world": worlds.stack([WORLD] * 3), "instance": worlds.stack([A, B])},
        "3 stacked worlds need as many stacked instances, got 2",
    ),
    "one instance": (
        {"world": worlds.stack([WORLD] * 2)},
        "2 stacked worlds need as many stacked instances, got a single one",
    ),
    "no seeds": ({"init_seeds": []}, r"init_seeds must have shape .* got \[0\]"),
    "seed rows": (
        {"instance": worlds.stack([A, B]), "init_seeds": np.zeros((3, 2), int)},
        r"init_seeds must have shape \[R\] or \[I, R\] = \[2, R\], got \[3, 2\]",
    ),
    "part of a seed": ({"init_seeds": [0.5]}, "init_seeds must be whole numbers"),
    "large seed": ({"init_seeds": [2**32]}, "init_seeds must be whole numbers from 0 to 2"),
    "negative seed": ({"data_seed": -1}, "data_seed must be whole numbers from 0 to 2"),
    "data seeds": (
        {"data_seed": [1, 2, 3]},
        r"data_seed must have shape \[R\] or \[I, R\] = \[1, 2\], got \[3\]",
    ),
    "data seeds of instances": (
        {"instance": worlds.stack([A, B]), "data_seed": [1, 2, 3]},
        r"one per instance \[2\] or one per run \[2, 2\], got \[3\]",
    ),
    "option": ({"at_onec": 3}, "Unknown option of train 'at_onec'. Did you mean 'at_once'"),
    "lr": ({"lr": [1e-3, -1e-3]}, "lr must be > 0 for every run, got -0.001"),
    "lr shape": ({"lr": [1e-3] * 3}, r"shape \[R\] or \[I, R\] = \[1, 2\], got \[3\]"),
    "k": (
        {"hyper": SAE.hyper.replace(k=[3, 99])},
        "k must satisfy 0 < k <= d_sae, got k=99.0, d_sae=32",
    ),
    "whole k": (
        {"sae": tiny.sae("topk"), "hyper": tiny.sae("topk").hyper.replace(k=[3, 2.5])},
        "a whole number is needed for each run",
    ),
    "whole k of instances": (
        {
            "instance": worlds.stack([A, B]),
            "sae": tiny.sae("topk"),
            "hyper": tiny.sae("topk").hyper.replace(k=np.array([[3, 2], [2, 2.5]])),
        },
        "a whole number is needed for each run, got 2.5",
    ),
    "no record": ({"hyper": np.ones((30, 30))}, r"BatchTopKHyper\(k, .*; got array\(\[\[1., 1."),
    "record": ({"hyper": tiny.sae("topk").hyper}, "hyper must be the record of SAE 'batchtopk'"),
    "wrapped": (
        {"sae": tiny.saes.wrap(lambda x: x, lambda z: z, np.eye(tiny.D))},
        "wrapped SAE can be evaluated and matched, not initialised or trained",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused_in_one_line(name):
    change, message = WRONG[name]
    given = {"world": WORLD, "instance": A, "sae": SAE, "config": SHORT, "init_seeds": [0, 1]}
    before = chunk._cache_size()
    with pytest.raises(ConfigError, match=message) as error:
        train(**{**given, **change})
    assert "\n" not in str(error.value)
    assert chunk._cache_size() == before  # and before anything is compiled
