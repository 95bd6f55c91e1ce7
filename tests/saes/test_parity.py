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


def close(ours, theirs, message: str = "") -> None:
    # float32 sums of up to 20 products in another order: some units of 6e-8 of the largest terms
    scale = max(1.0, np.abs(theirs).max())
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6 * scale, err_msg=message)


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
    names = jax.eval_shape(sae.init, jax.random.key(0))
    params = saes.SAEParams(**{n: v for n, v in weights("weights").items() if getattr(names, n)})
    found = run(params, GOLDEN["x"], GOLDEN["x_new"], GOLDEN[f"{name}/dead"], state)
    return SimpleNamespace(**found)


@pytest.fixture(params=list(CASES))
def case(request):
    return request.param


def test_loss_and_its_terms(case):
    ours = computed(case)
    close(ours.loss, GOLDEN[f"{case}/loss"])
    expected = weights(f"{case}/terms")
    assert set(ours.terms) == set(expected)
    for term, value in expected.items():
        close(ours.terms[term], value, term)


def test_latents_and_reconstructions_of_the_training_rule(case):
    ours = computed(case)
    close(ours.latents, GOLDEN[f"{case}/latents"])
    close(ours.x_hat, GOLDEN[f"{case}/x_hat"])
    expected = GOLDEN[f"{case}/new/train_latents"]
    close(ours.new_train_latents, expected)


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
        close(getattr(ours.final, name), value, name)
    close(ours.new_latents, GOLDEN[f"{case}/new/latents"])
    close(ours.new_x_hat, GOLDEN[f"{case}/new/x_hat"])


@pytest.mark.parametrize("name", [n for n in CASES if f"{n}/threshold" in GOLDEN])
def test_running_threshold(name):
    threshold = computed(name).state.threshold
    np.testing.assert_allclose(threshold, GOLDEN[f"{name}/threshold"], rtol=1e-6)


@pytest.mark.parametrize("name", META["defaults"])
def test_option_names_and_defaults_are_those_of_saelens(name):
    ours = saes.option_defaults(name)
    del ours["d_in"], ours["d_sae"]
    # an empty tuple is written as an empty list
    assert json.loads(json.dumps(ours)) == META["defaults"][name]


def test_the_golden_file_covers_what_it_should():
    covered = {entry["architecture"] for entry in CASES.values()}
    assert covered == set(META["defaults"])
    assert covered == {
        *("standard", "topk", "batchtopk", "matryoshka", "jumprelu", "gated"),
        *("abs_topk", "matching_pursuit"),
    }
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
