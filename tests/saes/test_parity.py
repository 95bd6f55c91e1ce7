"""The same numbers as SAELens, stored by `scripts/make_golden_saes`: losses, gradients, exports."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from synthsae_jax import saes
from synthsae_jax.saes import parts
from synthsae_jax.saes.batchtopk import BatchTopKState

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "saes.npz")
META = json.loads(str(GOLDEN["meta"]))
CASES = META["cases"]

# float32 sums of up to 20 products in another order: a few units of 6e-8 times the terms' size
CLOSE = {"rtol": 2e-5, "atol": 2e-6}


def weights(kind: str) -> dict[str, np.ndarray]:
    return {n.split("/")[-1]: GOLDEN[n] for n in GOLDEN.files if n.startswith(f"{kind}/")}


@functools.cache
def computed(name: str) -> SimpleNamespace:
    """Everything that a case compares, in one compiled program."""
    entry = CASES[name]
    d_in, d_sae = GOLDEN["weights/W_enc"].shape
    sae = saes.build(entry["architecture"], d_in=d_in, d_sae=d_sae, **entry["options"])

    @jax.jit
    def run(params, x, x_new, dead, state):
        grad = jax.value_and_grad(sae.loss, has_aux=True)
        (loss, info), gradient = grad(params, x, dead, state=state)
        final = sae.finalize(params, info["state"])
        latents = sae.encode(final, x_new)
        return {
            "loss": loss,
            "terms": info["terms"],
            "latents": info["latents"],
            "state": info["state"],
            "gradient": gradient,
            "x_hat": sae.decode(params, info["latents"]),
            "new_train_latents": sae.train_encode(params, x_new),
            "final": final,
            "new_latents": latents,
            "new_x_hat": sae.decode(final, latents),
        }

    state = sae.init_state()
    if isinstance(state, BatchTopKState):
        state = BatchTopKState(threshold=np.float32(META["start_threshold"]))
    params = saes.SAEParams(**weights("weights"))
    found = run(params, GOLDEN["x"], GOLDEN["x_new"], GOLDEN[f"{name}/dead"], state)
    return SimpleNamespace(**found)


@pytest.fixture(params=list(CASES))
def case(request):
    return request.param


def test_loss_and_its_terms(case):
    ours = computed(case)
    np.testing.assert_allclose(ours.loss, GOLDEN[f"{case}/loss"], **CLOSE)
    expected = weights(f"{case}/terms")
    assert set(ours.terms) == set(expected)
    for term, value in expected.items():
        np.testing.assert_allclose(ours.terms[term], value, **CLOSE, err_msg=term)


def test_latents_and_reconstructions_of_the_training_rule(case):
    ours = computed(case)
    np.testing.assert_allclose(ours.latents, GOLDEN[f"{case}/latents"], **CLOSE)
    np.testing.assert_allclose(ours.x_hat, GOLDEN[f"{case}/x_hat"], **CLOSE)
    expected = GOLDEN[f"{case}/new/train_latents"]
    np.testing.assert_allclose(ours.new_train_latents, expected, **CLOSE)


def test_gradients_of_every_weight(case):
    ours = computed(case)
    for name, value in weights(f"{case}/gradient").items():
        # gradients reach 50 here, and cancel: compare on the scale of the largest entry
        tolerance = 1e-5 * np.abs(value).max()
        np.testing.assert_allclose(
            getattr(ours.gradient, name), value, rtol=2e-5, atol=tolerance, err_msg=name
        )


def test_exported_weights_and_their_outputs(case):
    ours = computed(case)
    exported = weights(f"{case}/export")
    assert {n for n, v in vars(ours.final).items() if v is not None} == set(exported)
    for name, value in exported.items():
        np.testing.assert_allclose(getattr(ours.final, name), value, **CLOSE, err_msg=name)
    np.testing.assert_allclose(ours.new_latents, GOLDEN[f"{case}/new/latents"], **CLOSE)
    np.testing.assert_allclose(ours.new_x_hat, GOLDEN[f"{case}/new/x_hat"], **CLOSE)


@pytest.mark.parametrize("name", [n for n in CASES if CASES[n]["architecture"] == "batchtopk"])
def test_running_threshold(name):
    threshold = computed(name).state.threshold
    np.testing.assert_allclose(threshold, GOLDEN[f"{name}/threshold"], rtol=1e-6)


def test_the_golden_file_covers_what_it_should():
    covered = {entry["architecture"] for entry in CASES.values()}
    assert covered >= {"standard", "topk", "batchtopk"}
    n_dead = [int(GOLDEN[f"{name}/dead"].sum()) for name in CASES]
    half = GOLDEN["x"].shape[1] // 2
    assert 0 in n_dead
    assert any(0 < n < half for n in n_dead)
    assert any(n > half for n in n_dead)


def test_l1_coefficient_warms_up_on_the_same_steps():
    schedule = GOLDEN["l1_schedule"]
    ours = [parts.warmed_up(0.3, step, 4) for step in range(len(schedule))]
    np.testing.assert_allclose(ours, schedule, rtol=1e-6)
    assert parts.warmed_up(0.3, 0, 0) == pytest.approx(0.3)
