"""engineering@1 on planted rows and planted dictionaries; its plans and smallest real cells."""

import dataclasses

import jax
import numpy as np
import pytest

from synthsae_jax import saes
from synthsae_jax.experiments import contract
from synthsae_jax.experiments.engineering import DESIGN
from synthsae_jax.experiments.engineering.methods import (
    BASELINES,
    BETWEEN,
    DISJOINT,
    INDEPENDENT,
    METHODS,
    POOL,
    RESULTS,
    SHARED,
    WITHIN,
    ZEROS,
)
from synthsae_jax.experiments.engineering.numbers import (
    CODES,
    NEAREST,
    NORMS,
    PW_MCC,
    mutual_nearest,
    subject_of,
)
from synthsae_jax.experiments.engineering.pool import clusters, pooled
from synthsae_jax.experiments.engineering.quantities import (
    apparent,
    net_gain,
    price,
    pseudo,
)
from synthsae_jax.experiments.engineering.training import MODELS
from synthsae_jax.io.rows import make_row
from synthsae_jax.report.crossed import pareto
from synthsae_jax.saes import SAEParams
from synthsae_jax.suite.claims import judge
from synthsae_jax.suite.cost import cost_of
from synthsae_jax.suite.quantity import Observed

SCORED = [name for name, method in RESULTS.items() if method.between]


def planted_rows(pseudo=0.0, true=0.0, precise=0.0, forced=0.0, worse=0.0, n_worlds=5):
    """Worlds in which every method that is no baseline differs from it by what is planted."""
    rng = np.random.default_rng(0)
    rows = []

    def add(world, method, metric, variant, value, group=BETWEEN, condition=""):
        rows.append(
            make_row(
                benchmark=DESIGN.id,
                run_id=f"{method}, {group}, {condition}",
                step=1,
                world_seed=world,
                condition=condition,
                metric=metric,
                variant=variant,
                value=value + 0.001 * rng.random(),
                factor_method=method,
                factor_group=group,
                factor_samples=RESULTS[method].samples,
            )
        )

    for world in range(n_worlds):
        for method in SCORED:
            ours = float(method not in BASELINES)
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
            at = ("declared", NORMS)
            add(world, method, *at, forced, WITHIN, DISJOINT)
            add(world, method, *at, 0.9, WITHIN, INDEPENDENT)
    return rows


def verdicts(rows):
    return {r["hypothesis"]: r["verdict"] for r in judge(DESIGN.claims, rows)}


def of(judged, start):
    return {verdict for name, verdict in judged.items() if name.startswith(start)}


def test_methods_that_only_seem_universal_are_found_out():
    judged = verdicts(planted_rows(pseudo=0.2, forced=0.3, worse=0.05))
    assert of(judged, "H5a") == of(judged, "H5c") == {"supported"}
    assert of(judged, "H5b") == of(judged, "H5d") == of(judged, "H5e") == {"refuted"}


def test_methods_that_find_more_are_not_called_pseudo():
    judged = verdicts(planted_rows(true=0.2, precise=0.2))
    assert of(judged, "H5b") == of(judged, "H5d") == of(judged, "H5e") == {"supported"}
    assert of(judged, "H5a") == of(judged, "H5c") == {"refuted"}
    assert set(verdicts(planted_rows(true=0.2, n_worlds=3)).values()) == {"undecided"}


def test_gains_are_against_as_many_samples_and_less_those_on_zeros():
    of = lambda quantity, rows: Observed(rows).estimate(quantity).value
    rows = planted_rows(pseudo=0.2, n_worlds=1)
    assert of(net_gain(CODES, "matryoshka"), rows) == pytest.approx(0.1, abs=0.003)
    # where one zero was read, that one counts
    rows = [r for r in rows if r["condition"] != ZEROS[1]]
    assert of(net_gain(CODES, "matryoshka"), rows) == pytest.approx(0.1, abs=0.003)
    # a gain in MCC with the features is earned
    rows = planted_rows(pseudo=0.2, worse=-0.15, n_worlds=1)
    assert of(pseudo("matryoshka"), rows) == pytest.approx(0.05, abs=0.003)
    for method in METHODS.values():
        assert METHODS[method.against].samples == method.samples
        assert METHODS[method.against].sae == "batchtopk"


def test_a_price_is_the_worst_of_three_beside_the_baselines_that_ran():
    rows = planted_rows(worse=0.05, n_worlds=1)
    for row in rows:
        if (row["factor_method"], row["metric"]) == ("consistency", "mcc"):
            row["value"] -= 0.1
    paid = Observed(rows).estimate(price("consistency"))
    assert paid.value == pytest.approx(-0.15, abs=0.003)
    few = Observed(r for r in rows if r["factor_method"] in ("batchtopk", "consistency"))
    assert few.estimate(price("consistency")).value == pytest.approx(-0.15, abs=0.003)
    assert not few.estimate(price("consistency")).absent
    lost = Observed(r for r in rows if (r["factor_method"], r["metric"]) != ("consistency", "mcc"))
    assert not lost.estimate(price("consistency")).known
    assert lost.estimate(price("consistency")).reason


def test_the_page_says_what_was_planted():
    rows = planted_rows(pseudo=0.2, true=0.3, forced=0.4)
    made = DESIGN.page.contents(rows, claims=DESIGN.claims)
    assert "30 % [30, 30] of the latents" in made.lead
    assert "by at most 0.20 [0.20, 0.20] in PW-MCC" in made.lead
    assert "40 % [40, 40] by a universal SAE" in made.lead
    assert "five times the samples alone gain 0 %" in made.lead
    by_title = {section.title: section for section in made.sections}
    for title in ("What universality costs", "True and apparent gain"):
        assert len(by_title[title].figures) == 1
    assert "40 %" in str(by_title["Within a group"].tables[1])
    # and of a run with a baseline alone it says so
    alone = [r for r in planted_rows() if r["factor_method"] == "batchtopk"]
    assert "No method has a baseline" in DESIGN.page.contents(alone, claims=DESIGN.claims).lead


def test_the_front_is_what_nothing_beats():
    dots = [(0.1, 0.9), (0.5, 0.5), (0.4, 0.4), (0.9, 0.1), (0.9, 0.05), (0.1, 0.8)]
    best = pareto([{"x": x, "y": y} for x, y in dots])
    assert [(r["x"], r["y"]) for r in best] == [*dots[:2], dots[3]]


def planted_seeds(n_stable=12, n_own=4, n_seeds=3, dim=32):
    """Seeds with some latents in common, in other places and a little turned, and some not."""
    rng = np.random.default_rng(0)
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)
    common = unit(rng.normal(size=(n_stable, dim)))
    seeds, order_of = [], []
    for _ in range(n_seeds):
        single = rng.normal(size=(n_own, dim))
        rows = unit(np.concatenate([common + 0.03 * rng.normal(size=common.shape), single]))
        order = rng.permutation(len(rows))
        order_of.append(np.argsort(order)[:n_stable])
        bias = np.concatenate([np.arange(n_stable), np.full(n_own, -1.0)])[order]
        rows = rows[order].astype(np.float32)
        seeds.append(SAEParams(W_enc=2 * rows.T, b_enc=bias, W_dec=rows, b_dec=np.ones(dim)))
    return common, seeds, order_of


def test_pooling_keeps_what_seeds_have_in_common():
    common, seeds, order_of = planted_seeds()
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
    joined = clusters([seed.W_dec for seed in seeds])
    assert sorted(len(c) for c in joined) == [1] * 12 + [3] * 12
    assert {frozenset(c) for c in joined} >= {
        frozenset((s, int(order_of[s][j])) for s in range(3)) for j in range(12)
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
    sizes = {"d_in": 2 * dim if joint else dim, "d_sae": 2 * width if joint else width, "k": 3}
    sae = saes.build(name, **sizes, **dict(method.numbers), **_nested(name))
    params = sae.finalize(sae.init(jax.random.key(0)), _warm(sae))
    x = np.asarray(jax.random.normal(jax.random.key(1), (32, dim)), np.float32)
    if joint:
        sae, params = saes.member(sae, params, 1)
    subject = subject_of(name, sae, params, None)
    latents, x_hat = subject.reconstruct(subject.run, None, x)
    encoded = sae.encode(params, x)
    assert np.count_nonzero(encoded)
    np.testing.assert_allclose(latents, encoded, atol=1e-6)
    np.testing.assert_allclose(x_hat, sae.decode(params, encoded), atol=1e-6)


def _nested(name):
    return {"matryoshka_widths": (4, 8)} if name == "matryoshka" else {}


def _warm(sae):
    """A state as after some training, where there is a threshold."""
    return jax.tree.map(lambda leaf: leaf + 0.01, sae.init_state())


def test_work_and_pairs_are_counted():
    contexts = {c.arm.name: c for c in DESIGN.contexts("small", "") if c.world_index == 0}
    costs = {name: cost_of(DESIGN.train(context)) for name, context in contexts.items()}
    assert list(costs) == list(METHODS)
    assert costs[f"batchtopk, {POOL + 1} x"].samples == (POOL + 1) * costs["batchtopk"].samples
    # the seeds, and two trainings from what they have in common
    assert costs["pooled"].saes == len(MODELS) * (POOL + 2)
    n_pairs = {name: DESIGN.pairs(context) for name, context in contexts.items()}
    once = 1 + len(ZEROS)
    twice = ("pooled", "consistency", "universal")
    assert n_pairs == {
        name: 0 if name == "crosscoder" else 2 * once if name in twice else once for name in METHODS
    }


def test_the_smallest_cells_score_groups_that_share_nothing():
    baseline, joint = DESIGN.cells("smoke", "dev")
    rows = joint.compute(lambda done, what: None)
    pairs = [r for r in rows if r["metric"] == "true_universality"]
    assert {(r["factor_group"], r["condition"]) for r in pairs} == {
        (group, condition) for group in (BETWEEN, WITHIN) for condition in (SHARED, ZEROS[0])
    }
    for r in pairs:
        apart = r["factor_group"] == BETWEEN
        assert r["same_init"] == r["same_data"] == (not apart)
        assert (r["value"] == 0) == (r["condition"] != SHARED)
    observed = Observed(rows)
    of = lambda quantity: observed.estimate(quantity).value
    chance = next(r["value"] for r in rows if r["variant"] == f"{PW_MCC}/chance")
    assert of(apparent(PW_MCC, "consistency")) > chance + 0.1
    forced = [of(apparent(PW_MCC, "consistency", c, WITHIN)) for c in (SHARED, ZEROS[0])]
    assert forced[0] > forced[1]
    quality = {r["metric"]: r["value"] for r in rows if not r["variant"]}
    assert 0 < quality["f1"] < quality["mcc"] < 1
    keys = {
        (r["run_id"], r["run_id_b"], r["factor_group"], r["condition"], r["metric"], r["variant"])
        for r in rows
    }
    assert len(keys) == len(rows)
    assert baseline.runs == 3


def smallest(*names, **changes):
    """Cells of the named methods with a few steps each, under both zeros."""
    scales = {"smoke": dataclasses.replace(DESIGN.scales["smoke"], arms=names, zeros=ZEROS)}
    design = dataclasses.replace(DESIGN, scales=scales)
    return contract.smallest(design, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in METHODS if n not in ("batchtopk", "consistency")])
def test_every_method_keeps_the_contract(name):
    """The two that run at the smallest scale are held to it with all other experiments."""
    assert contract.faults_of(DESIGN, smallest(name)) == []


@pytest.mark.slow
def test_seeds_that_diverge_and_what_is_pooled_from_them_are_rows():
    (context,) = smallest("pooled", lr=1e30)
    rows = DESIGN.rows(context)
    assert {r["status"] for r in rows} == {"diverged"}
    reported = {r["run_id"] for r in rows} | {r["run_id_b"] for r in rows}
    assert {side.columns["run_id"] for side in context.ledger.sides} <= reported
    # of the seeds themselves nothing but that is known
    assert {r.get("factor_method") for r in rows} == {*METHODS["pooled"].results, None}
