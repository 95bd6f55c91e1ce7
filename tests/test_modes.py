"""Numbers do not change with JAX's modes: 64 bits, a stop at the first NaN, another kind of key."""

import inspect
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from synthsae_jax import (
    cli,
    io,
    matching,
    metrics,
    modes,
    protocols,
    saes,
    similarity,
    training,
    worlds,
)
from synthsae_jax.matching import SideInputs
from synthsae_jax.matching.truth_methods import truth_methods
from synthsae_jax.protocols import Context, protocol_names, run_protocol
from synthsae_jax.training import TrainConfig, train

N, P = 60, 6
MODES = {
    "x64": lambda: jax.enable_x64(True),
    "debug_nans": lambda: jax.debug_nans(True),
    "rbg": lambda: jax.default_prng_impl("rbg"),
}
# what stands in the environment of somebody who has them all
SET = {"JAX_ENABLE_X64": "1", "JAX_DEBUG_NANS": "1", "JAX_DEFAULT_PRNG_IMPL": "rbg"}
WORLD, A = tiny.world(), tiny.instance(0)


@pytest.fixture(params=MODES)
def mode(request):
    return MODES[request.param]


def points():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, P)) + rng.normal(size=P)
    Y = np.tanh(X @ rng.normal(size=(P, P))) + 0.5 * rng.normal(size=(N, P)) + 2
    return X.astype(np.float32), Y.astype(np.float32)


def codes():
    rng = np.random.default_rng(1)
    a = (rng.random((N, P)) < 0.4) * rng.uniform(0.5, 1.5, (N, P))
    return a.astype(np.float32), np.where(rng.random((N, P)) < 0.7, a, 0).astype(np.float32)


def leaves(tree):
    """Numbers of a tree, keys as theirs."""
    data = lambda v: jax.random.key_data(v) if is_key(v) else v
    return [np.asarray(data(leaf)) for leaf in jax.tree.leaves(tree)]


def is_key(leaf):
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def same(call, mode):
    """Up to rounding: what is computed in numpy or in JAX's own functions may take 64 bits."""
    plain = leaves(call())
    with mode():
        other = leaves(call())
    for one, two in zip(plain, other, strict=True):
        np.testing.assert_allclose(two, one, atol=2e-5, rtol=2e-5)


def equal(call, mode):
    """To the bit, and in the same types: what is computed in JAX's default modes."""
    plain = leaves(call())
    with mode():
        other = leaves(call())
    for one, two in zip(plain, other, strict=True):
        np.testing.assert_array_equal(two, one)
        assert two.dtype == one.dtype


@pytest.mark.parametrize("name", similarity.names())
def test_measures(name, mode):
    same(lambda: similarity.measure_with_reason(name, *points())[0], mode)


@pytest.mark.parametrize("name", matching.score_names())
def test_scores(name, mode):
    a, b = codes() if matching.scores[name].takes == "codes" else points()
    if matching.scores[name].takes == "both":
        a, b = (a, b.T), (b, a.T)
    same(lambda: matching.score(name, a, b), mode)


@pytest.mark.parametrize("name", matching.solver_names())
def test_solvers(name, mode):
    s = np.random.default_rng(2).normal(size=(8, 8)).astype(np.float32)
    found = lambda: matching.solve(name, s)
    same(lambda: (found().row[found().valid], found().col[found().valid]), mode)


@pytest.mark.parametrize(
    "method", [m for m in truth_methods.names() if m not in ("causal", "absorption_aware")]
)
def test_truth_maps(method, mode):
    rng = np.random.default_rng(3)
    features = np.linalg.qr(rng.normal(size=(16, 16)))[0][:P].astype(np.float32)
    acts, latents = codes()
    same(lambda: matching.truth_map(features, latents, features, acts, method), mode)


def test_metrics(mode):
    acts, latents = codes()
    rng = np.random.default_rng(4)
    features = rng.normal(size=(P, 16)).astype(np.float32)
    decoder = features + 0.3 * rng.normal(size=(P, 16)).astype(np.float32)
    X, Y = points()
    calls = (
        lambda: metrics.mcc(decoder, features),
        lambda: metrics.classification(latents, acts, decoder, features),
        lambda: (metrics.explained_variance(X, Y), metrics.shrinkage(X, Y)),
        lambda: (metrics.l0(latents), metrics.dead_latents(latents)),
    )
    for call in calls:
        same(call, mode)


def test_worlds(mode):
    """Keys are made inside, as who has set the mode makes them."""
    preset = worlds.preset("micro")

    def call():
        key_world, key_instance, key_codes, key_seen = jax.random.split(jax.random.key(3), 4)
        world = worlds.init_world(key_world, preset.world)
        instance = worlds.init_instance(key_instance, world, preset.instance)
        drawn = worlds.sample_codes(key_codes, world, 64)
        own = worlds.observe(instance, drawn, key_seen)
        x = worlds.embed(instance, own, key_seen)
        return world, instance, drawn, own, x, worlds.densify(drawn, 256)

    equal(call, mode)


CONFIG = TrainConfig(n_samples=4 * tiny.BATCH, batch_size=tiny.BATCH, lr=3e-3, dead_window=2)
LIGHT = ("batchtopk", "standard", "topk")  # the others compile for longer to say the same


@pytest.mark.parametrize(
    "name", [n if n in LIGHT else pytest.param(n, marks=pytest.mark.slow) for n in saes.names()]
)
def test_training(name, mode):
    sae = saes.build(name, d_in=tiny.D, d_sae=tiny.L, **saes.architectures[name].example)

    def call():
        result = train(WORLD, A, sae, CONFIG, [3, 4])
        return result.params, result.history, result.state, result.input_scale

    equal(call, mode)


@pytest.mark.parametrize("name", saes.names())
def test_weights_at_the_start(name, mode):
    sae = saes.build(name, d_in=tiny.D, d_sae=tiny.L, **saes.architectures[name].example)
    equal(lambda: (sae.init(jax.random.key(5)), sae.init_state()), mode)


@pytest.mark.parametrize(
    "name", [n if n in LIGHT else pytest.param(n, marks=pytest.mark.slow) for n in saes.names()]
)
def test_a_step_of_ones_own(name, mode):
    """Loss and gradient in a program of the user's, with arrays in the user's types."""
    sae = saes.build(name, d_in=tiny.D, d_sae=tiny.L, **saes.architectures[name].example)
    params = sae.init(jax.random.key(5))
    rows = np.random.default_rng(0).normal(size=(16, tiny.D))

    @jax.jit
    def step(params, x, key):
        loss = lambda params: sae.loss(params, x, jnp.ones(tiny.L, bool), key=key)[0]
        return jax.value_and_grad(loss)(params), sae.encode(params, x)

    same(lambda: step(params, jnp.asarray(rows), jax.random.key(1)), mode)


def test_scores_of_an_sae(mode):
    sae = tiny.sae()
    params = sae.init(jax.random.key(5))
    equal(lambda: metrics.evaluate(WORLD, A, sae, params, 512, 0), mode)


def test_files(mode, tmp_path, golden):
    sae = tiny.sae("topk")
    params = sae.init(jax.random.key(5))
    io.save_saelens_sae(tmp_path, sae, params)
    equal(lambda: io.load_saelens_sae(tmp_path)[1], mode)
    equal(lambda: io.load_saelens_model(golden / "saelens-1k"), mode)


def side(seed):
    rng = np.random.default_rng(seed)
    latents = (rng.random((400, 12)) < 0.1) * rng.uniform(0.5, 1.5, (400, 12))
    rows = lambda: rng.normal(size=(12, 16)).astype(np.float32)
    return SideInputs(latents=latents.astype(np.float32), decoder=rows(), encoder=rows())


@pytest.mark.parametrize("name", protocol_names())
def test_protocols(name, mode):
    a, b = side(0), side(1)
    context = Context(
        activations=tuple(s.latents @ s.decoder for s in (a, b)),
        reconstruct=(lambda x: 0.9 * x,) * 2,
        level_draws=8,
    )

    def call():
        result = run_protocol(name, a, b, key=jax.random.key(2), draws=3, context=context)
        return dict(result.numbers), result.p(), result.matching.score

    equal(call, mode)


def test_whoever_takes_a_key_or_a_seed_works_in_the_default_modes():
    """Draws are other numbers of 64 bits, so a new public function that draws has to be fixed."""
    packages = (worlds, training, metrics, matching, similarity, protocols)
    drawing = {"key", "keys", "seed", "seeds", "data_seed"}
    for package in packages:
        for name in package.__all__:
            function = getattr(package, name)
            if inspect.isfunction(function) and drawing & set(
                inspect.signature(function).parameters
            ):
                assert getattr(function, modes.MARK, False), f"{function.__module__}.{name}"


def test_a_key_of_rbg_is_the_threefry_key_of_its_seed():
    for make in (
        lambda key: key,
        lambda key: jax.random.split(key, 3),
        lambda key: jax.random.fold_in(jax.random.split(key)[1], 5),
    ):
        ours = modes.threefry(make(jax.random.key(7, impl="rbg")))
        np.testing.assert_array_equal(
            jax.random.key_data(ours), jax.random.key_data(make(jax.random.key(7)))
        )


def test_arrays_of_64_bits_come_in_as_32():
    seen = modes.fixed(lambda *leaves: [leaf.dtype.name for leaf in leaves])
    with jax.enable_x64(True):
        kinds = seen(jnp.ones(2), jnp.arange(2), jnp.float32(1), np.ones(2))
    # numpy's stay: who takes them on the host reads all their digits
    assert kinds == ["float32", "int32", "float32", "float64"]


def test_the_command_line_with_all_modes_set(tmp_path):
    config = worlds.WorldConfig(n_features=16)
    world = worlds.init_world(jax.random.key(0), config)
    instance = worlds.init_instance(jax.random.key(1), world, worlds.InstanceConfig(hidden_dim=8))
    sae = saes.build("topk", d_in=8, d_sae=16, k=3)
    io.save_saelens_model(tmp_path / "model", world, instance)
    io.save_saelens_sae(tmp_path / "sae", sae, sae.init(jax.random.key(5)))
    words = ["score", str(tmp_path / "sae"), "--model", str(tmp_path / "model")]
    words += ["--samples", "2000", "--json"]
    assert cli.main([*words, str(tmp_path / "plain.json")]) == 0
    command = [sys.executable, "-m", "synthsae_jax", *words, str(tmp_path / "modes.json")]
    done = subprocess.run(command, env=os.environ | SET, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    plain, other = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("plain", "modes")
    )
    assert other == plain
