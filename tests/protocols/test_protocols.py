"""Published protocols on planted sides: what they declare, their floors, what they depend on."""

import dataclasses
import math

import jax
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.stats import spearmanr

from synthsae_jax.errors import ConfigError
from synthsae_jax.matching import SideInputs
from synthsae_jax.protocols import Context, protocol_names, protocols, run_protocol
from synthsae_jax.registry import explain

N, L, D = 1200, 24, 40
KEY = jax.random.key(3)
# levels from few draws: 24 latents fire often enough that noise stays far below a true match
LEVEL = 20
SHARES = ("lan2024_fixed", "ours@1", "paulo2025")  # whose number is a declared shared fraction
COSINES = ("song2025", "song2025_absolute", "stability", "osae2025")
CODES_ONLY = ("lan2024", "lan2024_fixed", "mppc2024", "ours@1")
# lan2024 gives a latent of A to the first in B's order; orderedness is about the order
BY_ORDER = ("lan2024", "osae2025")
ALL_BUT_LAN = [name for name in protocol_names() if name != "lan2024"]


def made(seed, rate=0.08):
    """A side of unrelated latents: about 100 firings each, random directions."""
    rng = np.random.default_rng(seed)
    codes = (rng.random((N, L)) < rate) * rng.uniform(0.5, 1.5, (N, L))
    rows = lambda: rng.normal(size=(L, D)).astype(np.float32)
    return SideInputs(latents=codes.astype(np.float32), decoder=rows(), encoder=rows())


def reordered(side, order):
    return SideInputs(side.latents[:, order], side.decoder[order], side.encoder[order])


def context(a, b):
    """Activations that each SAE's own decoder makes of its codes, and what rebuilds them."""

    def onto(rows):
        projection = np.linalg.pinv(rows) @ rows
        return lambda x: x @ projection

    return Context(
        activations=tuple(side.latents @ side.decoder for side in (a, b)),
        reconstruct=tuple(onto(side.decoder) for side in (a, b)),
        level_draws=LEVEL,
    )


@pytest.fixture(scope="module")
def a():
    return made(0)


@pytest.fixture(scope="module")
def half(a):
    """B has half of A's latents in other places; the rest is its own."""
    own = np.arange(L) < L // 2
    other = made(6)
    parts = [
        np.where(own[:, None] if rows else own[None, :], getattr(other, name), getattr(a, name))
        for name, rows in (("latents", False), ("decoder", True), ("encoder", True))
    ]
    return reordered(SideInputs(*parts), np.random.default_rng(9).permutation(L))


@pytest.fixture(scope="module")
def found(a, half):
    """What every protocol says of A against a copy, against half of it, and against another."""
    copy = reordered(a, np.random.default_rng(1).permutation(L))
    others = {"copy": copy, "half": half, "other": made(7)}
    return {
        (name, which): run_protocol(
            name, a, b, key=KEY, draws=4 if name != "lan2024_fixed" else 0, context=context(a, b)
        )
        for name in protocol_names()
        for which, b in others.items()
        if not (name == "lan2024" and which != "copy")
        and not (name == "lan2024_fixed" and which == "copy")
    }


@pytest.mark.parametrize("name", protocol_names())
def test_every_protocol_is_explained_and_says_where_it_is_from(name):
    explanation = dict(explain(name))["protocol"]
    for field in ("what", "formula", "range", "chance", "undefined", "source"):
        assert getattr(explanation, field), field
    # of these the null is another than at first
    turned = (*COSINES, "paulo2025", "polymorphism2026")
    assert protocols[name].version == (2 if name in turned else 1)


def test_all_protocols_asked_for_are_there():
    published = "lan2024 lan2024_fixed paulo2025 song2025 mppc2024 stability osae2025"
    assert {*published.split(), "polymorphism2026", "ours@1"} <= set(protocol_names())
    with pytest.raises(ConfigError, match="Did you mean 'paulo2025'"):
        run_protocol("paulo2024", made(0), made(1), key=KEY)


@pytest.mark.parametrize("name", [n for n in protocol_names() if n != "lan2024_fixed"])
def test_a_copy_in_another_order_is_wholly_shared(name, found):
    result = found[name, "copy"]
    assert result.value == pytest.approx(1, abs=2e-4)
    rows, cols = (np.asarray(v)[np.asarray(result.matching.valid)] for v in pairs(result))
    order = np.random.default_rng(1).permutation(L)
    assert np.array_equal(np.sort(rows), np.arange(L))
    assert np.array_equal(order[cols], rows)


def pairs(result):
    return result.matching.row, result.matching.col


@pytest.mark.parametrize("name", SHARES)
def test_half_shared_is_declared_half_shared(name, found):
    # one pair in twenty may be false
    assert found[name, "half"].value == pytest.approx(0.5, abs=1.01 / L)
    assert found[name, "other"].value <= 1 / L
    if name == "ours@1":
        assert found[name, "half"].numbers["shared_by_assignment"] == pytest.approx(0.5, abs=2 / L)


@pytest.mark.parametrize("name", [*COSINES, "mppc2024", "ours@1", "paulo2025"])
def test_unrelated_sides_are_at_the_protocols_own_floor(name, found):
    result = found[name, "other"]
    floor = result.nulls[0].mean[result.primary]
    # the null's mean of four has an error of its own; a number of 24 latents moves by some .02
    assert result.value == pytest.approx(floor, abs=0.06)
    # and a half shared is half way from there to the top, where the number is a mean
    if name in (*COSINES, "mppc2024"):
        assert found[name, "half"].value == pytest.approx(0.5 + floor / 2, abs=0.06)
    assert found[name, "half"].p() == 1 / 5


@pytest.mark.parametrize("name", ALL_BUT_LAN)
def test_the_order_of_latents_matters_only_where_it_is_meant_to(name, a, half, found):
    rng = np.random.default_rng(2)
    orders = [rng.permutation(L) for _ in range(2)]
    moved = [reordered(side, order) for side, order in zip((a, half), orders)]
    again = run_protocol(name, *moved, key=KEY, draws=0, context=context(*moved))
    before = found[name, "half"]
    if name in BY_ORDER:
        assert dict(again.numbers) != pytest.approx(dict(before.numbers), abs=1e-3, nan_ok=True)
        return
    assert dict(again.numbers) == pytest.approx(dict(before.numbers), abs=2e-4, nan_ok=True)
    row, col = (np.asarray(v)[np.asarray(again.matching.valid)] for v in pairs(again))
    was = {tuple(p) for p in zip(*(np.asarray(v)[before.matching.valid] for v in pairs(before)))}
    assert {(orders[0][i], orders[1][j]) for i, j in zip(row, col)} == was


def test_the_same_key_gives_the_same_and_another_other_draws(a, half, found):
    before = found["ours@1", "half"]
    settings = {"draws": 4, "context": context(a, half)}
    again = run_protocol("ours@1", a, half, key=KEY, **settings)
    assert again.numbers == before.numbers
    assert np.array_equal(again.nulls[0].judged.null, before.nulls[0].judged.null)
    draws = lambda key: run_protocol("mppc2024", a, half, key=key, draws=4).nulls[0].judged.null
    assert np.array_equal(draws(KEY), found["mppc2024", "half"].nulls[0].judged.null)
    assert not np.array_equal(draws(jax.random.key(4)), draws(KEY))


# lan2024 step by step


@pytest.fixture(scope="module")
def messy():
    """Latents of B come in doubles of unlike quality; tokens are labelled."""
    rng = np.random.default_rng(4)
    a = made(11)
    quality = np.repeat([0.9, 0.3], L // 2)
    keep = rng.random((N, L)) < quality
    b = made(12)
    of = np.tile(np.arange(L // 2), 2)
    noise = rng.random((N, L)) < 0.02
    codes = np.where(keep, a.latents[:, of], 0) + noise * b.latents[rng.permutation(N)]
    order = rng.permutation(L)
    b = dataclasses.replace(b, latents=codes[:, order].astype(np.float32))
    labels = np.argmax(a.latents + 1e-3 * rng.random((N, L)), axis=1)
    groups = {"all": tuple(range(L)), "few": (1, 2, 3), "none": (99,)}
    return a, b, Context(labels=labels, stop=(0, 5), groups=groups)


def published_pairs(a, b, labels, stop):
    """The published steps one after the other: best, concepts, first come, r above .1."""
    n = len(a.latents)
    scaled = [np.asarray(s.latents, float) - s.latents.mean(0) for s in (a, b)]
    scaled = [z / np.where(z.std(0, ddof=1) > 0, z.std(0, ddof=1), np.inf) for z in scaled]
    r = scaled[0].T @ scaled[1] / n
    tops = [np.argsort(-s.latents, axis=0, kind="stable")[:5].T for s in (a, b)]
    kept, taken = [], set()
    for j in range(L):
        i = int(r[:, j].argmax())
        of_i, of_j = ({int(labels[t]) for t in top[k]} for top, k in zip(tops, (i, j)))
        if (of_i | of_j) & set(stop) or not of_i & of_j or i in taken:
            continue
        taken.add(i)
        if r[i, j] > 0.1:
            kept.append((i, j))
    return kept


def rank1(X, Y):
    """|Pearson r| of the first principal components' scores."""
    first = [np.linalg.svd(v - v.mean(0), full_matrices=False)[0][:, 0] for v in (X, Y)]
    return abs(first[0] @ first[1])


def rsa(X, Y):
    below = np.tril_indices(len(X), -1)
    return spearmanr(*(1 - np.corrcoef(v.astype(float))[below] for v in (X, Y))).statistic


@pytest.fixture(scope="module")
def lan(messy):
    a, b, with_labels = messy
    return run_protocol("lan2024", a, b, key=KEY, draws=60, context=with_labels)


def test_lan2024_keeps_what_the_published_steps_keep(messy, lan):
    a, b, with_labels = messy
    result = lan
    expected = published_pairs(a, b, with_labels.labels, with_labels.stop)
    assert 5 < len(expected) < L
    row, col = (np.asarray(v)[np.asarray(result.matching.valid)] for v in pairs(result))
    assert sorted(zip(row.tolist(), col.tolist())) == sorted(expected)
    assert [line.filter for line in result.log] == [
        "stop_list_of_pairs",
        "shared_top_tokens",
        "first_come",
        "published_correlation",
    ]
    assert result.log[0].removed
    assert result.log[2].removed
    assert result.numbers["kept"] == len(expected) / L
    X, Y = a.decoder[row], b.decoder[col]
    assert result.value == pytest.approx(rank1(X, Y), abs=1e-3)
    assert result.numbers["rsa"] == pytest.approx(rsa(X, Y), abs=1e-3)
    # one direction of each side: the null is that of a correlation of len(expected) points, whose
    # absolute value has an sd of about .6 / sqrt(n - 1), a mean over 60 draws an eighth of that
    shuffled = result.nulls[0]
    level = math.sqrt(2 / (math.pi * (len(expected) - 1)))
    spread = 0.6 / math.sqrt(len(expected) - 1) / math.sqrt(60)
    assert shuffled.published
    assert shuffled.mean["svcca_rank1"] == pytest.approx(level, abs=4.5 * spread)
    reach = np.sum(shuffled.judged.null[:, 0] >= result.value)
    assert shuffled.p_published["svcca_rank1"] == reach / 60
    assert result.p() == (1 + reach) / 61
    # directions are unrelated, so the paired ones are
    assert result.p() > 0.005


def test_semantic_subspaces_hold_the_pairs_that_are_about_them(messy, lan):
    a, b, with_labels = messy
    result = lan
    about = lambda side, k: (
        set(with_labels.labels[np.argsort(-side.latents[:, k], kind="stable")[:5]]) & {1, 2, 3}
    )
    kept = published_pairs(a, b, with_labels.labels, with_labels.stop)
    inside = [(i, j) for i, j in kept if about(a, i) and about(b, j)]
    assert result.numbers["pairs[few]"] == len(inside)
    assert 0 < len(inside) < len(kept)
    # a subspace of all labels is the whole, and random pairs of the whole are the whole
    for name in ("svcca_rank1", "rsa"):
        assert result.numbers[f"{name}[all]"] == result.numbers[name]
        of_all = result.nulls[2].judged.null[:, result.nulls[2].names.index(f"{name}[all]")]
        assert of_all == pytest.approx(np.full(60, result.numbers[name]), abs=1e-4)
    assert math.isnan(result.numbers["rsa[none]"])
    assert result.reasons["rsa[none]"] == "nothing is matched"
    names = [null.null for null in result.nulls]
    assert names == [
        "partner_shuffle",
        "partner_shuffle within subspaces",
        "random_pairs within subspaces",
    ]
    assert result.p("svcca_rank1[all]") > 0.005


def unlabelled(a, b):
    """What lan2024 finds where tokens have no labels: pairs, and the correlations."""
    pipeline = protocols["lan2024"].pipeline
    steps = [step for step in pipeline.filters if "top" not in step[1]]
    found = dataclasses.replace(pipeline, filters=tuple(steps)).run(a, b)
    valid = np.asarray(found.matching.valid)
    return {tuple(p) for p in np.stack(pairs(found), 1)[valid].tolist()}, found.evidence.s


def test_first_come_takes_the_first_and_not_the_best(messy):
    a, b, _ = messy
    found, r = unlabelled(a, b)
    turned = {(i, L - 1 - j) for i, j in unlabelled(a, reordered(b, np.arange(L)[::-1]))[0]}
    assert len(found) == len({i for i, _ in found})
    assert found != turned
    asked = {i: np.flatnonzero(r.argmax(0) == i) for i in range(L)}
    assert all(j == asked[i].min() for i, j in found)
    assert all(j == asked[i].max() for i, j in turned)
    assert any(r[i, j] < r[i, asked[i]].max() for i, j in found)


def test_few_firings_make_lan2024_keep_what_is_nobodys():
    a, b = made(20, rate=0.006), made(21, rate=0.006)
    found, _ = unlabelled(a, b)
    assert len(found) > 0.3 * L


# the others


def test_song2025_is_the_mean_cosine_of_the_best_assignment(a, half, found):
    rows = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a.decoder, half.decoder)]
    for name, cosine in (
        ("song2025", rows[0] @ rows[1].T),
        ("song2025_absolute", np.abs(rows[0] @ rows[1].T)),
    ):
        expected = cosine[linear_sum_assignment(cosine, maximize=True)].mean()
        assert found[name, "half"].value == pytest.approx(expected, abs=1e-5)
    flipped = dataclasses.replace(half, decoder=-half.decoder)
    result = run_protocol("song2025_absolute", a, flipped, key=KEY, draws=0)
    assert result.value == pytest.approx(found["song2025_absolute", "half"].value, abs=1e-6)
    assert result.numbers["opposed"] >= 0.5


def test_a_common_offset_inflates_stability_and_not_its_centred_form(a):
    rows = lambda side: side.decoder + 3 * np.ones(D, np.float32)
    sides = [dataclasses.replace(side, decoder=rows(side)) for side in (a, made(7))]
    numbers = run_protocol("stability", *sides, key=KEY, draws=0).numbers
    assert numbers["stability"] > 0.85
    assert numbers["stability_centred"] < 0.45


def test_orderedness_is_one_in_order_and_minus_one_in_reverse(a):
    ordered = lambda order: run_protocol("osae2025", a, reordered(a, order), key=KEY, draws=0)
    assert ordered(np.arange(L)).numbers["orderedness"] == pytest.approx(1)
    assert ordered(np.arange(L)[::-1]).numbers["orderedness"] == pytest.approx(-1)


def test_paulo2025_needs_both_sides_to_agree(a):
    turned = np.roll(np.asarray(a.encoder), 1, axis=0)
    b = dataclasses.replace(a, encoder=np.concatenate([a.encoder[:12], turned[12:]]))
    result = run_protocol("paulo2025", a, b, key=KEY, draws=0)
    # latent 11's encoder stands twice in B, latent 23's not at all: one more may lose its partner
    assert result.value == pytest.approx(0.5, abs=1.01 / L)
    dead = dataclasses.replace(a, latents=a.latents * (np.arange(L) >= 6))
    numbers = run_protocol("paulo2025", a, dead, key=KEY, draws=0).numbers
    assert (numbers["shared"], numbers["shared_alive"]) == (1.0, 1.0)


def test_one_rotation_carries_an_sae_over(a):
    turn = np.linalg.qr(np.random.default_rng(8).normal(size=(D, D)))[0].astype(np.float32)
    b = SideInputs(a.latents, a.decoder @ turn, a.encoder @ turn)
    # what A's SAE rebuilds is a subspace, so a wrong rotation misses it
    few = dataclasses.replace(a, decoder=a.decoder * (np.arange(L) < 12)[:, None])
    few_b = dataclasses.replace(b, decoder=b.decoder * (np.arange(L) < 12)[:, None])
    settings = dataclasses.replace(
        context(few, few_b), activations=context(a, b).activations, level_draws=None
    )
    result = run_protocol("polymorphism2026", a, b, key=KEY, draws=4, context=settings)
    assert result.numbers["aligned_ev"] == pytest.approx(result.numbers["ceiling_ev"], abs=0.01)
    assert result.numbers["short_of_ceiling"] == pytest.approx(0, abs=0.01)
    assert result.numbers["raw_ev"] < result.numbers["aligned_ev"] - 0.1
    assert result.numbers["aligned_cosine"] > 0.95
    assert result.nulls[0].mean["aligned_cosine"] < 0.5
    assert result.p() == 1 / 5
    bare = run_protocol(
        "polymorphism2026",
        a,
        b,
        key=KEY,
        draws=0,
        context=Context(activations=settings.activations),
    )
    assert math.isnan(bare.value)
    assert bare.reasons["aligned_ev"] == "needs x -> x_hat of both SAEs"
    assert bare.numbers["aligned_cosine"] > 0.95


def test_ours_runs_both_zeros_where_stand_ins_are_given(a, half):
    zeros = {"disjoint_coupled": (made(30), made(31))}
    b = dataclasses.replace(half, stand_ins=zeros)
    result = run_protocol("ours@1", a, b, key=KEY, draws=4, context=Context(level_draws=LEVEL))
    assert [null.null for null in result.nulls] == ["activity_shift", "disjoint_coupled"]
    assert result.p(null="disjoint_coupled") == 1 / 3  # each stand-in once
    assert "disjoint_independent: not run" in result.notes[0]


def test_a_null_may_be_added_and_judges_the_whole_protocol(a, half):
    result = run_protocol("mppc2024", a, half, key=KEY, draws=2, more_nulls=("random_dictionary",))
    added = result.nulls[-1]
    assert (added.null, added.published) == ("random_dictionary", False)
    # other directions, the same codes
    assert (added.judged.null == list(result.numbers.values())).all()
    with pytest.raises(ConfigError, match="token_shift"):
        run_protocol("mppc2024", a, half, key=KEY, more_nulls=("token_shiftt",))


@pytest.mark.parametrize("name", protocol_names())
def test_what_is_not_given_is_a_reason_and_no_error(name, a):
    result = run_protocol(name, SideInputs(), SideInputs(), key=KEY)
    assert math.isnan(result.value)
    assert math.isnan(result.p())
    assert result.reasons["p"].startswith("needs ")
    assert result.matching is None
    dead = dataclasses.replace(a, latents=0 * a.latents)
    result = run_protocol(name, a, dead, key=KEY, draws=0, context=Context(level_draws=2))
    if name in CODES_ONLY:
        assert math.isnan(result.value)
        assert result.reasons[result.primary]
    assert result.reasons["p"]


def test_spaces_of_unlike_width_and_single_draws(a):
    narrow = dataclasses.replace(a, decoder=a.decoder[:, :-1])
    result = run_protocol("song2025", a, narrow, key=KEY)
    assert "unlike width" in result.reasons["pw_mcc"]
    with pytest.raises(ConfigError, match="more than one draw"):
        run_protocol("song2025", a, a, key=KEY, draws=1)
