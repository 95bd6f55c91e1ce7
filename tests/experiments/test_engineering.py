"""engineering@1 on planted rows and planted dictionaries, and its smallest real cells."""

import jax
import numpy as np
import pytest

from synthsae_jax import saes
from synthsae_jax.experiments.engineering import claims as engineering_claims
from synthsae_jax.experiments.engineering import experiment as engineering
from synthsae_jax.experiments.engineering.claims import SHARED, ZEROS
from synthsae_jax.experiments.engineering.methods import (
    AGAINST,
    BETWEEN,
    METHODS,
    POOL,
    WITHIN,
)
from synthsae_jax.experiments.engineering.numbers import (
    CODES,
    NEAREST,
    PW_MCC,
    mutual_nearest,
    subject_of,
)
from synthsae_jax.experiments.engineering.pool import clusters, pooled
from synthsae_jax.experiments.engineering.training import MODELS
from synthsae_jax.io.rows import make_row
from synthsae_jax.report.engineering_figures import pareto
from synthsae_jax.report.engineering_page import engineering as engineering_page
from synthsae_jax.saes import SAEParams
from synthsae_jax.suite.claims import judge

ALONE = [name for name in AGAINST if name not in ("pooled", "shared init", "crosscoder")]


def planted_rows(pseudo=0.0, true=0.0, precise=0.0, forced=0.0, worse=0.0, n_worlds=5):
    """Worlds in which every method that is no baseline differs from it by what is planted."""
    rng = np.random.default_rng(0)
    rows = []

    def add(world, method, metric, variant, value, group=BETWEEN, condition=""):
        rows.append(
            make_row(
                benchmark=engineering.ID,
                run_id=f"{method}, {group}, {condition}",
                step=1,
                world_seed=world,
                condition=condition,
                metric=metric,
                variant=variant,
                value=value + 0.001 * rng.random(),
                factor_method=method,
                factor_group=group,
                factor_samples=5 if method.startswith("pooled") else 1,
            )
        )

    for world in range(n_worlds):
        for method in ALONE:
            ours = float(AGAINST[method] != method and method != "topk")
            for metric in ("f1", "mcc", "explained_variance"):
                add(world, method, metric, "", 0.7 - worse * ours)
            add(world, method, "tracked", "truth", 0.6 + precise * ours)
            add(world, method, "true_universality", "truth", 0.5 + true * ours, condition=SHARED)
            for score in (PW_MCC, NEAREST, CODES):
                add(world, method, "score", score, 0.6 + pseudo * ours, condition=SHARED)
                for zero in ZEROS:
                    add(world, method, "score", score, 0.2 + pseudo / 2 * ours, condition=zero)
        for method in ("shared init", "consistency"):
            for condition, base in ((SHARED, 0.6), *((zero, 0.2) for zero in ZEROS)):
                for score in (PW_MCC, NEAREST, CODES):
                    add(world, method, "score", score, base + forced, WITHIN, condition)
        for method in ("universal", "crosscoder"):
            at = ("declared", "relative_norms")
            add(world, method, *at, forced, WITHIN, "disjoint")
            add(world, method, *at, 0.9, WITHIN, "independent")
    return rows


def verdicts(rows):
    return {r["hypothesis"]: r["verdict"] for r in judge(engineering_claims.CLAIMS, rows)}


def of(found, start):
    return {verdict for name, verdict in found.items() if name.startswith(start)}


def test_methods_that_only_seem_universal_are_found_out():
    found = verdicts(planted_rows(pseudo=0.2, forced=0.3, worse=0.05))
    assert of(found, "H5a") == of(found, "H5c") == {"supported"}
    assert of(found, "H5b") == of(found, "H5d") == of(found, "H5e") == {"refuted"}


def test_methods_that_find_more_are_not_called_pseudo():
    found = verdicts(planted_rows(true=0.2, precise=0.2))
    assert of(found, "H5b") == of(found, "H5d") == of(found, "H5e") == {"supported"}
    assert of(found, "H5a") == of(found, "H5c") == {"refuted"}
    assert set(verdicts(planted_rows(true=0.2, n_worlds=3)).values()) == {"undecided"}


def test_gains_are_against_as_many_samples_and_less_those_on_zeros():
    rows = planted_rows(pseudo=0.2, n_worlds=1)
    net = engineering_claims.net_gain(rows, "matryoshka", CODES)
    assert net == pytest.approx(0.1, abs=0.003)
    # a gain in MCC with the features is earned
    rows = planted_rows(pseudo=0.2, worse=-0.15, n_worlds=1)
    assert engineering_claims.pseudo(rows, "matryoshka") == pytest.approx(0.05, abs=0.003)
    for method in METHODS.values():
        assert METHODS[method.against].samples == method.samples
        assert METHODS[method.against].sae == "batchtopk"


def test_the_page_says_what_was_planted():
    made = engineering_page(planted_rows(pseudo=0.2, true=0.3, forced=0.4), "page")
    assert "0.30 [0.30, 0.30]" in made.lead
    assert "universal SAE implies an overlap of 0.40" in made.lead
    assert "Matryoshka" in made.lead
    assert len(made.sections[0].figures) == len(made.sections[1].figures) == 1
    assert "0.40" in str(made.sections[3].tables[1])
    # and of a run with a baseline alone it says so
    alone = [r for r in planted_rows() if r["factor_method"] == "batchtopk"]
    assert "none of the methods tried" in engineering_page(alone, "page").lead


def test_the_front_is_what_nothing_beats():
    dots = [(0.1, 0.9), (0.5, 0.5), (0.4, 0.4), (0.9, 0.1), (0.9, 0.05), (0.1, 0.8)]
    best = pareto([{"x": x, "y": y} for x, y in dots])
    assert [(r["x"], r["y"]) for r in best] == [*dots[:2], dots[3]]


def planted_seeds(n_stable=12, n_own=4, n_seeds=3, dim=32):
    """Seeds with some latents in common, in other places and a little turned, and some not."""
    rng = np.random.default_rng(0)
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)
    common = unit(rng.normal(size=(n_stable, dim)))
    seeds, places = [], []
    for _ in range(n_seeds):
        own = rng.normal(size=(n_own, dim))
        rows = unit(np.concatenate([common + 0.03 * rng.normal(size=common.shape), own]))
        order = rng.permutation(len(rows))
        places.append(np.argsort(order)[:n_stable])
        bias = np.concatenate([np.arange(n_stable), np.full(n_own, -1.0)])[order]
        rows = rows[order].astype(np.float32)
        seeds.append(SAEParams(W_enc=2 * rows.T, b_enc=bias, W_dec=rows, b_dec=np.ones(dim)))
    return common, seeds, places


def test_pooling_keeps_what_seeds_have_in_common():
    common, seeds, places = planted_seeds()
    weights, support = pooled(seeds)
    assert weights.W_dec.shape == seeds[0].W_dec.shape
    # the stable ones first, each with all its seeds; then the width is filled with single ones
    assert support.tolist() == [3] * 12 + [1] * 4
    cosine = weights.W_dec[:12] @ common.T
    best = cosine.argmax(1)
    assert sorted(best) == list(range(12))
    assert cosine.max(1).min() > 0.99
    # biases and encoders are averaged within the same clusters
    np.testing.assert_allclose(weights.b_enc[:12], best, atol=1e-6)
    np.testing.assert_allclose(weights.W_enc.T[:12], 2 * weights.W_dec[:12], atol=0.05)
    found = clusters([seed.W_dec for seed in seeds])
    assert sorted(len(c) for c in found) == [1] * 12 + [3] * 12
    assert {frozenset(c) for c in found} >= {
        frozenset((s, int(places[s][j])) for s in range(3)) for j in range(12)
    }


def test_mutual_neighbours_are_counted_among_the_living():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(10, 64))
    b = rng.normal(size=(8, 64))
    b[:4] = 3 * a[:4]
    b[4] = -a[4]  # the other way round is another latent
    alive = np.ones(10, bool)
    assert mutual_nearest(a, b, alive, alive[:8]) == pytest.approx(4 / 8)
    alive_b = np.arange(8) >= 2
    assert mutual_nearest(a, b, alive, alive_b) == pytest.approx(2 / 6)
    assert np.isnan(mutual_nearest(a, b, ~alive, alive_b))


@pytest.mark.parametrize("name", sorted({m.sae for m in METHODS.values()} - {"crosscoder"}))
def test_an_sae_is_read_as_its_own_inference_rule(name):
    """What `subject_of` reads is what the architecture encodes, by two programs for all."""
    method = next(m for m in METHODS.values() if m.sae == name)
    dim, width = 8, 16
    joint = name in ("mutual", "universal")
    given = {"d_in": 2 * dim if joint else dim, "d_sae": 2 * width if joint else width, "k": 3}
    sae = saes.build(name, **given, **dict(method.numbers), **_nested(name))
    params = sae.finalize(sae.init(jax.random.key(0)), _warm(sae))
    x = np.asarray(jax.random.normal(jax.random.key(1), (32, dim)), np.float32)
    if joint:
        sae, params = saes.member(sae, params, 1)
    subject = subject_of(name, sae, params, None)
    latents, x_hat = subject.reconstruct(subject.run, None, x)
    own = sae.encode(params, x)
    assert np.count_nonzero(own)
    np.testing.assert_allclose(latents, own, atol=1e-6)
    np.testing.assert_allclose(x_hat, sae.decode(params, own), atol=1e-6)


def _nested(name):
    return {"matryoshka_widths": (4, 8)} if name == "matryoshka" else {}


def _warm(sae):
    """A state as after some training, where there is a threshold."""
    return jax.tree.map(lambda leaf: leaf + 0.01, sae.init_state())


def test_costs_are_counted():
    cells = {c.name: c for c in engineering.cells("small", "")[: len(METHODS) * 5]}
    assert len(cells) == 5 * len(METHODS)
    plain = cells["world0/batchtopk"]
    more = cells[f"world0/batchtopk, {POOL + 1} x"]
    assert more.samples * more.runs == (POOL + 1) * plain.samples * plain.runs
    # the seeds, and two trainings from what they have in common
    assert cells["world0/pooled"].runs == len(MODELS) * (POOL + 2)


def test_the_smallest_cells_score_groups_that_share_nothing():
    baseline, joint = engineering.cells("smoke", "dev")
    rows = joint.compute(lambda done, what: None)
    pairs = [r for r in rows if r["metric"] == "true_universality"]
    assert {(r["factor_group"], r["condition"]) for r in pairs} == {
        (group, condition)
        for group in (BETWEEN, WITHIN)
        for condition in (SHARED, "disjoint_independent")
    }
    for r in pairs:
        apart = r["factor_group"] == BETWEEN
        assert r["same_init"] == r["same_data"] == (not apart)
        assert (r["value"] == 0) == (r["condition"] != SHARED)
    value = {
        (r["factor_group"], r["condition"], r["variant"]): r["value"]
        for r in rows
        if r["metric"] == "score"
    }
    chance = value[BETWEEN, SHARED, f"{PW_MCC}/chance"]
    assert value[BETWEEN, SHARED, PW_MCC] > chance + 0.1
    assert value[WITHIN, SHARED, PW_MCC] > value[WITHIN, "disjoint_independent", PW_MCC]
    quality = {r["metric"]: r["value"] for r in rows if not r["variant"]}
    assert 0 < quality["f1"] < quality["mcc"] < 1
    keys = {(r["run_id"], r["run_id_b"], r["condition"], r["metric"], r["variant"]) for r in rows}
    assert len(keys) == len(rows)
    assert baseline.runs == 3
