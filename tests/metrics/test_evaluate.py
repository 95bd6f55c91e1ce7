"""Streamed evaluation against the metrics of whole arrays, and many runs against one at a time."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import tiny

from synthsae_jax import keys, metrics, saes, worlds
from synthsae_jax.errors import ConfigError
from synthsae_jax.metrics.evaluate import METRICS, RULES, Sums, _pass, finish
from synthsae_jax.metrics.reconstruction import ActivitySums, ReconstructionSums
from synthsae_jax.metrics.recovery import ClassificationCounts

BATCH, N = 128, 300  # three batches, 384 samples
# sums of float32 over some hundred samples
ROUNDING = 2e-6
# what DESIGN promises of a run beside others
ALONE = 1e-5

WORLD = worlds.twin(tiny.world())  # 48 ids, of which an instance has 24


def instance(seed, shared):
    """Half of its features may be twins; it drops firings, jitters magnitudes, adds noise."""
    config = worlds.InstanceConfig(
        hidden_dim=tiny.D,
        orthogonalize_steps=0,
        bias_norm=0.3,
        shared=shared,
        drop=0.2,
        magnitude_jitter=0.2,
        noise=0.1,
    )
    return worlds.init_instance(keys.instance_key(seed), WORLD, config)


A, B = instance(0, 0.5), instance(1, 1.0)
SAE = tiny.sae()


def trained(seed, instance=A):
    """Weights like those of a run in the middle of training: some features found, some not.

    Sixteen latents point along features of the instance, eight along features that it lacks, one
    has a zero row.
    """
    rng = np.random.default_rng(seed)
    present = np.asarray(instance.present)
    rows = np.asarray(instance.dictionary)
    noise = rng.normal(size=(tiny.L, tiny.D)) / np.sqrt(tiny.D)
    w_dec = noise.copy()
    w_dec[:16] = rows[present][:16] + 0.3 * noise[:16]
    w_dec[16:24] = rows[~present][:8] + 0.3 * noise[16:24]
    w_dec[24] = 0
    w_dec = jnp.asarray(w_dec, jnp.float32)
    return saes.SAEParams(
        W_enc=w_dec.T,
        b_enc=jnp.full(tiny.L, -0.1),
        W_dec=w_dec,
        b_dec=jnp.asarray(0.1 * rng.normal(size=tiny.D), jnp.float32),
    )


def final(params, threshold=0.4):
    state = SAE.init_state()
    return SAE.finalize(params, state.replace(threshold=jnp.float32(threshold)))


def runs_of(params, hyper=SAE.hyper):
    """Runs as `evaluate_runs` takes them, from a list (or list of lists) of weights."""
    nested = isinstance(params[0], list)
    rows = [runs_of(row) for row in params] if nested else [(p, hyper, None) for p in params]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)


@jax.jit
def _batch(world, instance, seed, step):
    key = jax.random.fold_in(keys.data_key(seed, "evaluate"), step)
    return worlds.draw(key, world, instance, BATCH)


def brute_force(world, instance, w_dec, encode, decode, seed=5):
    """All metrics from whole arrays of the same stream; a rule that ranks sees one batch a time."""
    acts, inputs, latents = [], [], []
    for step in range(-(-N // BATCH)):
        codes, x = _batch(world, instance, seed, step)
        acts.append(worlds.densify(codes, world.n_features))
        inputs.append(x)
        latents.append(encode(x))
    acts, x, z = (np.concatenate(parts) for parts in (acts, inputs, latents))
    x_hat = np.asarray(decode(z))
    present = np.asarray(instance.present)
    features = np.asarray(instance.dictionary)[present]
    w_dec = np.asarray(w_dec)
    detection = oracles.confusion(z, acts[:, present], w_dec, features)
    return {
        "mcc": oracles.mcc(w_dec, features),
        "uniqueness": len(set(np.abs(oracles.cosines(w_dec, features)).argmax(1))) / tiny.L,
        **{name: np.mean(values) for name, values in detection.items()},
        "explained_variance": oracles.explained_variance(x, x_hat),
        "shrinkage": (np.linalg.norm(x_hat, axis=1) / np.linalg.norm(x, axis=1)).mean(),
        "dead_latents": (z == 0).all(0).sum(),
        "l0": (z != 0).sum(1).mean(),
        "true_l0": (acts > 0).sum(1).mean(),
        "n_eval": len(x),
    }


@pytest.mark.parametrize("rule", RULES)
def test_streamed_metrics_equal_those_of_whole_arrays(rule):
    params = trained(0) if rule == "train" else final(trained(0))
    found = metrics.evaluate(WORLD, A, SAE, params, N, 5, rule=rule, batch_size=BATCH)
    encode = SAE.train_encode if rule == "train" else SAE.encode
    decode = functools.partial(SAE.decode, params)
    expected = brute_force(WORLD, A, params.W_dec, functools.partial(encode, params), decode)
    assert set(found) == {*METRICS, "n_eval"}
    assert found == {name: pytest.approx(expected[name], abs=ROUNDING) for name in found}
    assert all(type(value) is float for value in found.values())
    # not a case in which everything is 0 or 1
    assert all(0.1 < found[name] < 0.95 for name in ("mcc", "f1", "precision", "recall"))
    assert 0 < found["dead_latents"] < tiny.L
    if rule == "train":
        assert found["l0"] == pytest.approx(3.0)  # exactly k per sample of every batch


def test_features_that_the_instance_lacks_are_no_targets():
    # one latent per feature of the registry, along its direction: those along absent features are
    # measured against the nearest feature that is there, and cannot find it
    params = trained(0)
    rows = np.asarray(A.dictionary)
    ids = np.concatenate([np.flatnonzero(A.present)[:8], np.flatnonzero(~A.present)])
    params = final(params.replace(W_dec=jnp.asarray(rows[ids]), W_enc=jnp.asarray(rows[ids].T)))
    found = metrics.evaluate(WORLD, A, SAE, params, N, 5, batch_size=BATCH)
    features = rows[np.asarray(A.present)]
    assert found["mcc"] == pytest.approx(oracles.mcc(rows[ids], features), abs=ROUNDING)
    assert found["mcc"] < 0.7
    assert found["uniqueness"] <= 24 / 32
    encode, decode = (functools.partial(f, params) for f in (SAE.encode, SAE.decode))
    expected = brute_force(WORLD, A, rows[ids], encode, decode)
    assert found["f1"] == pytest.approx(expected["f1"], abs=ROUNDING)


def test_the_seed_decides_on_the_samples():
    one, same, other = (
        metrics.evaluate(WORLD, A, SAE, final(trained(0)), N, seed, batch_size=BATCH)
        for seed in (5, 5, 6)
    )
    assert one == same
    assert one["explained_variance"] != other["explained_variance"]


@pytest.mark.parametrize(("n_samples", "n_eval"), [(128, 128), (129, 256), (300, 384)])
def test_whole_batches_are_drawn(n_samples, n_eval):
    params = final(trained(0))
    assert metrics.evaluate(WORLD, A, SAE, params, n_samples, batch_size=BATCH)["n_eval"] == n_eval


# ---- many runs ----------------------------------------------------------------------------------


def one_by_one(world, instance, params, seed):
    return metrics.evaluate(world, instance, SAE, params, N, seed, batch_size=BATCH)


def assert_same(found, index, expected):
    run = {name: values[index] for name, values in found.items()}
    assert run == {name: pytest.approx(expected[name], abs=ALONE, nan_ok=True) for name in run}


def test_runs_of_one_instance_equal_one_by_one_even_beside_a_broken_one():
    params = [final(trained(seed)) for seed in (0, 1, 2)]
    broken = params[1].replace(b_dec=jnp.full(tiny.D, jnp.nan))
    runs = runs_of([params[0], broken, params[2]])
    found = metrics.evaluate_runs(WORLD, A, SAE, runs, N, 5, batch_size=BATCH)
    assert {values.shape for values in found.values()} == {(3,)}
    for run in (0, 2):
        assert_same(found, run, one_by_one(WORLD, A, params[run], 5))
    # of a run whose reconstruction is not a number nothing is said but what the world says
    defined = {name for name, values in found.items() if np.isfinite(values[1])}
    assert defined == {"true_l0", "n_eval"}
    assert found["true_l0"][1] == found["true_l0"][0]


def test_a_decoder_that_is_not_finite_has_no_metric():
    params = final(trained(0))
    params = params.replace(W_dec=params.W_dec.at[3, 3].set(jnp.nan))
    found = one_by_one(WORLD, A, params, 5)
    assert {name for name, value in found.items() if np.isfinite(value)} == {"true_l0", "n_eval"}


@pytest.mark.parametrize("seed", [5, [5, 9]])
@pytest.mark.parametrize("stacked", [False, True])
def test_stacked_instances_equal_one_by_one(seed, stacked):
    params = [[final(trained(r, x)) for r in range(2)] for x in (A, B)]
    other = worlds.twin(tiny.world(spread=0.1)) if stacked else WORLD
    world = worlds.stack([WORLD, other]) if stacked else WORLD
    found = metrics.evaluate_runs(
        world, worlds.stack([A, B]), SAE, runs_of(params), N, seed, batch_size=BATCH
    )
    assert {values.shape for values in found.values()} == {(2, 2)}
    seeds = np.broadcast_to(seed, 2).tolist()
    for i, r in np.ndindex(2, 2):
        expected = one_by_one((WORLD, other)[i], (A, B)[i], params[i][r], seeds[i])
        assert_same(found, (i, r), expected)


def test_other_weights_and_numbers_do_not_compile_again():
    one_by_one(WORLD, A, final(trained(0)), 5)
    raw = trained(0)
    ranked = lambda k: metrics.evaluate(
        WORLD, A, tiny.sae(k=k), raw, N, 5, rule="train", batch_size=BATCH
    )
    ranked(3)
    before = _pass._cache_size()
    one_by_one(WORLD.replace(seed=3), B, final(trained(1, B)), 2)
    longer = 5 * BATCH
    metrics.evaluate(WORLD, A, tiny.sae(k=9), final(raw), longer, np.array([7]), batch_size=BATCH)
    assert [ranked(k)["l0"] for k in (1, 2)] == [pytest.approx(1), pytest.approx(2)]
    hyper = SAE.hyper.replace(k=2)
    found = metrics.evaluate(WORLD, A, SAE, raw, N, 5, rule="train", hyper=hyper, batch_size=BATCH)
    assert found["l0"] == pytest.approx(2)
    assert _pass._cache_size() == before


# ---- somebody else's SAE ------------------------------------------------------------------------


@pytest.mark.parametrize("host", [False, True])
def test_a_wrapped_sae_is_scored_by_its_functions(host):
    params = trained(0)
    weights = jax.tree.map(np.asarray, params)
    kind = np.ndarray if host else jax.Array

    def encode(x):
        assert isinstance(x, kind)
        pre = (x - weights.b_dec[None]) @ weights.W_enc + weights.b_enc[None]
        return pre * (pre > 0)

    def decode(z):
        assert isinstance(z, kind)
        return z @ weights.W_dec + weights.b_dec[None]

    wrapped = saes.wrap(encode, decode, params.W_dec, host=host)
    found = metrics.evaluate(WORLD, A, wrapped, wrapped.params, N, 5, batch_size=BATCH)
    convert = np.asarray if host else jnp.asarray
    expected = brute_force(
        WORLD, A, weights.W_dec, lambda x: encode(convert(x)), lambda z: decode(convert(z))
    )
    assert found == {name: pytest.approx(expected[name], abs=ROUNDING) for name in found}


# ---- edges --------------------------------------------------------------------------------------


def test_counts_beyond_31_bits_stay_right():
    # 4,096 latents that fire on 600,000 of a million samples: 2.5e9 firings
    n, n_latents = 1_000_000, 4096
    counts = ClassificationCounts.init(jnp.zeros(n_latents, jnp.int32))
    counts = dataclasses.replace(counts, n=jnp.int32(n), tp=counts.tp + 600_000)
    sums = Sums(
        reconstruction=ReconstructionSums.of(np.eye(3), np.eye(3)),
        detection=counts,
        truth=ActivitySums.of(np.eye(3)),
    )
    found = finish(sums)
    assert found["l0"] == pytest.approx(0.6 * n_latents)
    assert found["dead_latents"] == 0


def test_too_few_slots_are_an_error_with_the_number_to_ask_for():
    world = WORLD.replace(slots=(8, 24, 2))
    with pytest.raises(ConfigError, match=r"\(8, 24, 2\) hold; build it with slots=\(12, 36, 3\)"):
        one_by_one(world, A, final(trained(0)), 5)


STACK = worlds.stack([A, B])
RUN = runs_of([final(trained(0))])
WRONG = {
    "n_samples": ({"n_samples": 0}, "n_samples must be >= 1, got 0"),
    "batch_size": ({"batch_size": 0}, "batch_size must be >= 1, got 0"),
    "rule": ({"rule": "training"}, "Unknown rule 'training'. Did you mean 'train'"),
    "seed": ({"seed": 0.5}, "seed must be whole numbers"),
    "seeds": ({"seed": [1, 2, 3]}, r"seed must be one number or one per instance \[1\], got \[3\]"),
    "world": ({"world": tiny.world()}, "instance has 48 features, its world 24"),
    "worlds": ({"world": worlds.stack([WORLD] * 2)}, "2 stacked worlds need as many stacked"),
    "runs of no instance": (
        {"instance": STACK},
        r"W_dec of the runs must have shape \[2, R, L, 32\], got \[1, 32, 32\]",
    ),
    "runs of other instances": (
        {"instance": STACK, "runs": runs_of([[final(trained(0))]] * 3)},
        r"W_dec of the runs must have shape \[2, R, L, 32\], got \[3, 1, 32, 32\]",
    ),
    "width": (
        {"runs": jax.tree.map(lambda leaf: leaf[..., :16], RUN)},
        r"W_dec of the runs must have shape \[R, L, 32\], got \[1, 32, 16\]",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused_in_one_line(name):
    change, message = WRONG[name]
    given = {"world": WORLD, "instance": A, "sae": SAE, "runs": RUN, "n_samples": N, "seed": 0}
    before = _pass._cache_size()
    with pytest.raises(ConfigError, match=message) as error:
        metrics.evaluate_runs(**{**given, **change})
    assert "\n" not in str(error.value)
    assert _pass._cache_size() == before


def test_evaluate_takes_one_run():
    with pytest.raises(ConfigError, match=r"one SAE, W_dec \[L, D\], got \[1, 32, 32\]"):
        metrics.evaluate(WORLD, A, SAE, RUN[0])
