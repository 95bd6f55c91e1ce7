"""What holds for accelerators without one: programs lower, and float32 products are float32."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from synthsae_jax import saes
from synthsae_jax.training import TrainConfig, fit, layout, train
from synthsae_jax.training.layout import Device

WORLD, A = tiny.world(), tiny.instance(0)
PLATFORMS = ("cuda", "tpu")
LAYOUTS = {"side by side": Device(0.0, in_turn=False), "in turn": Device(1.0, in_turn=True)}
CONFIG = TrainConfig(
    n_samples=6 * tiny.BATCH,
    batch_size=tiny.BATCH,
    lr=3e-3,
    dead_window=2,
    resample_every=3,
    normalize_activations="expected_average_only_in",
)
# a product in StableHLO, with its precision and the types of its operands
PRODUCT = re.compile(r"dot_general .*?precision = \[(\w+), (\w+)\].*?: \(tensor<[^>]*x(\w+)>")


def build(name: str, **options):
    example = saes.architectures[name].example
    return saes.build(name, d_in=tiny.D, d_sae=tiny.L, **{**example, **options})


class Lowered(dict):
    """Every compiled piece of a training that runs by shapes alone: name -> StableHLO."""

    def piece(self, program, like=None):
        """Stands for a piece: lowers it, and returns zeros of its result's shape."""

        def call(*args):
            traced = program.trace(*args)
            lowered = traced.lower(lowering_platforms=PLATFORMS)
            self[program.__name__] = lowered.as_text()
            return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), traced.out_info)

        return call


def lowered(monkeypatch, sae, config=CONFIG, **options) -> Lowered:
    pieces = Lowered()
    for name in ("start", "chunk", "finished", "revived", "estimated_scale"):
        monkeypatch.setattr(fit, name, pieces.piece(getattr(fit, name)))
    train(WORLD, A, sae, config, [0, 1], **options)
    return pieces


def products(text: str) -> list[tuple[str, str]]:
    """(precision, type) of every product."""
    found = PRODUCT.findall(text)
    assert len(found) == text.count("dot_general "), "a product that the expression does not read"
    assert all(left == right for left, right, _ in found)
    return [(left, kind) for left, _, kind in found]


def config_of(name: str) -> TrainConfig:
    fixed = saes.architectures[name].frozen(build(name).options)
    changes = {"resample_every": None} if fixed else {}
    return TrainConfig(**{**vars(CONFIG), **changes})


# accelerators train side by side; in turn the same rules are traced once more
@pytest.mark.parametrize(
    "device", ["side by side", pytest.param("in turn", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", saes.names())
def test_every_program_lowers_and_its_float32_products_are_exact(name, device, monkeypatch):
    monkeypatch.setitem(layout.DEVICES, jax.default_backend(), LAYOUTS[device])
    pieces = lowered(monkeypatch, build(name), config_of(name))
    assert {"start", "chunk", "finished", "estimated_scale"} <= set(pieces)
    assert products(pieces["chunk"])
    for text in pieces.values():
        assert {kind for kind in products(text)} <= {("HIGHEST", "f32")}


@pytest.mark.parametrize(
    ("dtype", "expected"), [("tf32", ("HIGH", "f32")), ("bfloat16", ("DEFAULT", "bf16"))]
)
def test_who_wants_it_faster_gets_it(dtype, expected, monkeypatch):
    monkeypatch.setitem(layout.DEVICES, jax.default_backend(), LAYOUTS["side by side"])
    config = TrainConfig(**{**vars(CONFIG), "dtype": dtype})
    assert expected in products(lowered(monkeypatch, build("topk"), config)["chunk"])


def test_tf32_is_float32_where_there_is_none():
    config = TrainConfig(n_samples=6 * tiny.BATCH, batch_size=tiny.BATCH)
    exact, fast = (
        train(WORLD, A, build("topk"), TrainConfig(**{**vars(config), "dtype": dtype}), [0])
        for dtype in ("float32", "tf32")
    )
    np.testing.assert_array_equal(exact.params.W_dec, fast.params.W_dec)
    assert fast.sae.options.dtype == "tf32"


# those whose products or choices differ most; the others share theirs
@pytest.mark.parametrize("name", ["abs_topk", "gated", "matching_pursuit", "mutual", "standard"])
def test_the_layout_of_accelerators_gives_the_numbers_of_turns(name, monkeypatch):
    config = TrainConfig(
        n_samples=4 * tiny.BATCH, batch_size=tiny.BATCH, lr=3e-3, dead_window=2, history_points=1
    )
    results = []
    for device in LAYOUTS.values():
        monkeypatch.setitem(layout.DEVICES, jax.default_backend(), device)
        results.append(train(WORLD, A, build(name), config, [3, 4], products="dense"))
    together, turns = results
    for ours, theirs in zip(*(jax.tree.leaves(r.params) for r in results), strict=True):
        # float32 sums in another order over four steps of Adam at 3e-3
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
    for key, rows in turns.history.items():
        np.testing.assert_allclose(together.history[key], rows, rtol=1e-4, atol=1e-6, err_msg=key)
