"""realism@1 on planted dictionaries and rows, and what its smallest real cell gives."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from synthsae_jax.experiments import contract
from synthsae_jax.experiments.realism import DESIGN, choice, numbers, page
from synthsae_jax.experiments.realism.claims import CLAIMS
from synthsae_jax.experiments.realism.measure import missed
from synthsae_jax.experiments.realism.quantities import (
    CARRIED,
    UNFITTED,
    agreement,
    mismatch,
    value_at,
)
from synthsae_jax.experiments.realism.setting import ARMS, AS_PUBLISHED, MODELS, SCALES
from synthsae_jax.experiments.realism.targets import (
    FIT,
    JUDGE,
    LEFT_OUT,
    TARGETS,
    TOLERANCE,
    WORST,
    Target,
)
from synthsae_jax.io.rows import make_row
from synthsae_jax.report.blocks import Reader
from synthsae_jax.suite.claims import judge
from synthsae_jax.suite.observation import DIVERGED
from synthsae_jax.suite.quantity import Observed

NEAR, FAR = "a third of the training", "a third, twice k"
EVERY = tuple(model.name for model in MODELS)


def middle(target):
    """A value that agrees with a target."""
    lo, hi = max(target.lo, -1.0), min(target.hi, 1.0)
    return (lo + hi) / 2


def outside(target):
    """A value that does not, by more than its tolerance."""
    return target.hi + 0.25 if math.isfinite(target.hi) else target.lo - 0.25


def planted_rows(judged=1.0, n_worlds=5, best="matryoshka", beyond=(), l1_shares_more=True):
    """NEAR gives all of the fitted half and this share of the judged one; other settings nothing.

    At `AS_PUBLISHED` `best` has the best F1 and the worst EV, and matching pursuit the reverse.
    """
    rows = []

    def add(world, arm, variant, metric, value, condition=""):
        rows.append(
            make_row(
                benchmark=DESIGN.id,
                run_id=f"{arm}, {condition}",
                step=0,
                world_seed=world,
                condition=condition,
                metric=metric,
                variant=variant,
                value=value + 1e-4 * world,
                factor_setting=arm,
            )
        )

    right_of_judged = choice.of_half(JUDGE)[: round(judged * len(choice.of_half(JUDGE)))]
    for world, arm in itertools.product(range(n_worlds), (AS_PUBLISHED, NEAR, FAR)):
        for target in TARGETS:
            right = arm == NEAR and (target.half == FIT or target in right_of_judged)
            right = right and target.name not in beyond
            value = middle(target) if right else outside(target)
            if not l1_shares_more and target.name == "shared, L1":
                value = 0.1
            for condition in EVERY if target.across else ("",):
                add(world, arm, target.variant, target.metric, value, condition)
        names = ("topk", "batchtopk", "standard", "matryoshka", "matching_pursuit")
        for name in names:
            f1 = {best: 0.9, "matching_pursuit": 0.4}.get(name, 0.6)
            ev = {best: 0.7, "matching_pursuit": 0.85, "standard": 0.6}.get(name, 0.75)
            if arm == AS_PUBLISHED:
                rows[:] = [
                    r
                    for r in rows
                    if (r["world_seed"], r["factor_setting"], r["variant"], r["metric"])
                    != (world, arm, name, "explained_variance")
                ]
                add(world, arm, name, "f1", f1)
                add(world, arm, name, "explained_variance", ev)
                add(world, arm, name, "probe_k1", 0.7)
                add(world, arm, name, "probe_k5", 0.8)
        add(world, arm, "supervised", "probe", 0.95)
    return rows


def verdicts(rows):
    return {r["hypothesis"]: r["verdict"] for r in judge(CLAIMS, rows)}


def test_halves_alternate_and_names_differ():
    halves = [t.half for t in TARGETS]
    assert halves == [FIT, JUDGE] * (len(TARGETS) // 2)
    assert len({t.name for t in TARGETS}) == len(TARGETS)
    # one row may not be asked twice under one number
    assert len({(t.metric, t.variant) for t in TARGETS}) == len(TARGETS)
    assert all(t.lo <= t.hi for t in TARGETS)
    assert len(LEFT_OUT) > 0


def test_agreement_and_distance():
    level = Target("level", "0.4", 0.4, 0.4, "", "m", "v", TOLERANCE)
    assert level.agrees(0.35)
    assert not level.agrees(0.52)
    assert level.distance(0.4) == 0
    assert level.distance(0.35) == pytest.approx(0.5)
    assert level.distance(5.0) == level.distance(math.nan) == WORST
    # however far a value is: nearer than none
    assert level.outside(5.0) == pytest.approx(4.6)
    assert level.outside(math.nan) == math.inf
    assert not level.agrees(math.nan)
    sign = next(t for t in TARGETS if t.name == "wider shares less")
    assert sign.agrees(0.01)
    assert not sign.agrees(0.0)
    for target in TARGETS:
        assert target.agrees(middle(target))
        assert not target.agrees(outside(target))


def planted_seeds(n_seeds, width, dim, shared):
    """Dictionaries with the first `shared` rows in common, in an order of their own."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(shared, dim))
    found = []
    for _ in range(n_seeds):
        own = rng.normal(size=(width - shared, dim))
        found.append(rng.permutation(np.concatenate([common, own])))
    return found


def test_seeds_that_share_a_part():
    seeds = planted_seeds(4, 40, 256, 30)
    found = numbers.seed_numbers(seeds, seeds, np.arange(40))
    # in 256 dimensions unrelated rows have no cosine near .7
    assert found["shared"] == pytest.approx(0.75)
    assert found["never_matched"] == pytest.approx(0.25)
    assert found["agreement"] == found["agreed"] == 1  # encoder and decoder are the same here
    assert 0.75 <= found["cycles"] <= 0.85
    assert found["pw_mcc"] == pytest.approx(0.75 + 0.25 * 0.08, abs=0.03)
    assert found["valley"] > 0.3
    alike = numbers.seed_numbers(seeds[:1] * 3, seeds[:1] * 3, np.arange(40))
    assert alike["shared"] == alike["cycles"] == alike["closed"] == pytest.approx(1)
    assert alike["never_matched"] == alike["valley"] == 0
    # by decoder alone nothing is shared
    other = planted_seeds(4, 40, 256, 0)
    crossed = numbers.seed_numbers(seeds, other, np.arange(40))
    assert crossed["shared"] == 0
    assert crossed["never_matched"] == 1


def test_pairs_and_single_dictionaries():
    one, other = planted_seeds(2, 40, 256, 20)
    found = numbers.pair_numbers([one, other], [None, None])
    assert math.isnan(found["shared"])
    assert found["pw_mcc"] == pytest.approx(0.5 + 0.5 * 0.09, abs=0.04)
    assert numbers.pair_numbers([one, other], [one, other])["shared"] == pytest.approx(0.5)
    assert numbers.novel(other, one) == pytest.approx(0.5)
    # a feature is found up to its sign
    assert numbers.recovered(-one, other) == pytest.approx(0.5)
    to = numbers.assigned(one, one[::-1])
    np.testing.assert_array_equal(to.to, np.arange(40)[::-1])


def test_rates_part_the_living():
    seeds = planted_seeds(3, 50, 256, 25)
    alone = np.array(
        [np.isin(np.round(row[0], 9), np.round(seeds[1][:, 0], 9)) for row in seeds[0]]
    )
    fired = np.where(alone, 1000, 10) + np.arange(50)
    fired[np.flatnonzero(~alone)[0]] = 0
    found = numbers.seed_numbers(seeds, seeds, fired)
    assert found["pw_mcc_commonest"] == pytest.approx(1)
    assert found["pw_mcc_rarest"] < 0.3


def test_a_valley_takes_two_modes():
    rng = np.random.default_rng(0)
    one = np.clip(rng.normal(0.6, 0.1, 5000), 0, 1)
    two = np.concatenate([one - 0.4, np.clip(one + 0.3, 0, 1)])
    # of one mode only noise is left: a smoothed bin has a standard error of about .03
    assert numbers.valley(one) < 0.1
    assert numbers.valley(two) > 0.5


def test_best_correlation_leaves_the_dead_out():
    r = np.array([[0.5, np.nan, 0.1], [0.2, np.nan, 0.3]])
    assert numbers.best_correlation(r) == pytest.approx(0.4)
    assert math.isnan(numbers.best_correlation(np.full((2, 2), np.nan)))


def reader_of(rows):
    return Reader(Observed(rows), CLAIMS, {}, "page")


def test_the_setting_is_chosen_by_the_fitted_half_alone():
    for judged in (0.0, 1.0):
        reader = reader_of(planted_rows(judged=judged))
        assert page.settings(reader)[0] == (NEAR, EVERY[0])
        assert reader.estimate(mismatch((NEAR, EVERY[0]))).value < 0.1
        assert reader.estimate(agreement(FIT, (NEAR, EVERY[0]))).value == 1
        assert reader.estimate(agreement(JUDGE, (NEAR, EVERY[0]))).value == judged
        # on the mean over worlds, not world by world
        assert reader.estimate(mismatch((FAR, EVERY[0]))).value > 1
    assert set(CARRIED.over(planted_rows(judged=0.5)).by_unit.values()) == {0.5}
    # of the three settings one gives half of the numbers, but one which all have as published
    assert UNFITTED.over(planted_rows(judged=0.5)).value == pytest.approx(1 / 6, abs=0.05)


def test_a_world_has_no_say_in_its_own_choice():
    rows = planted_rows()
    # in world 0 alone the settings have changed places
    swapped = {NEAR: FAR, FAR: NEAR}
    for row in rows:
        if row["world_seed"] == 0:
            row["factor_setting"] = swapped.get(row["factor_setting"], row["factor_setting"])
    carried = CARRIED.over(rows).by_unit
    assert carried[0] == 0
    assert carried[1] == 1


def test_a_setting_is_chosen_among_those_that_all_worlds_have():
    rows = [r for r in planted_rows() if (r["world_seed"], r["factor_setting"]) != (1, NEAR)]
    assert set(CARRIED.over(rows).by_unit) == set(range(5))
    assert NEAR not in {arm for arm, _ in page.settings(reader_of(rows))}


def test_what_carries_is_supported_and_what_does_not_is_refuted():
    found = verdicts(planted_rows())
    assert found["carries"] == found["fitting helps"] == "supported"
    assert found["both orders"] == "supported"
    assert found["beyond reach"] == "refuted"
    assert found["Matryoshka"] == found["matching pursuit"] == found["probing"] == "supported"
    lost = [t.name for t in TARGETS[:4]]
    found = verdicts(planted_rows(judged=0.0, beyond=lost, l1_shares_more=False))
    assert found["carries"] == found["fitting helps"] == found["both orders"] == "refuted"
    assert found["beyond reach"] == "supported"
    other = verdicts(planted_rows(best="batchtopk"))
    assert other["Matryoshka"] == "refuted"
    assert set(verdicts(planted_rows(n_worlds=3)).values()) == {"undecided"}


def test_the_page_says_what_was_planted():
    lost = TARGETS[2].name
    made = DESIGN.page.contents(planted_rows(judged=0.5, beyond=(lost,)), claims=CLAIMS)
    assert f"“{NEAR}; second model: {EVERY[0]}”" in made.lead
    assert "the choice gives 50 % [50, 50] of these, more than a setting at random" in made.lead
    assert "behind in explained variance by 0.050 or more" in made.lead
    titles = [section.title for section in made.sections]
    assert titles[0] == "Published beside simulated"
    assert len(made.sections[0].figures) == 1
    unreached = made.sections[titles.index("Beyond reach")].tables[0]
    assert lost in [row[0] for row in unreached.rows]
    # half of the judged numbers but the EV, which TopK has as published, and one that was fitted
    assert len(unreached.rows) == 7
    printed = made.sections[titles.index("The numbers")].tables[0]
    assert [row[0] for row in printed.rows] == [t.name for t in TARGETS]


def test_settings_are_in_the_spec_and_verdicts_are_judged():
    for cell in DESIGN.cells("small", "dev"):
        assert len(cell.spec["arm"]["targets"]) == len(TARGETS)
    # the verdicts are judged at a setting of every scale that has claims to judge
    judged = [arm.name for arm in ARMS if arm.verdicts]
    assert AS_PUBLISHED in judged
    for name in ("small", "standard", "full"):
        assert AS_PUBLISHED in [arm.name for arm in DESIGN.arms_of(SCALES[name])]


@pytest.fixture(scope="module")
def context():
    (context,) = DESIGN.contexts("smoke", "dev")
    return context


@pytest.fixture(scope="module")
def rows(context):
    """The smallest real cell."""
    return DESIGN.rows(context)


def test_the_smallest_cell_gives_what_is_asked(rows):
    keys = [(r["run_id"], r["condition"], r["metric"], r["variant"]) for r in rows]
    assert len(set(keys)) == len(keys)
    observed = Observed(rows)
    trained = ("standard", "batchtopk")  # the smoke scale leaves these out
    for target, model in itertools.product(TARGETS, EVERY):
        estimate = observed.estimate(value_at(target, (NEAR, model)))
        assert estimate.known == (target.variant not in trained), target
        assert estimate.known or "is trained at this scale" in estimate.reason
    value = {(r["condition"], r["variant"], r["metric"]): r["value"] for r in rows}
    shares = ("shared", "never_matched", "agreement", "cycles", "recovered")
    assert all(0 <= value["", "topk", name] <= 1 for name in shares)
    assert value["", "topk", "shared"] + value["", "topk", "never_matched"] <= 1
    # a rotated model is read as well as by its own SAE, but only after it is turned back
    assert value["", "raw", "ev_across"] < 0.5
    assert abs(value["", "turned", "ev_lost"]) < 0.2
    assert value[EVERY[0], "", "rsa"] > value[EVERY[1], "", "rsa"]


def test_a_diverged_run_costs_the_numbers_that_it_is_part_of(context, monkeypatch):
    train = type(context).train

    def second_seed_diverges(self, name, *args, **options):
        trained = train(self, name, *args, **options)
        if options.get("hyper") is not None:
            trained.result.status[1, 0] = "diverged"
        return trained

    monkeypatch.setattr(type(context), "train", second_seed_diverges)
    fresh = dataclasses.replace(context, ledger=type(context.ledger)())
    lost = {(r["variant"], r["metric"]) for r in DESIGN.rows(fresh) if r["reason"] == DIVERGED}
    of_seeds = {t.metric for t in TARGETS if t.variant == "topk"} - {"explained_variance"}
    assert lost - {("run", "trained")} == {
        *(("topk", metric) for metric in of_seeds),
        *((variant, "shared_lost") for variant in ("twice k", "twice the width")),
        ("an eighth of the training", "shared_lost"),
    }


def test_an_sae_of_another_sparsity_is_no_comparison():
    assert missed(2.4, 4.7) == missed(9.3, 4.7) == ""
    assert missed(2.3, 4.7) == missed(9.5, 4.7) == "its L0 is further than a factor 2 from 4.7"
    assert missed(0.0, 4.7)


@pytest.mark.slow
def test_a_setting_with_verdicts_keeps_the_contract():
    small = dataclasses.replace(SCALES["small"], arms=(AS_PUBLISHED,), n_seeds=4)
    design = dataclasses.replace(DESIGN, scales={**SCALES, "small": small})
    contexts = contract.smallest(design, scale="small", steps=40)
    assert contract.faults_of(design, contexts) == []
