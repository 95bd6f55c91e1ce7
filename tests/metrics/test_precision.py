"""Metrics do not depend on how inputs are kept, where they need not; and hide no NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from synthsae_jax import metrics, saes

N, L, F, D = 200, 12, 16, 64


@pytest.fixture(scope="module")
def given():
    """Latents, true codes, decoder, features: rows of norm 300 in half precision."""
    rng = np.random.default_rng(0)
    acts = (rng.random((N, F)) < 0.2) * rng.uniform(0.5, 1.5, (N, F))
    latents = np.where(rng.random((N, L)) < 0.9, acts[:, :L], 0)
    features = rng.normal(size=(F, D))
    decoder = features[:L] + 0.5 * rng.normal(size=(L, D))
    decoder *= 300 / np.linalg.norm(decoder, axis=1, keepdims=True)
    return latents, acts, decoder, features


def recovered(latents, acts, decoder, features):
    return {
        "mcc": metrics.mcc(decoder, features),
        "uniqueness": metrics.uniqueness(decoder, features),
        **metrics.classification(latents, acts, decoder, features),
    }


@pytest.mark.parametrize("kind", [np.float16, jnp.bfloat16])
def test_recovery_in_half_precision_is_that_of_the_same_numbers(kind, given):
    half = [v.astype(kind) for v in given]
    expected = recovered(*(v.astype(np.float32) for v in half))
    assert recovered(*half) == pytest.approx(expected, abs=1e-6)
    assert recovered(*map(jnp.asarray, half)) == pytest.approx(expected, abs=1e-6)
    assert expected["f1"] > 0.5
    assert metrics.mcc(np.diag([300, 300]).astype(kind), np.eye(2)) == pytest.approx(1)
    assert metrics.uniqueness(np.diag([300, 300]).astype(kind), np.eye(2)) == 1


@pytest.mark.parametrize("factor", [1e-300, 1e-30, 1e-9, 1e30, 1e300])
def test_recovery_is_free_of_scale(factor, given):
    latents, acts, decoder, features = given
    expected = recovered(*given)
    for scaled in (
        (factor * latents, acts, factor * decoder, features),
        (latents, factor * acts, decoder, factor * features),
    ):
        assert recovered(*scaled) == pytest.approx(expected, abs=1e-6)
    if 1e-37 < factor < 1e37:
        single = np.float32(factor * decoder)
        assert metrics.mcc(single, features) == pytest.approx(expected["mcc"], abs=1e-6)


def test_explained_variance_is_about_the_mean_and_free_of_scale():
    x = np.random.default_rng(1).normal(size=(9000, 3))
    x_hat = x + 0.5
    expected = 1 - 0.75 / x.var(0).sum()
    for factor in (1e-300, 1.0, 1e200):
        for offset in (0, 1e7):
            found = metrics.explained_variance(factor * (x + offset), factor * (x_hat + offset))
            assert found == pytest.approx(expected, abs=1e-5)
    single = [np.float32(1e25 * v) for v in (x, x_hat)]
    assert metrics.explained_variance(*single) == pytest.approx(expected, abs=1e-5)
    half = [v.astype(np.float16) for v in (x, 2 * x)]
    assert metrics.shrinkage(*half) == pytest.approx(2, abs=1e-6)


def test_activity_is_counted_in_the_precision_given():
    latents = np.array([[1e-300, 0.0], [0.0, 0.0]])
    assert metrics.l0(latents) == 0.5
    assert metrics.dead_latents(latents) == 1
    for bad in (np.nan, np.inf):
        latents[1, 1] = bad
        assert np.isnan(metrics.l0(latents))
        assert np.isnan(metrics.dead_latents(latents))


def test_a_latent_that_is_no_number_has_no_score(given):
    latents, acts, decoder, features = given
    broken = latents.copy()
    broken[3, 4] = np.nan
    assert np.isnan(list(metrics.classification(broken, acts, decoder, features).values())).all()


# one architecture of each kind of selection; those of several models at once are evaluated alike
SELECTING = ("standard", "topk", "abs_topk", "batchtopk", "jumprelu", "gated", "matryoshka")
PARTS = ("W_enc", "b_enc", "W_dec", "b_dec")


@pytest.mark.parametrize("name", SELECTING)
def test_a_nan_among_the_weights_is_hidden_by_no_selection(name):
    options = {"matryoshka_widths": [8, 32]} if name == "matryoshka" else {}
    if name in ("jumprelu", "gated"):
        sae = saes.build(name, d_in=tiny.D, d_sae=tiny.L)
    else:
        sae = tiny.sae(name, **options)
    params = sae.init(jax.random.key(0))
    world, instance = tiny.world(), tiny.instance()
    for part in PARTS:
        weights = getattr(params, part)
        if weights is None:
            continue
        broken = params.replace(**{part: weights.at[(0,) * weights.ndim].set(jnp.nan)})
        found = metrics.evaluate(world, instance, sae, broken, n_samples=64, batch_size=64)
        defined = {metric for metric, value in found.items() if not np.isnan(value)}
        assert defined == {"true_l0", "n_eval"}, part


def test_weights_in_half_precision_are_evaluated_in_float32():
    sae = tiny.sae("topk")
    params = sae.init(jax.random.key(1))
    half = jax.tree.map(lambda leaf: (300 * leaf).astype(jnp.float16), params)
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), half)
    world, instance = tiny.world(), tiny.instance()
    run = lambda p: metrics.evaluate(world, instance, sae, p, n_samples=64, batch_size=64)
    assert run(half) == pytest.approx(run(single), nan_ok=True)
