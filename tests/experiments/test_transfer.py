"""transfer@1: planted rows and weights, and a small real cell with planted transfers."""

import dataclasses
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax import keys, saes, worlds
from synthsae_jax.experiments import transfer
from synthsae_jax.experiments.transfer.claims import CLAIMS, ERRORS, RANK, error, fitted, saving
from synthsae_jax.experiments.transfer.models import (
    BOTH,
    DEALT,
    FEATURES,
    GEOMETRY,
    IDENTICAL,
    NEITHER,
    models_of,
    plain,
)
from synthsae_jax.experiments.transfer.numbers import (
    EV,
    NO_TARGET,
    Goal,
    artefact_numbers,
    goal_numbers,
    goals_of,
    identity_numbers,
    pooled_sd,
    samples_to_target,
    saving_numbers,
)
from synthsae_jax.experiments.transfer.plan import FAST, JOBS, MORE_JOBS, SCALES, SLOW
from synthsae_jax.experiments.transfer.starts import (
    AGAIN,
    DISJOINT,
    KNOWN,
    NONE,
    PROCRUSTES,
    RANDOM,
    SCRATCH,
    carried,
    fit_both,
    known_rotation,
    permuted_rows,
    random_directions,
)
from synthsae_jax.io.rows import key, make_row
from synthsae_jax.matching import PairCounts
from synthsae_jax.suite.claims import judge
from synthsae_jax.suite.design import Design
from synthsae_jax.suite.quantity import Observed

DESIGN: Design = transfer.DESIGN
# the package names its function as the module is called
measuring = importlib.import_module("synthsae_jax.experiments.transfer.measure")
TARGETS = {BOTH: (1, 1), FEATURES: (1, 0), GEOMETRY: (0, 1), DEALT: (0, 1), NEITHER: (0, 0)}


def planted_rows(geometry=0.8, features=0.0, inherits=0.4, zero_shot=True, n_worlds=5):
    """Worlds in which shared geometry, found by shared features, saves; all else saves nothing."""
    rng = np.random.default_rng(0)
    rows = []

    def add(world, target, metric, value, variant="", start="", mode="", rate=1.0, budget=1.0):
        had, rigid = TARGETS[target]
        run = {"factor_start": start, "factor_mode": mode, "factor_rate": rate} if start else {}
        rows.append(
            make_row(
                benchmark=DESIGN.id,
                run_id=f"{target}, {start}, {mode}, {rate}",
                step=round(1000 * budget),
                world_seed=world,
                condition=target,
                metric=metric,
                variant=variant,
                value=value + 1e-3 * rng.random(),
                factor_features=float(had),
                factor_geometry=float(rigid),
                factor_budget=budget,
                **run,
            )
        )

    def saved(target, start):
        had, rigid = TARGETS[target]
        known = start == KNOWN or (start == PROCRUSTES and had)
        return geometry * rigid * known + features * had * (start in (KNOWN, PROCRUSTES))

    for world in range(n_worlds):
        for target in TARGETS:
            add(world, target, "from_scratch", 0.8, EV)
            jobs = (*JOBS, *MORE_JOBS) if target == BOTH else JOBS
            for start, mode, rate in jobs:
                run = {"start": start, "mode": mode, "rate": rate}
                # the slower rate is the better one where there is one
                gain = saved(target, start) - 0.1 * (rate == FAST and start not in (NONE, RANDOM))
                fresh = start in (SCRATCH, AGAIN)
                before = 0.8 * max(gain, 0.01) if zero_shot else 0.8 * rng.random()
                for metric in ("saving", "reached"):
                    for goal in (EV, "f1", "mcc"):
                        add(world, target, metric, 0.0 if fresh else gain, goal, **run)
                for budget in (0.0, 0.1, 1.0):
                    value = before if budget == 0 else 0.7
                    add(world, target, EV, value, budget=budget, **run)
                kept = start == PROCRUSTES
                add(world, target, "identity_kept", 0.9 * kept, **run)
                add(world, target, "shared_artefacts", 0.05 + inherits * kept, **run)
                add(world, target, "declared", 0.5, **run)
    return rows


def verdicts(rows):
    return {r["hypothesis"]: r["verdict"] for r in judge(CLAIMS, rows)}


def test_planted_savings_come_out_as_planted():
    found = verdicts(planted_rows())
    held = {"H4a geometry", "H4a features", "H4a independent", "H4a found", "H4a norms"}
    assert {found[name] for name in held} == {"supported"}
    assert found["H4d"] == found["H4d slow"] == "supported"
    assert found["H4c"] == "refuted"  # .64 before training, .8 from scratch
    assert set(verdicts(planted_rows(n_worlds=3)).values()) == {"undecided"}


def test_other_worlds_refute():
    found = verdicts(planted_rows(geometry=0.0, features=0.5, inherits=0.0, zero_shot=False))
    for name in ("H4a geometry", "H4a features", "H4a independent", "H4d", "H4b"):
        assert found[name] == "refuted", name


def test_the_predictor_is_fitted_by_least_squares_and_judged_by_its_error():
    rows = planted_rows()
    x, y = _points(rows)
    made = fitted(rows)
    slope, intercept = np.polyfit(x, y, 1)
    np.testing.assert_allclose(made["PREDICTOR"], (intercept, slope), atol=1e-8)
    np.testing.assert_allclose(made["CONSTANT"], y.mean())
    off = {name: Observed(rows).estimate(error(name, made[name])).value for name in made}
    guess = np.clip(intercept + slope * x, 0, 1)
    # worlds have equally many transfers
    assert off["PREDICTOR"] == pytest.approx(np.abs(guess - np.clip(y, 0, 1)).mean())
    # the published share is the same everywhere, so that it adds nothing
    assert off["WITH_PUBLISHED"] == pytest.approx(off["PREDICTOR"], abs=1e-3)
    assert not any(Observed([]).estimate(q).known for q in (*ERRORS.values(), RANK))


def _points(rows):
    """What is explained before training, over from scratch, and what is saved: per transfer."""
    before, saved, top = {}, {}, {}
    for r in rows:
        if r["metric"] == "from_scratch":
            top[r["world_seed"], r["condition"]] = r["value"]
        if r.get("factor_mode") != "full" or r["factor_start"] in (SCRATCH, AGAIN):
            continue
        at = r["world_seed"], r["condition"], r["factor_start"]
        if (r["metric"], r["factor_budget"]) == (EV, 0.0):
            before.setdefault(at, []).append(r["value"])
        if (r["metric"], r["variant"]) == ("saving", EV):
            saved.setdefault(at, []).append(r["value"])
    pairs = [(np.mean(v) / top[at[:2]], max(saved[at])) for at, v in before.items()]
    return np.array(pairs).T


def test_the_page_says_what_was_planted():
    made = transfer.PAGE.contents(planted_rows(), claims=CLAIMS)
    assert f"more than half of the samples with {BOTH} (80 % [80, 80]), a tenth" in made.lead
    assert f"at most with {FEATURES} or {GEOMETRY} or dealt geometry alone or neither" in made.lead
    known = f"more than half with {BOTH} or {GEOMETRY} or dealt geometry alone"
    assert f"By the rotation that is known it saves {known}" in made.lead
    assert "90 % [90, 90] of the latents" in made.lead
    assert "45 % [45, 45] of the artefacts" in made.lead
    assert "5 % [5, 5] from scratch" in made.lead
    titles = {s.title: (len(s.tables), len(s.figures)) for s in made.sections}
    assert titles["What is saved"] == (5, 1)
    assert titles["Over the budgets"] == (0, 1)
    # only one target is trained in parts
    (parts, _) = next(s.tables for s in made.sections if s.title == "In parts")
    assert [row[0].split(":")[0] for row in parts.rows] == [BOTH] * 3


def test_samples_to_target_are_read_off_the_logarithm_and_censored():
    at = lambda values, target, **more: samples_to_target(
        (0, 100, 1000), values, target, **{"cost": 0, "least": 10, **more}
    )
    assert at((0.0, 0.5, 1.0), 0.75) == (pytest.approx(100 * 10**0.5), True)
    # from nothing to the first budget, a batch is the least that counts
    assert at((0.0, 1.0, 1.0), 0.5) == (pytest.approx(10 * 10**0.5), True)
    assert at((1.0, 0.0, 0.0), 0.9) == (0, True)
    assert at((1.0, 0.0, 0.0), 0.9, cost=50) == (50, True)
    assert at((0.0, 0.1, 0.2), 0.9, cost=50) == (1050, False)
    assert at((np.nan,) * 3, 0.1) == (1000, False)


def test_without_a_run_from_scratch_nothing_is_saved_or_reached():
    curve = np.array([[0.2, 0.8], [np.nan, np.nan]])
    curves = dict.fromkeys(("explained_variance", "f1", "mcc"), curve)
    goals = goals_of((100, 1000), curves, dict.fromkeys(curves, 0.1), 10)
    values = dict.fromkeys(curves, (0.0, 0.9, 0.9))
    numbers = [*saving_numbers((0, 100, 1000), values, goals, 0, 10), *goal_numbers(goals)]
    undefined = [n for n in numbers if n.metric != "seed_sd"]
    assert all(np.isnan(n.value) and n.reason == NO_TARGET for n in undefined)
    # other targets keep theirs
    assert pooled_sd([np.array([1.0, 3.0]), np.array([1.0, np.nan])]) == pytest.approx(2**0.5)
    assert np.isnan(pooled_sd([np.array([1.0, np.nan])]))


def test_savings_count_from_what_scratch_needs():
    curve = np.array([[0.2, 0.8], [0.2, 1.0]])
    curves = {name: curve for name in ("explained_variance", "f1", "mcc")}
    goals = goals_of((100, 1000), curves, dict.fromkeys(curves, 0.35), 10)
    goal = goals["f1"]
    assert goal == Goal(pytest.approx(0.9), 0.35, pytest.approx(100 * 10**0.5))
    same = {name: (0.0, 0.2, 0.9) for name in curves}
    saved = lambda values, cost: [
        n.value
        for n in saving_numbers((0, 100, 1000), values, goals, cost, 10)
        if n.metric == "saving"
    ]
    assert saved(same, 0) == pytest.approx([0, 0, 0])
    assert saved({name: (0.9, 0.0, 0.0) for name in curves}, 0) == [1, 1, 1]
    assert max(saved({name: (0.0, 0.0, 0.0) for name in curves}, 10)) < 0


def test_identity_counts_what_stays_by_place_and_by_feature():
    source = np.array([0, 1, 2, -1, 3])
    now = np.array([0, 1, 5, 4, -1])
    value = lambda *given: {n.metric: n.value for n in identity_numbers(*given)}
    same = value(source, now, np.arange(6), True, 5)
    assert same["identity_kept"] == same["place_kept"] == 0.5
    assert same["newly_learned"] == same["forgotten"] == pytest.approx(2 / 5)
    # feature 5 has the direction that feature 2 of the source has
    dealt = value(source, now, np.array([0, 1, 5, 3, 4, 2]), False, 5)
    assert dealt["identity_kept"] == 0
    assert dealt["place_kept"] == 0.75
    assert dealt["newly_learned"] == dealt["forgotten"] == pytest.approx(4 / 5)


def test_artefacts_are_shared_where_neither_side_tracks_anything():
    rng = np.random.default_rng(0)
    a = (rng.random((4000, 6)) < 0.1) * 1.0
    b = np.concatenate([a[:, :4], (rng.random((4000, 2)) < 0.1) * 1.0], axis=1)
    counts = PairCounts.init(6, 6).update(jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))
    truth = np.array([[0, 1, -1, -1, -1, -1], [-1] * 6])
    found = {n.metric: n.value for n in artefact_numbers(counts, truth, truth)}
    assert found["shared_artefacts"] == 0.5  # latents 2 and 3 of four artefacts
    assert found["shared_artefacts_least"] == 0.5
    assert found["shared_artefacts_most"] == pytest.approx(4 / 6)
    assert found["declared"] == pytest.approx(4 / 6)


def test_carried_weights_do_in_the_target_what_they_did_in_the_source():
    rng = np.random.default_rng(1)
    sae = saes.build("topk", d_in=8, d_sae=16, k=3)
    raw = sae.init(keys.init_key(0))
    raw = raw.replace(b_enc=raw.b_enc + 0.1, b_dec=jnp.asarray(rng.normal(size=8), jnp.float32))
    turn, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    x = rng.normal(size=(200, 8))
    y = x @ turn + rng.normal(size=8)
    do = lambda params, x: (
        (z := sae.encode(sae.finalize(params), jnp.asarray(x, jnp.float32))),
        sae.decode(sae.finalize(params), z),
    )
    codes, output = do(raw, x)
    for name in ("procrustes", "ridge"):
        maps = fit_both(name, jnp.asarray(x), jnp.asarray(y))
        there, back = do(carried(raw, maps), y)
        # ridge shrinks by a thousandth
        np.testing.assert_allclose(there, codes, atol=1e-5 if name == "procrustes" else 0.05)
        moved = maps.forward.activations(output)
        np.testing.assert_allclose(back, moved, atol=1e-5 if name == "procrustes" else 0.05)
    alone = random_directions(jax.random.key(0), raw)
    for name, axis in (("W_dec", 1), ("W_enc", 0)):
        norms = [np.linalg.norm(np.asarray(getattr(p, name)), axis=axis) for p in (alone, raw)]
        np.testing.assert_allclose(*norms, rtol=1e-5)
    angle = lambda p: np.sum(np.asarray(p.W_enc).T * np.asarray(p.W_dec), axis=1)
    np.testing.assert_allclose(angle(alone), angle(raw), atol=1e-6)
    dealt = permuted_rows(jax.random.key(0), raw)
    rows, before = (np.asarray(p.W_dec) for p in (dealt, raw))
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(before, axis=0))
    assert not np.array_equal(rows, before)


def test_targets_have_in_common_what_they_say():
    preset = worlds.preset("micro")
    world = worlds.init_world(keys.world_key(3), preset.world, seed=3)
    models = models_of(world, preset.instance, tuple(TARGETS), seed=3)
    a = np.asarray(plain(models.family.reference).dictionary)
    gram = a @ a.T
    for i, (target, place) in enumerate(zip(models.targets, models.places, strict=True)):
        has, rigid = TARGETS[target.name]
        assert bool((models.target(i).present == models.family.reference.present).all()) == has
        b = np.asarray(plain(models.target(i)).dictionary)
        alike = np.abs(b @ b.T - gram[np.ix_(place, place)]).max() < 1e-4
        assert alike == rigid
        known = known_rotation(plain(models.family.reference), plain(models.target(i)), place)
        cosine = np.sum(np.asarray(known.forward.decoder_rows(a[place])) * b, axis=1)
        assert (cosine.min() > 0.999) == rigid
        # the control has neither in common with it
        control = models.sources[models.control(target)]
        assert not bool((control.present & models.target(i).present).any())


def small_context(**changes):
    """Two transfers whose outcome is known, from a source that was trained four times as long."""
    scale = dataclasses.replace(
        SCALES["smoke"],
        targets=(IDENTICAL, NEITHER),
        budgets=(0.1, 1.0),
        n_train=19_200,
        n_paired=512,
        n_eval=2_048,
        **changes,
    )
    (context,) = dataclasses.replace(DESIGN, scales={"smoke": scale}).contexts("smoke", "dev")
    longer = scale.train_config(n_samples=4 * scale.n_train)
    return dataclasses.replace(context, world_seed=5, config=longer)


@pytest.fixture(scope="module")
def real():
    return DESIGN.rows(small_context())


def _saved(rows, target, start):
    return Observed(rows).estimate(saving(target, start)).value


def test_a_transfer_between_identical_instances_saves_everything(real):
    assert _saved(real, IDENTICAL, NONE) == _saved(real, IDENTICAL, KNOWN) == 1
    paid = next(
        r["value"]
        for r in real
        if (r["metric"], r["condition"]) == ("samples_from_scratch", IDENTICAL)
    )
    assert _saved(real, IDENTICAL, PROCRUSTES) == pytest.approx(1 - 512 / paid)


def test_a_transfer_between_disjoint_instances_saves_nothing_beyond_its_control(real):
    saved = lambda start: _saved(real, NEITHER, start)
    assert abs(saved(PROCRUSTES) - saved(DISJOINT)) < 0.1
    assert saved(PROCRUSTES) < saved(NONE) + 0.1 < 0.4
    assert saved(RANDOM) < 0.3
    kept = [
        r["value"] for r in real if r["condition"] == NEITHER and r["metric"] == "identity_kept"
    ]
    assert set(kept) == {0.0}


def test_the_real_cell_has_a_row_once(real):
    assert len({key(row) for row in real}) == len(real)
    assert {r["status"] for r in real} == {"ok"}
    assert len(JOBS) == len(MORE_JOBS)  # lines of one program
    slower = {r["learning_rate"] for r in real if r.get("factor_rate") == SLOW}
    np.testing.assert_allclose(list(slower), 3e-3)
    alike = {r["condition"]: r["value"] for r in real if r["metric"] == "gram_correlation"}
    assert alike[IDENTICAL] == pytest.approx(1)
    assert abs(alike[NEITHER]) < 0.1
    maps = {
        (r["condition"], r["variant"]): r["value"] for r in real if r["metric"] == "alignment_ev"
    }
    assert maps[IDENTICAL, PROCRUSTES] > 0.99 > 0.5 > maps[NEITHER, PROCRUSTES]


def test_only_what_rests_on_a_diverged_run_is_lost(monkeypatch):
    context = small_context()
    planned = measuring.lines

    def with_two_lost(scale, models):
        lost = {0: NONE, 1: SCRATCH}  # of each target one
        return [
            dataclasses.replace(
                line,
                jobs=tuple(
                    (start, mode, 1e30 if start == lost[line.number] else rate)
                    for start, mode, rate in line.jobs
                ),
            )
            for line in planned(scale, models)
        ]

    monkeypatch.setattr(measuring, "lines", with_two_lost)
    rows = DESIGN.rows(context)
    of = lambda target, **where: {
        r["status"]
        for r in rows
        if r["condition"] == target and all(r.get(f"factor_{n}") == v for n, v in where.items())
    }
    assert of(IDENTICAL, start=NONE, budget=0.0) == {"ok"}
    assert of(IDENTICAL, start=NONE, budget=1.0) == {"diverged"}
    assert of(IDENTICAL, start=PROCRUSTES) == of(NEITHER, start=AGAIN, budget=0.1) == {"ok"}
    by_name = {
        (r["condition"], r["metric"], r.get("factor_start")): r for r in rows if r["variant"] == EV
    }
    assert by_name[NEITHER, "from_scratch", None]["status"] == "diverged"
    assert by_name[NEITHER, "saving", PROCRUSTES]["reason"] == NO_TARGET
    assert by_name[IDENTICAL, "saving", PROCRUSTES]["value"] > 0.5
    made = transfer.PAGE.contents(rows, claims=CLAIMS)
    assert "Diverged" in [section.title for section in made.sections]
