"""The calibrated matcher's data and its check on real seeds: small, with answers by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_array, hstack, vstack

from credence import fit as credence_fit
from credence import judge as credence_judge
from credence import left_out as credence_left_out
from credence import pythia as credence_pythia
from credence import rows as credence_rows
from credence import strangers as credence_strangers
from credence import worlds as credence_worlds
from credence.cells import CellData, load_cell, save_cell
from synthsae_jax.matching.credence_laws import Laws, Shrinkage
from synthsae_jax.matching.credence_prior import posterior


def codes(rng, n=8192, latents=6, rate=0.05):
    return csr_array((rng.random((n, latents)) < rate) * rng.uniform(1, 2, (n, latents)))


def small_cell(seed=0, name="toy-dev-0") -> CellData:
    """Five members, one snapshot pair each; member 1 has A's latents in another order."""
    rng = np.random.default_rng(seed)
    own = [[codes(rng), codes(rng)] for _ in range(5)]
    turn = np.array([2, 0, 1, 5, 3, 4])
    own[1] = [csr_array(own[0][s][:, turn]) for s in range(2)]
    truth = np.full((5, 5, 2, 6), -1, np.int32)
    truth[:, 0], truth[:, 1] = np.arange(6), turn
    rows = rng.normal(size=(5, 2, 6, 16)).astype(np.float32)
    rows[1] = rows[0][:, turn]
    pair = [[codes(rng), codes(rng)] for _ in range(2)]
    return CellData(name, "dev", truth, rows, rows, own, pair, pair)


def test_worlds_of_a_split_are_its_own():
    wanted = credence_worlds.places()
    assert len({p.seed for p in wanted}) == len(wanted)
    for split in credence_worlds.SPLITS:
        assert sum(p.split == split for p in wanted) >= 5
    for place in wanted:
        preset = credence_worlds.worlds.preset(place.setting.preset).world
        assert (place.world() == preset) == (place.split != "transport")
        assert place.world().n_features == preset.n_features
    dims = {p.instance().hidden_dim for p in wanted}
    assert dims == {64, 96, 128, 256, 768, 4096}


def test_correlations_of_sparse_codes_are_numpys():
    rng = np.random.default_rng(1)
    a, b = codes(rng), codes(rng, latents=4)
    expected = np.corrcoef(a.toarray().T, b.toarray().T)[:6, 6:]
    np.testing.assert_allclose(credence_rows.pearson(a, b), expected, atol=1e-10)


def test_rows_know_the_same_and_the_best_other():
    scores = np.array([[0.9, 0.4, 0.7], [0.1, 0.2, 0.6], [0.3, 0.8, 0.5]])
    truth_a, truth_b = np.array([[5, -1, 7]]), np.array([[7, 5, 5]])
    rows = credence_rows.rows_of(
        scores,
        truth_a,
        truth_b,
        np.array([10, 20, 2]),
        np.array([9, 8, 7]),
        n_tokens=100,
        dim=4,
        unit="w",
        kind="k",
    )
    # the third latent fires too rarely to be a row
    assert rows.latent.tolist() == [0, 1]
    assert rows.right.tolist() == [[False, False]]
    np.testing.assert_array_equal(rows.same, [[0.7, np.nan]])
    assert rows.other.tolist() == [[0.9, 0.6]]
    assert rows.second.tolist() == [0.7, 0.2]
    assert rows.best_firings.tolist() == [9, 7]
    assert rows.mutual.tolist() == [True, False]


def test_a_cell_survives_its_file_and_gives_rows(tmp_path):
    cell = small_cell()
    save_cell(cell, tmp_path / "cell.npz")
    back = load_cell(tmp_path / "cell.npz")
    np.testing.assert_array_equal(back.truth, cell.truth)
    # activations are kept at half precision
    np.testing.assert_allclose(back.codes[1][0].toarray(), cell.codes[1][0].toarray(), rtol=1e-3)
    rows = credence_rows.cell_rows(back, (8192,))["activation_pearson"]
    same = rows.take(rows.kind == "shared:0-1:11")
    assert same.right.all()
    np.testing.assert_allclose(same.best, 1, atol=1e-6)
    apart = rows.take(np.char.startswith(rows.kind.astype(str), "apart"))
    assert not apart.right.any()


def test_rows_among_strangers_are_those_of_all_candidates_at_once(monkeypatch):
    monkeypatch.setattr(credence_strangers, "_BLOCK", 7)
    cell, rng = small_cell(), np.random.default_rng(7)
    # 18 of 20 live, so that 30 candidates take them again on shifted tokens
    far = codes(rng, latents=20).tolil()
    far[:, [3, 8]] = 0
    far = csr_array(far)
    found = credence_strangers.padded_rows(cell, far, (2, 10, 30), seed=5)
    living = csr_array(far[:, np.flatnonzero(credence_rows.fired(far))])
    again = vstack([living[4096:], living[:4096]])
    strangers = csr_array(hstack([living, again]))
    direction = np.random.default_rng(5).normal(size=(24, 16))
    own, other = cell.codes[0][1], cell.codes[1][1]
    near = credence_rows.form_scores(cell, (0, 1), (1, 1), own, other)
    for form, rows in found.items():
        assert sorted(set(rows.candidates.tolist())) == [10, 30]
        for size in (10, 30):
            here = csr_array(strangers[:, : size - 6])
            together = credence_rows.pearson(own, here)
            cosine = credence_rows.cosine(cell.W_dec[0, 1], direction[: size - 6])
            more = {
                "activation_pearson": together,
                "activation_and_decoder": (together + cosine) / 2,
            }.get(form, cosine)
            nobody = np.full((5, size - 6), -2)
            expected = credence_rows.rows_of(
                np.concatenate([near[form], more], axis=1),
                cell.truth[:, 0, 1],
                np.concatenate([cell.truth[:, 1, 1], nobody], axis=1),
                credence_rows.fired(own),
                np.concatenate([credence_rows.fired(c) for c in (other, here)]),
                n_tokens=8192,
                dim=16,
                unit=cell.name,
                kind=f"among-{size}:0-1:11",
            )
            one = rows.take(rows.candidates == size)
            for field in dataclasses.fields(expected):
                a, b = (getattr(r, field.name) for r in (one, expected))
                if a.dtype.kind == "f":
                    np.testing.assert_allclose(a, b, atol=1e-6, err_msg=field.name)
                else:
                    np.testing.assert_array_equal(a, b, err_msg=field.name)


def test_a_stranger_that_scores_higher_makes_a_row_wrong():
    cell = small_cell()
    # the row's own codes with other directions: ahead by cosine for none, by correlation for all
    cell.codes[1][1] = codes(np.random.default_rng(9))
    found = credence_strangers.padded_rows(cell, cell.codes[0][1], (12,))
    assert not found["activation_pearson"].right.any()
    assert found["activation_pearson"].mutual.all()
    assert found["decoder_cosine"].right.all()


def test_fit_and_evaluate_on_toys():
    parts = [
        credence_rows.cell_rows(small_cell(s, f"toy-{split}-{s}"), (8192,))
        for split in ("dev", "held_out")
        for s in range(2)
    ]
    rows = {f: credence_rows.join([p[f] for p in parts]) for f in ("activation_pearson",)}
    model = credence_fit.fit(rows, {"of": "toys"})
    found = credence_fit.evaluate(model, rows, say=lambda _: None)
    told = found["activation_pearson"]["held_out"]
    # copies against unrelated codes: told apart with hardly an error
    assert told["estimated_prior"]["ece"]["all"] < 0.05
    assert told["true_prior"]["brier"]["all"] < 0.03
    assert told["estimated_prior"]["ece"]["n_worlds"] == 2
    assert told["estimated_prior"]["ece"]["lo"] is None
    assert set(found["activation_pearson"]) == {"dev", "held_out"}


SHRINKAGE = Shrinkage(tell=3.0, pull=0.2, mean=0.2)


def toys_of_two_presets():
    parts = [
        credence_rows.cell_rows(small_cell(s, name), (8192,))
        for s, name in enumerate(("here-a-dev-0", "there-b-dev-0", "there-b-held_out-0"))
    ]
    form = "activation_pearson"
    return form, {form: credence_rows.join([p[form] for p in parts])}


def test_a_preset_left_out_is_judged_by_the_laws_of_others():
    form, rows = toys_of_two_presets()
    model = credence_fit.fit(rows, {"of": "toys"})
    laws, dev = model.laws[form], rows[form].take(rows[form].unit != "there-b-held_out-0")
    found = credence_left_out.credences(
        laws, laws.at(dev.best, dev.context()), dev, SHRINKAGE, True
    )
    for name, other in (("here-a-dev-0", "there-b"), ("there-b-dev-0", "here-a")):
        own = np.array([kind.startswith(other) for kind in laws.kinds])
        tables = {t: getattr(laws, t)[own] for t in ("same", "hazard_some", "hazard_none")}
        kinds = tuple(np.array(laws.kinds)[own].tolist())
        alone = Laws(form, kinds, laws.edges, laws.knots, **tables)
        for members in credence_judge.members_of_pairs(dev):
            if dev.unit[members[0]] == name:
                pair = dev.take(members)
                expected = posterior(
                    alone.at(pair.best, pair.context()), shrinkage=SHRINKAGE
                ).credence
                np.testing.assert_allclose(found[members], expected, rtol=1e-9)


def test_shrinkage_is_what_loses_least_where_a_preset_is_left_out():
    form, rows = toys_of_two_presets()
    plain = credence_fit.fit(rows, {"of": "toys"})
    model, told = credence_left_out.choose_shrinkage(plain, rows, (1.0, 4.0), (0.0, 0.5))
    tried = told[form]["tried"]
    assert len(tried) == 4
    of_chosen = model.laws[form].shrinkage._asdict().items()
    chosen = next(t for t in tried if of_chosen <= t.items())
    both = lambda t: t["log_loss_known"] + t["log_loss_left_out"]
    assert both(chosen) <= min(both(t) for t in tried) + 2e-4  # they are rounded
    dev = rows[form].take(rows[form].unit != "there-b-held_out-0")
    # held-out worlds took no part, and the share is a mean of two worlds as large
    assert told[form]["n"] == len(dev)
    assert chosen["mean"] == pytest.approx(np.isfinite(dev.same[0]).mean(), abs=0.01)
    one = {form: rows[form].take(rows[form].unit == "here-a-dev-0")}
    same, why = credence_left_out.choose_shrinkage(plain, one)
    assert same.laws[form].shrinkage == plain.laws[form].shrinkage
    assert "two presets" in why[form]["reason"]


def test_assignments_of_permuted_seeds_close_every_cycle():
    rng = np.random.default_rng(3)
    base = rng.normal(size=(12, 16))
    rows = np.stack([base[rng.permutation(12)] for _ in range(4)])
    data, shared = credence_pythia.assign(rows, rows)
    found = credence_pythia.measures(data, shared)
    expected = dict.fromkeys(("cycle_consistency", "encoder_decoder_agreement", "shared"), 1.0)
    assert found == {**expected, "never_shared": 0.0}
    own = rng.normal(size=(4, 12, 16))
    strangers = credence_pythia.measures(*credence_pythia.assign(own, rng.normal(size=own.shape)))
    assert strangers["never_shared"] > 0.8
    assert strangers["cycle_consistency"] < 0.4


@pytest.mark.parametrize("setting", credence_worlds.SETTINGS, ids=lambda s: s.name)
def test_settings_keep_early_weights(setting):
    config = setting.config()
    assert len(config.snapshots) == 2
    assert config.snapshots[-1] < config.n_steps
    assert dataclasses.asdict(config)["batch_size"] == setting.batch_size
