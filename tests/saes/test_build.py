"""Building by name, equality as a static argument, errors, wrapping, and a new architecture."""

from __future__ import annotations

import functools
import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from synthsae_jax import saes
from synthsae_jax.errors import ConfigError
from synthsae_jax.registry import Explanation
from synthsae_jax.saes import parts
from synthsae_jax.saes.records import no_state

PARAMS = saes.SAEParams(np.eye(8), np.zeros(8), np.eye(8), np.zeros(8))


def test_the_three_first_architectures_are_there():
    assert {"standard", "topk", "batchtopk"} <= set(saes.names())


def test_numbers_do_not_count_in_equality_and_choices_do():
    def build(**options):
        return saes.build("topk", d_in=8, d_sae=16, **{"k": 2, **options})

    assert build() == build(k=5, aux_loss_coefficient=0.25)
    assert hash(build()) == hash(build(k=5))
    assert build() != build(apply_b_dec_to_input=False)
    assert build() != build(rescale_acts_by_decoder_norm=False)
    assert build() != saes.build("batchtopk", d_in=8, d_sae=16, k=2)
    assert build(k=5).hyper.k == 5


def test_static_without_its_numbers_says_what_to_pass():
    sae = saes.build("topk", d_in=8, d_sae=16, k=2)
    params, x = PARAMS, jnp.ones((3, 8))
    with pytest.raises(ConfigError, match=r"'k' of SAE 'topk'.*pass hyper=sae.hyper"):
        sae.static.encode(params, x)
    with pytest.raises(ConfigError, match="pass hyper"):
        sae.static.loss(params, x)
    with pytest.raises(ConfigError, match="no numbers"):
        sae.static.config()


def test_one_program_gives_the_right_answer_for_every_k():
    @functools.partial(jax.jit, static_argnames="sae")
    def n_active(sae, params, x, hyper):
        return (sae.encode(params, x, hyper=hyper) > 0).sum(-1)

    x = jnp.abs(jax.random.normal(jax.random.key(1), (4, 8))) + 1
    for k in (1, 3, 8):
        sae = saes.build("topk", d_in=8, d_sae=8, k=k)
        np.testing.assert_array_equal(n_active(sae.static, PARAMS, x, sae.hyper), k)
        np.testing.assert_array_equal((jax.jit(sae.encode)(PARAMS, x) > 0).sum(-1), k)


def test_an_sae_survives_pickling():
    sae = saes.build("batchtopk", d_in=8, d_sae=16, k=2.5)
    jax.jit(sae.init)(jax.random.key(0))  # what it has computed is left behind
    again = pickle.loads(pickle.dumps(sae))
    assert again == sae
    assert again.config() == sae.config()


def test_config_holds_plain_numbers():
    config = saes.build("topk", d_in=8, d_sae=16, k=3, aux_loss_coefficient=0.1).config()
    assert config["aux_loss_coefficient"] == 0.1
    assert type(config["k"]) is int


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("topkk", {}, "Unknown sae 'topkk'. Did you mean 'topk'?"),
        ("topk", {"kk": 3}, "Unknown option of SAE 'topk' 'kk'"),
        ("topk", {"aux_loss_coeff": 3}, "Did you mean 'aux_loss_coefficient'?"),
        ("standard", {"k": 3}, "Unknown option of SAE 'standard' 'k'"),
        ("topk", {"k": 0}, "1 <= k <= d_sae, got k=0, d_sae=16"),
        ("topk", {"k": 17}, "1 <= k <= d_sae, got k=17, d_sae=16"),
        ("topk", {"k": 2.5}, "k must be a whole number, got k=2.5"),
        ("topk", {"k": "many"}, "k must be a whole number, got k='many'"),
        ("topk", {"k": True}, "k must be a whole number, got k=True"),
        ("topk", {"k": 2, "aux_loss_coefficient": -1}, "aux_loss_coefficient must not be negative"),
        ("topk", {"k": 2, "aux_loss_coefficient": float("nan")}, "must be a finite number"),
        ("topk", {"k": 2, "rescale_acts_by_decoder_norm": 1}, "must be True or False"),
        ("topk", {"k": 2, "decoder_init_norm": 0.0}, "decoder_init_norm must be positive or None"),
        ("topk", {"k": 2, "normalize_activations": "layer_norm"}, "must be 'none'"),
        ("topk", {"k": 2, "reshape_activations": "hook_z"}, "must be 'none'"),
        ("topk", {"k": 2, "dtype": "float16"}, "Unknown dtype 'float16'"),
        ("topk", {"k": 2, "d_in": 0}, "d_in must be at least 1, got d_in=0"),
        ("topk", {"k": 2, "d_sae": -3}, "d_sae must be at least 1, got d_sae=-3"),
        ("batchtopk", {"k": 0.0}, "0 < k <= d_sae, got k=0.0"),
        ("batchtopk", {"k": 2, "topk_threshold_lr": 1.5}, "topk_threshold_lr must lie in 0..1"),
        ("standard", {"l1_coefficient": -0.1}, "l1_coefficient must not be negative"),
        ("standard", {"l1_warm_up_steps": -1}, "l1_warm_up_steps must not be negative"),
        ("standard", {"lp_norm": 0.0}, "lp_norm must be positive"),
        ("abs_topk", {"k": 0}, "1 <= k <= d_sae, got k=0, d_sae=16"),
        ("abs_topk", {"k": 2, "aux_loss_coefficient": -1}, "must not be negative"),
        ("gated", {"l1_coefficient": -0.1}, "l1_coefficient must not be negative"),
        ("gated", {"l1_warm_up_steps": -1}, "l1_warm_up_steps must not be negative"),
        ("jumprelu", {"jumprelu_bandwidth": -0.5}, "must be positive, got jumprelu_bandwidth=-0.5"),
        ("jumprelu", {"jumprelu_bandwidth": 0.0}, "jumprelu_bandwidth must be positive"),
        ("jumprelu", {"jumprelu_tanh_scale": 0.0}, "jumprelu_tanh_scale must be positive"),
        ("jumprelu", {"jumprelu_init_threshold": -1}, "jumprelu_init_threshold must not be"),
        ("jumprelu", {"l0_coefficient": -1}, "l0_coefficient must not be negative"),
        ("jumprelu", {"l0_warm_up_steps": -1}, "l0_warm_up_steps must not be negative"),
        ("jumprelu", {"pre_act_loss_coefficient": -1}, "pre_act_loss_coefficient must not be"),
        ("jumprelu", {"jumprelu_sparsity_loss_mode": "stepp"}, "Did you mean 'step'?"),
        ("jumprelu", {"jumprelu_sparsity_loss_mode": "quadratic"}, "got target_l0=None, d_sae=16"),
        (
            "jumprelu",
            {"jumprelu_sparsity_loss_mode": "quadratic", "target_l0": 17},
            "0 < target_l0 <= d_sae with jumprelu_sparsity_loss_mode 'quadratic', got target_l0=17",
        ),
        ("matryoshka", {"k": 2}, "matryoshka_widths must name at least one width"),
        ("matryoshka", {"k": 2, "matryoshka_widths": 4}, "matryoshka_widths must be a sequence"),
        (
            "matryoshka",
            {"k": 2, "matryoshka_widths": [8, 4]},
            "must increase from at least 1 to at most d_sae, got matryoshka_widths=[8, 4], d_sae=1",
        ),
        ("matryoshka", {"k": 2, "matryoshka_widths": [4, 4]}, "must increase"),
        ("matryoshka", {"k": 2, "matryoshka_widths": [0, 4]}, "must increase from at least 1"),
        ("matryoshka", {"k": 2, "matryoshka_widths": [4, 17]}, "to at most d_sae"),
        ("matryoshka", {"k": 0, "matryoshka_widths": [4]}, "0 < k <= d_sae, got k=0"),
        ("topk", {"k": math.nan}, "k must be a whole number"),
        ("topk", {"k": math.inf}, "k must be a whole number"),
        ("topk", {"k": 10**400}, "k must be a whole number"),
        ("topk", {"k": 2, "aux_loss_coefficient": 1e300}, "aux_loss_coefficient must be at most"),
        (
            "matching_pursuit",
            {"max_iterations": 10**9, "stop_on_duplicate_support": False},
            "max_iterations must be at most 65,536",
        ),
        ("matching_pursuit", {"max_iterations": 0}, "max_iterations must be at least 1 or None"),
        ("matching_pursuit", {"residual_threshold": -1}, "residual_threshold must not be negative"),
        ("matching_pursuit", {"decoder_init_norm": 0.1}, "must be 1 for matching_pursuit, got"),
        ("matching_pursuit", {"decoder_init_norm": None}, "decoder_init_norm must be 1"),
    ],
)
def test_wrong_options_are_named_in_one_line(name, options, message):
    with pytest.raises(ConfigError) as error:
        saes.build(name, **{"d_in": 8, "d_sae": 16, **options})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_wrong_shapes_are_named():
    sae, params = saes.build("topk", d_in=8, d_sae=16, k=2), PARAMS
    with pytest.raises(ConfigError, match=r"x must have shape \(n, 8\), got \(3, 9\)"):
        sae.encode(params, jnp.ones((3, 9)))
    with pytest.raises(ConfigError, match=r"latents must have shape \(n, 16\), got \(16,\)"):
        sae.decode(params, jnp.ones(16))
    with pytest.raises(ConfigError, match=r"dead must have one entry per latent"):
        sae.loss(params, jnp.ones((3, 8)), jnp.zeros(8, bool))


W_DEC = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def foreign_encode(x):
    return jnp.maximum(x @ W_DEC.T, 0)


def foreign_decode(latents):
    return latents @ W_DEC


def test_wrapped_functions_have_the_same_signature_and_bring_directions():
    sae = saes.wrap(foreign_encode, foreign_decode, W_DEC)
    x = jax.random.normal(jax.random.key(0), (4, 3))
    assert (sae.d_in, sae.d_sae) == (3, 5)
    np.testing.assert_array_equal(sae.params.W_dec, W_DEC)
    latents = jax.jit(sae.encode)(sae.params, x)
    np.testing.assert_allclose(latents, foreign_encode(x), rtol=1e-6)
    np.testing.assert_allclose(sae.decode(sae.params, latents), foreign_decode(latents))
    np.testing.assert_array_equal(sae.train_encode(sae.params, x), sae.encode(sae.params, x))
    assert sae.finalize(sae.params) is sae.params
    assert sae == saes.wrap(foreign_encode, foreign_decode, W_DEC)
    assert sae.config()["d_sae"] == 5


def test_wrapped_numpy_functions_are_called_back_from_compiled_code():
    def encode(x):
        assert isinstance(x, np.ndarray)
        return np.maximum(x @ W_DEC.T, 0)

    sae = saes.wrap(encode, lambda z: np.asarray(z) @ W_DEC, W_DEC, host=True)
    x = jax.random.normal(jax.random.key(0), (4, 3))
    x_hat = jax.jit(lambda x: sae.decode(sae.params, sae.encode(sae.params, x)))(x)
    np.testing.assert_allclose(x_hat, foreign_decode(foreign_encode(x)), rtol=1e-5, atol=1e-6)


def test_wrapped_saes_cannot_be_trained_and_check_what_comes_back():
    sae = saes.wrap(foreign_encode, foreign_decode, W_DEC)
    with pytest.raises(ConfigError, match="not initialised or trained"):
        sae.init(jax.random.key(0))
    with pytest.raises(ConfigError, match="not initialised or trained"):
        sae.loss(sae.params, jnp.ones((2, 3)))
    wrong = saes.wrap(lambda x: x, foreign_decode, W_DEC)
    with pytest.raises(ConfigError, match=r"encode must return shape \(2, 5\) by W_dec"):
        wrong.encode(wrong.params, jnp.ones((2, 3)))
    with pytest.raises(ConfigError, match="W_dec must have shape"):
        saes.wrap(foreign_encode, foreign_decode, jnp.ones(3))


@struct.dataclass
class LinearHyper:
    weight: float = 0.5


def test_an_architecture_of_ones_own_is_one_decorator():
    @saes.architecture(
        "linear",
        Explanation(what="Latents without a nonlinearity."),
        options=saes.Options,
        hyper=LinearHyper,
        sparsity="penalty",
        example={},
    )
    def linear(options):
        def encode(params, x, hyper):
            return parts.pre_activations(params, x, options)

        def decode(params, latents):
            return parts.reconstruct(params, latents, options)

        def loss(params, x, dead, hyper, state, key):
            latents = encode(params, x, hyper)
            error = parts.squared_error(decode(params, latents), x)
            terms = {"mse_loss": hyper.weight * error}
            return terms["mse_loss"], {"latents": latents, "state": state, "terms": terms}

        return saes.Rules(
            init=lambda key, hyper: parts.init_params(key, options),
            encode=encode,
            decode=decode,
            train_encode=lambda params, x, hyper, state: encode(params, x, hyper),
            loss=loss,
            init_state=no_state,
            finalize=lambda params, state: params,
        )

    try:
        sae = saes.build("linear", d_in=4, d_sae=6, weight=0.25)
        params = sae.init(jax.random.key(0))
        loss, info = sae.loss(params, jnp.ones((2, 4)))
        assert info["latents"].shape == (2, 6)
        doubled, _ = sae.loss(params, jnp.ones((2, 4)), hyper=LinearHyper(weight=0.5))
        assert doubled == pytest.approx(2 * loss)
    finally:
        saes.architectures.unregister("linear")
