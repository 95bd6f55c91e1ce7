"""What the benchmarks train: options and schedules at a target L0."""

import numpy as np
import pytest
import tiny
from flax import struct

from synthsae_jax import saes
from synthsae_jax.errors import ConfigError
from synthsae_jax.registry import Explanation
from synthsae_jax.saes import parts
from synthsae_jax.saes.records import in_input_units
from synthsae_jax.suite.recipes import matryoshka_widths, recipe, recipe_names
from synthsae_jax.training import Anneal, TrainConfig, train

CONFIG = TrainConfig(n_samples=10_240)


@pytest.mark.parametrize("name", saes.names())
def test_a_recipe_aims_at_the_target(name):
    made = recipe(name, 64, 256, 5.6, CONFIG)
    assert made.sae.name == name
    hyper = made.sae.hyper
    if saes.architectures[name].penalty:
        assert made.config.target_l0 == 5.6
    elif saes.architectures[name].sparsity == "iterations":
        assert made.sae.options.max_iterations == 6
    else:
        whole = saes.architectures[name].sparsity == "k per sample"
        assert hyper.k == pytest.approx(6 if whole else 5.6)
        assert made.config.target_l0 is None


def test_every_penalty_architecture_of_the_field_has_a_recipe():
    assert {"standard", "gated", "jumprelu"} <= set(recipe_names()) <= set(saes.names())


def test_widths_are_those_of_synthsaebench():
    assert matryoshka_widths(4096) == (128, 512, 2048)
    assert matryoshka_widths(256) == (8, 32, 128)
    assert matryoshka_widths(16) == (2, 8)


def test_lista_anneals_k_as_published():
    made = recipe("lista_matryoshka", 768, 4096, 25.0, CONFIG)
    assert made.config.anneal == (Anneal("k", 60.0, steps=9),)
    assert made.sae.hyper.k == 25


def test_ramps_of_the_config_stay():
    own = TrainConfig(n_samples=10_240, anneal=(Anneal("term_tilt", 0.0),))
    made = recipe("lista_matryoshka", 64, 256, 5.6, own)
    assert [ramp.name for ramp in made.config.anneal] == ["term_tilt", "k"]


def test_an_unknown_recipe():
    with pytest.raises(ConfigError, match=r"Unknown sae 'batchtop'. Did you mean 'batchtopk'"):
        recipe("batchtop", 64, 256, 5.6, CONFIG)


@struct.dataclass
class CappedHyper:
    k: float = 1.0
    cap: float = in_input_units(default=3.0)  # no latent is larger


@struct.dataclass
class CappedState:
    largest: float = in_input_units()


def capped(options):
    """A linear SAE whose latents are bounded: a number and a state in the inputs' units."""

    def encode(params, x, hyper):
        return parts.pre_activations(params, x, options).clip(-hyper.cap, hyper.cap)

    def loss(params, x, dead, hyper, state, key):
        latents = encode(params, x, hyper)
        error = parts.squared_error(parts.reconstruct(params, latents, options), x)
        info = {"latents": latents, "state": state, "terms": {"mse_loss": error}}
        return error, info

    return saes.Rules(
        init=lambda key, hyper: parts.init_params(key, options),
        encode=encode,
        decode=lambda params, latents: parts.reconstruct(params, latents, options),
        train_encode=lambda params, x, hyper, state: encode(params, x, hyper),
        loss=loss,
        init_state=lambda: CappedState(np.float32(6.0)),
        finalize=lambda params, state: params,
    )


def test_a_new_architecture_has_a_recipe_and_is_folded_without_another_edit():
    add = saes.architecture(
        "capped",
        Explanation(what="Linear, with bounded latents."),
        options=saes.Options,
        hyper=CappedHyper,
        sparsity="k per batch",
        example={},
    )
    add(capped)
    try:
        config = TrainConfig(
            n_samples=2 * tiny.BATCH,
            batch_size=tiny.BATCH,
            normalize_activations="expected_average_only_in",
        )
        made = recipe("capped", tiny.D, tiny.L, 2.5, config)
        assert made.sae.hyper.k == 2.5
        result = train(tiny.world(), tiny.instance(), made.sae, made.config, [0, 1])
        # inputs were multiplied by the scale while it trained
        scale = float(result.input_scale)
        assert abs(scale - 1) > 0.1
        np.testing.assert_allclose(result.hyper.cap, 2 * [3 / scale], rtol=1e-6)
        np.testing.assert_allclose(result.state.carried.largest, 2 * [6 / scale], rtol=1e-6)
        np.testing.assert_allclose(result.hyper.k, 2 * [2.5])
    finally:
        saes.architectures.unregister("capped")
