"""What the benchmarks train: options and schedules at a target L0."""

import pytest

from synthsae_jax import saes
from synthsae_jax.errors import ConfigError
from synthsae_jax.suite.recipes import matryoshka_widths, recipe, recipe_names
from synthsae_jax.training import Anneal, TrainConfig

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
