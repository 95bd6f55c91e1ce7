"""What every registered architecture must do; a new one is tested by being registered."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax import saes
from synthsae_jax.metrics import mcc
from synthsae_jax.saes.records import LATENT_AXES, SPARSITY


def weights(params) -> dict[str, jax.Array]:
    own = {n: v for n, v in vars(params).items() if v is not None and n != "extra"}
    return own | {f"extra/{n}": v for n, v in (params.extra or {}).items()}


def latent_axis(sae, name: str) -> int | None:
    if name.startswith("extra/"):
        return saes.architectures[sae.name].extra_axes[name.removeprefix("extra/")]
    return LATENT_AXES[name]


def frozen(sae) -> set[str]:
    return set(saes.architectures[sae.name].frozen(sae.options))


def outputs(tools, sae, x, params=None):
    params = tools.random_params(sae) if params is None else params
    return tools.outputs(sae.static, params, x, sae.hyper, sae.init_state())


def permuted(sae, params, order):
    def moved(name, value):
        axis = latent_axis(sae, name)
        return value if axis is None else np.take(np.asarray(value), order, axis=axis)

    found = {name: moved(name, value) for name, value in weights(params).items()}
    extra = {n.removeprefix("extra/"): v for n, v in found.items() if n.startswith("extra/")}
    own = {n: v for n, v in found.items() if not n.startswith("extra/")}
    return params.replace(**own, extra=extra or None)


def test_loss_is_the_sum_of_its_terms_with_finite_nonzero_gradients(sae, tools, x, dead):
    params = tools.random_params(sae)
    (loss, info), gradient = tools.loss_and_gradient(
        sae.static, params, x, dead, sae.hyper, sae.init_state()
    )
    assert set(info) >= {"latents", "state", "terms"}
    assert "mse_loss" in info["terms"]
    np.testing.assert_allclose(loss, sum(info["terms"].values()), rtol=1e-6)
    assert info["latents"].shape == (x.shape[0], sae.d_sae)
    for name, value in weights(gradient).items():
        assert np.isfinite(value).all(), name
        assert np.any(value != 0) == (name not in frozen(sae)), name


def test_no_dead_latent_costs_nothing(sae, tools, x):
    params = tools.random_params(sae)
    none = jnp.zeros(sae.d_sae, bool)
    state = sae.init_state()
    (loss, info), gradient = tools.loss_and_gradient(sae.static, params, x, none, sae.hyper, state)
    if "pre_act_loss" in info["terms"]:
        assert info["terms"]["pre_act_loss"] == 0
    (without, _), same = tools.loss_and_gradient(sae.static, params, x, None, sae.hyper, state)
    np.testing.assert_allclose(loss, without, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(same)):
        assert np.isfinite(a).all()
        # two compiled programs may sum in another order
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_the_training_rule_is_as_sparse_as_declared(sae, tools, x):
    declared = saes.architectures[sae.name].sparsity
    assert declared in SPARSITY
    latents = outputs(tools, sae, x).train_latents
    active = np.asarray(latents != 0).sum(axis=-1)
    assert active.sum() > 0
    if declared == "k per sample":
        assert active.max() <= sae.hyper.k
    if declared == "k per batch":
        assert active.sum() == int(sae.hyper.k * len(x))
    if declared == "iterations":
        assert active.max() <= (sae.options.max_iterations or sae.d_in)


def test_permuting_latents_permutes_codes_and_keeps_reconstructions(sae, tools, x):
    rng = np.random.default_rng(2)
    blocks = np.split(
        np.arange(sae.d_sae), np.cumsum(saes.architectures[sae.name].blocks(sae.options))[:-1]
    )
    order = np.concatenate([rng.permutation(block) for block in blocks])
    before = outputs(tools, sae, x)
    after = outputs(tools, sae, x, permuted(sae, tools.random_params(sae), order))
    for name in ("latents", "train_latents", "final_latents"):
        expected = np.asarray(getattr(before, name))[:, order]
        np.testing.assert_allclose(getattr(after, name), expected, rtol=1e-5, atol=1e-6)
    for name in ("x_hat", "train_x_hat", "final_x_hat"):
        np.testing.assert_allclose(
            getattr(after, name), getattr(before, name), rtol=1e-5, atol=1e-5
        )


def test_shapes_dtypes_and_seeds(sae, tools, x):
    params = tools.random_params(sae)
    assert params.W_dec.shape == (sae.d_sae, sae.d_in)
    found = outputs(tools, sae, x)
    for latents in (found.latents, found.train_latents, found.final_latents):
        assert (latents.shape, latents.dtype) == ((len(x), sae.d_sae), jnp.float32)
    for x_hat in (found.x_hat, found.train_x_hat, found.final_x_hat):
        assert (x_hat.shape, x_hat.dtype) == (x.shape, jnp.float32)
    np.testing.assert_array_equal(params.W_dec, tools.random_params(sae).W_dec)
    assert np.any(params.W_dec != tools.random_params(sae, 1).W_dec)


def test_weights_are_read_as_if_finalized_before_any_step(sae, tools, x):
    found = outputs(tools, sae, x)
    np.testing.assert_allclose(found.final_x_hat, found.x_hat, rtol=1e-4, atol=1e-5)
    twice = weights(found.final_twice)
    for name, value in weights(found.final).items():
        np.testing.assert_allclose(twice[name], value, rtol=1e-5, atol=1e-6)


def test_numbers_vary_over_runs_in_one_trace(sae, tools, x, dead):
    def other(value):
        whole = np.issubdtype(np.asarray(value).dtype, np.integer)
        return value + 1 if whole else value * np.float32(0.5)

    names = [n for n, v in vars(sae.hyper).items() if v is not None]
    variants = [sae.hyper] + [
        sae.hyper.replace(**{n: np.asarray(other(getattr(sae.hyper, n)))}) for n in names
    ]
    params = tools.random_params(sae)
    state = sae.init_state()
    traces = []

    @jax.jit
    @jax.vmap
    def losses(hyper):
        traces.append(0)
        loss, info = sae.loss(params, x, dead, hyper=hyper, state=state, key=jax.random.key(7))
        return loss, info["latents"]

    stacked = jax.tree.map(lambda *v: np.stack(v), *variants)
    together, latents = losses(stacked)
    losses(stacked)
    assert len(traces) == 1
    for run, hyper in enumerate(variants):
        (alone, info), _ = tools.loss_and_gradient(sae.static, params, x, dead, hyper, state)
        np.testing.assert_allclose(together[run], alone, rtol=1e-5)
        np.testing.assert_allclose(latents[run], info["latents"], rtol=1e-5, atol=1e-6)


def test_runs_stack_by_vmap_over_weights_and_state(sae, tools, x):
    runs = [tools.random_params(sae, seed) for seed in (0, 10)]
    stacked = jax.tree.map(lambda *v: np.stack(v), *runs)
    state = jax.tree.map(lambda v: np.stack([v, v]), sae.init_state())
    call = jax.vmap(tools.outputs, in_axes=(None, 0, None, None, 0))
    together = call(sae.static, stacked, x, sae.hyper, state)
    for run, params in enumerate(runs):
        alone = jax.tree.leaves(outputs(tools, sae, x, params))
        for a, b in zip(jax.tree.leaves(together), alone):
            np.testing.assert_allclose(a[run], b, rtol=1e-5, atol=1e-6)


def test_loss_falls_on_orthogonal_features(sae, tools, dictionary):
    params = jax.jit(sae.init)(jax.random.key(4))
    params, state, losses = tools.train(
        sae.static,
        params,
        sae.hyper,
        dictionary,
        jax.random.key(5),
        300,
        np.float32(1e-2),
        sae.init_state(),
    )
    losses = np.asarray(losses)
    assert np.isfinite(losses).all()
    assert losses[-20:].mean() < 0.5 * losses[:5].mean()
    final = sae.finalize(params, state)
    for name, value in weights(final).items():
        assert np.isfinite(value).all(), name


def test_orthogonal_features_are_found(sae, tools, dictionary):
    start = jax.jit(sae.init)(jax.random.key(4))
    # two features fire in each sample, but some prefer fewer latents; a swept k compiles nothing
    ks = [sae.hyper.k, 2] if "k" in vars(sae.hyper) else [None]
    best = 0.0
    for k in ks:
        hyper = sae.hyper if k is None else sae.hyper.replace(k=np.asarray(k, sae.hyper.k.dtype))
        params, state = start, sae.init_state()
        for part, lr in enumerate([1e-2, 1e-2, 1e-2, 1e-3]):
            key = jax.random.key(50 + part)
            params, state, _ = tools.train(
                sae.static, params, hyper, dictionary, key, 300, np.float32(lr), state
            )
        best = max(best, mcc(sae.finalize(params, state).W_dec, dictionary))
    assert best > saes.architectures[sae.name].probe_mcc


def test_an_equal_sae_built_again_is_not_traced_again(sae, tools, x):
    traces = []

    def encode(sae, params, x, hyper):
        traces.append(0)
        return sae.encode(params, x, hyper=hyper)

    encode = jax.jit(encode, static_argnames="sae")
    params = tools.random_params(sae)
    for same in (sae, tools.small(sae.name), sae.static):
        assert same == sae
        assert hash(same) == hash(sae)
        encode(same, params, x, sae.hyper)
    assert len(traces) == 1
    choices = {f.name: getattr(sae.options, f.name) for f in dataclasses.fields(sae.options)}
    wider = saes.build(sae.name, **sae.config() | {"d_in": 2 * choices["d_in"]})
    assert wider != sae


def test_config_builds_the_same_sae(sae):
    again = saes.build(sae.name, **sae.config())
    assert again == sae
    assert vars(again.hyper) == vars(sae.hyper)


def test_every_architecture_is_explained(sae):
    explanation = saes.architectures.explanation(sae.name)
    assert explanation is not None
    assert explanation.what
    assert explanation.formula
    assert explanation.source


def test_half_precision_products_stay_near_full_precision(sae, tools, x):
    exact = outputs(tools, sae, x).x_hat
    rough = outputs(tools, sae.with_options(dtype="bfloat16"), x).x_hat
    assert rough.dtype == jnp.float32
    # 8 bits of mantissa, and a latent at the edge of a selection may change places
    assert np.mean(np.square(rough - exact)) < 0.02 * np.mean(np.square(exact))
