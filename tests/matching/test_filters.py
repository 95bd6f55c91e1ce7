"""Filters by their definitions, their log, and whole pipelines run again under nulls."""

import jax
import numpy as np
import pytest
from scipy.stats import hypergeom

from synthsae_jax import matching
from synthsae_jax.errors import ConfigError
from synthsae_jax.matching import Pipeline, SideInputs
from synthsae_jax.matching.filters import Evidence, filter_latents, filter_pairs, filters
from synthsae_jax.matching.pipeline import null_pairs
from synthsae_jax.matching.records import Matching
from synthsae_jax.registry import explain

N, L, D = 900, 12, 24


@pytest.fixture(scope="module")
def sides():
    """Two SAEs: latents 0..7 of A are 0..7 of B with errors, 8..11 are their own.

    Latent 0 is dense, 1 fires 15 times, 11 is dead, on either side.
    """
    rng = np.random.default_rng(0)
    rates = np.full(L, 0.06)
    rates[0] = 0.5
    common = rng.random((N, L)) < rates

    def side():
        own = rng.random((N, L)) < 0.1
        own[:, 8:] = True
        on = np.where(own, rng.random((N, L)) < rates, common)
        on[:, 1] = False
        on[::60, 1] = True
        on[:, 11] = False
        return (on * rng.uniform(0.5, 1.5, (N, L))).astype(np.float32)

    dictionary = rng.normal(size=(L, D))
    rows = lambda: (dictionary + 0.3 * rng.normal(size=(L, D))).astype(np.float32)
    decoder_b = rows()
    decoder_b[6] *= -1  # decoder and encoder disagree
    return (
        SideInputs(latents=side(), decoder=rows(), encoder=rows()),
        SideInputs(latents=side(), decoder=decoder_b, encoder=rows()),
    )


@pytest.fixture(scope="module")
def evidence(sides):
    s = np.asarray(matching.score("phi", *(side.latents for side in sides)))
    return Evidence(s, *sides)


def every_pair(n=L, width=L):
    row, col = np.divmod(np.arange(n * width), width)
    return Matching(row, col, np.zeros(row.size), np.ones(row.size, bool))


def kept(evidence, name, **options):
    """Which of all pairs one filter keeps, bool [L_a, L_b]."""
    m, (line,) = filter_pairs([(name, options)], evidence, every_pair(*evidence.s.shape))
    valid = np.asarray(m.valid)
    assert line.removed == (~valid).sum()
    np.testing.assert_array_equal(line.a, m.row[~valid])
    np.testing.assert_array_equal(line.b, m.col[~valid])
    return valid.reshape(evidence.s.shape)


def test_filters_of_latents_by_their_definitions(evidence):
    fired = evidence.firings
    for name, options, rule in (
        ("dead", {}, lambda n: n > 0),
        ("min_firings", {}, lambda n: n >= 30),
        ("min_firings", {"at_least": 15}, lambda n: n >= 15),
        ("max_frequency", {}, lambda n: n <= 90),
    ):
        a, b, (line,) = filter_latents([(name, options)], evidence)
        np.testing.assert_array_equal(a, rule(fired[0]))
        np.testing.assert_array_equal(b, rule(fired[1]))
        np.testing.assert_array_equal(line.a, np.flatnonzero(~a))
        np.testing.assert_array_equal(line.b, np.flatnonzero(~b))
        assert line.before == 2 * L
    assert str(line) == "max_frequency: removed 2 of 24 latents"


def test_filters_compose_and_the_log_adds_up(evidence):
    steps = [("dead", {}), ("min_firings", {}), ("threshold", {"at_least": 0.3}), ("margin", {})]
    a, b, of_latents = filter_latents(steps, evidence)
    assert [line.filter for line in of_latents] == ["dead", "min_firings"]
    # the second is not credited with what the first removed
    assert [line.removed for line in of_latents] == [2, 2]
    assert [line.before for line in of_latents] == [24, 22]
    assert a.sum() == b.sum() == 10
    m, of_pairs = filter_pairs(steps, evidence, every_pair())
    assert [line.filter for line in of_pairs] == ["threshold", "margin"]
    assert of_pairs[1].before == of_pairs[0].before - of_pairs[0].removed
    assert np.asarray(m.valid).sum() == of_pairs[1].before - of_pairs[1].removed
    alone = kept(evidence, "threshold", at_least=0.3) & kept(evidence, "margin")
    np.testing.assert_array_equal(np.asarray(m.valid).reshape(L, L), alone)


def test_stop_list_drops_latents_that_are_strongest_on_what_is_listed(evidence, sides):
    labels = np.arange(N) % 40
    stop = (3, 17)
    a, b, _ = filter_latents([("stop_list", {"labels": labels, "stop": stop, "top": 3})], evidence)
    for keep, side in zip((a, b), sides):
        for i, strength in enumerate(np.asarray(side.latents).T):
            top = sorted(np.flatnonzero(strength), key=lambda t, v=strength: -v[t])[:3]
            assert keep[i] == (not set(labels[top]) & set(stop))
    assert 0 < (~a).sum() < L
    with pytest.raises(ConfigError, match="needs labels"):
        filter_latents([("stop_list", {})], evidence)
    with pytest.raises(ConfigError, match=r"labels must be \[900\]"):
        filter_latents([("stop_list", {"labels": labels[1:]})], evidence)


def test_margin_and_reciprocity_look_both_ways(evidence):
    s = np.where(np.isnan(evidence.s), -np.inf, evidence.s)
    lead = np.full(s.shape, np.nan)
    for i, j in np.ndindex(s.shape):
        rivals = np.concatenate([np.delete(s[i], j), np.delete(s[:, j], i)])
        lead[i, j] = s[i, j] - rivals.max() if np.isfinite(s[i, j]) else -np.inf
    np.testing.assert_array_equal(kept(evidence, "margin", at_least=0.1), lead >= 0.1)
    np.testing.assert_array_equal(kept(evidence, "reciprocity"), lead >= 0)


def test_agreement_of_encoder_and_decoder(evidence, sides):
    found = kept(evidence, "encoder_decoder_agreement")
    a, b = sides
    by_rows = []
    for x, y in ((a.decoder, b.decoder), (a.encoder, b.encoder)):
        m = matching.solve("assignment", matching.score("decoder_cosine", x, y), 0.7)
        by_rows.append(set(zip(m.row[m.valid].tolist(), m.col[m.valid].tolist())))
    assert set(map(tuple, np.argwhere(found).tolist())) == by_rows[0] & by_rows[1]
    # all latents point alike but the one whose decoder is negated; it costs another its partner
    rows = np.argwhere(found)[:, 0]
    assert 6 not in rows
    assert rows.size >= L - 2
    with pytest.raises(ConfigError, match="needs decoder rows"):
        kept(Evidence(evidence.s), "encoder_decoder_agreement")


def test_shared_top_tokens(evidence, sides):
    for labels in (None, np.arange(N) // 50):
        found = kept(evidence, "shared_top_tokens", labels=labels, top=3)
        own = np.arange(N) if labels is None else labels
        tops = [
            [set(own[sorted(np.flatnonzero(v), key=lambda t, v=v: -v[t])[:3]]) for v in x.T]
            for x in (np.asarray(side.latents) for side in sides)
        ]
        expected = [[bool(x & y) for y in tops[1]] for x in tops[0]]
        np.testing.assert_array_equal(found, expected)


def test_null_quantile_is_taken_at_the_pairs_frequency(evidence):
    # a null in which rare pairs reach high scores and common ones do not
    null = {
        "null_scores": np.concatenate([np.linspace(0, 0.9, 100), np.linspace(0, 0.1, 100)]),
        "null_firings": np.repeat([20, 80], 100),
    }
    found = kept(evidence, "null_quantile", **null, bins=2, quantile=0.95)
    rarer = np.minimum(*np.meshgrid(*evidence.firings, indexing="ij"))
    level = np.where(rarer <= 20, np.quantile(null["null_scores"][:100], 0.95), 0.095)
    np.testing.assert_array_equal(found, evidence.s > level)
    with pytest.raises(ConfigError, match="null_scores and null_firings alike"):
        kept(evidence, "null_quantile")


def test_fdr_by_exact_chance(evidence):
    a, b = evidence.firings
    both = np.asarray(evidence.counts.joint)
    p = np.minimum(hypergeom.sf(both - 1, N, a[:, None], b[None, :]) * 11, 1)
    # Benjamini-Hochberg by its definition: the largest k with p_(k) <= k q / m
    order = np.sort(p.ravel())
    passing = np.flatnonzero(order <= 0.05 * np.arange(1, p.size + 1) / p.size)
    np.testing.assert_array_equal(kept(evidence, "fdr"), p <= order[passing.max()])
    shared = np.arange(8)
    assert kept(evidence, "fdr")[shared, shared].all()


def test_fdr_by_rank_among_a_null(evidence):
    null = {"null_scores": np.linspace(-0.1, 0.2, 999), "null_firings": np.full(999, 30)}
    found = kept(evidence, "fdr", **null)
    p = (1 + (null["null_scores"] >= evidence.s[:, :, None]).sum(2)) / 1000
    order = np.sort(p.ravel())
    passing = np.flatnonzero(order <= 0.05 * np.arange(1, p.size + 1) / p.size)
    np.testing.assert_array_equal(found, p <= order[passing.max()])


PIPELINE = Pipeline(
    score="phi",
    solver="assignment",
    threshold=0.1,
    filters=(("min_firings", {}), ("max_frequency", {}), ("reciprocity", {})),
)


def test_a_pipeline_finds_what_its_parts_find(sides, evidence):
    found = PIPELINE.run(*sides)
    assert found.reason is None
    assert [line.filter for line in found.log] == ["min_firings", "max_frequency", "reciprocity"]
    a, b, _ = filter_latents(PIPELINE.filters, evidence)
    m = matching.solve("assignment", evidence.s, 0.1, a, b)
    masked = np.where(a[:, None] & b[None, :], evidence.s, np.nan)
    m, _ = filter_pairs(PIPELINE.filters, Evidence(masked), m)
    for got, expected in zip(jax.tree.leaves(found.matching), jax.tree.leaves(m)):
        np.testing.assert_array_equal(got, expected)
    valid = np.asarray(found.matching.valid)
    # 2..7 are shared and neither rare nor dense
    assert set(range(2, 8)) <= set(np.asarray(found.matching.row)[valid].tolist())


def test_nulls_run_the_whole_pipeline_and_set_its_levels(sides):
    a, b = sides
    keys = [jax.random.key(i) for i in range(4)]
    null = null_pairs(PIPELINE, a, b, "token_shift", keys)
    # threshold and reciprocity are off, filters of latents on: 9 latents are neither rare nor dense
    assert null["null_scores"].size == 4 * 9
    assert null["null_firings"].min() >= 30
    assert (null["null_scores"] < 0.1).any()
    strict = Pipeline("phi", "assignment", None, (*PIPELINE.filters[:2], ("fdr", null)))
    found = strict.run(a, b)
    valid = np.asarray(found.matching.valid)
    rows = np.asarray(found.matching.row)[valid]
    np.testing.assert_array_equal(rows, np.asarray(found.matching.col)[valid])
    shifted = strict.run(a, matching.nulls["token_shift"](jax.random.key(9), b))
    assert np.asarray(shifted.matching.valid).sum() == 0
    assert shifted.reason.startswith("fdr: removed")


@pytest.mark.parametrize(
    "score", ["decoder_cosine", "encoder_cosine", "combined_cosine", "gram_profile"]
)
def test_pipelines_of_directions(sides, score):
    a, b = sides
    # latents are filtered by how they fire, whatever the score reads
    found = Pipeline(score, "mutual_nearest", filters=(("min_firings", {}),)).run(a, b)
    rows = np.asarray(found.matching.row)[np.asarray(found.matching.valid)]
    assert set(rows.tolist()) & {1, 11} == set()
    # without codes a pipeline does as well, but not its filters of firing
    bare = [SideInputs(decoder=side.decoder, encoder=side.encoder) for side in sides]
    assert np.asarray(Pipeline(score, "greedy").run(*bare).matching.valid).any()
    with pytest.raises(ConfigError, match="reads how latents fire"):
        Pipeline(score, filters=(("dead", {}),)).run(*bare)
    with pytest.raises(ConfigError, match="needs"):
        Pipeline(score).run(SideInputs(latents=a.latents), SideInputs(latents=b.latents))


def test_nothing_to_match_is_an_empty_matching_with_a_reason(sides):
    a, b = sides
    dead = SideInputs(latents=np.zeros((N, L), np.float32))
    undefined = SideInputs(latents=np.full((N, L), np.nan, np.float32))
    for pipeline in (Pipeline(), PIPELINE, Pipeline("activation_pearson", "greedy")):
        found = pipeline.run(a, dead)
        assert not np.asarray(found.matching.valid).any()
        assert isinstance(found.reason, str)
        report = matching.match_report(
            found.matching, np.arange(L), np.arange(L), alive_b=np.zeros(L, bool)
        )
        assert np.isnan(report["precision"])
    found = Pipeline("activation_pearson", "greedy").run(a, undefined)
    assert not np.asarray(found.matching.valid).any()
    assert Pipeline("phi", threshold=2.0).run(a, b).reason == (
        "the solver found no pair at the threshold"
    )


def test_choices_are_checked_when_they_are_made():
    with pytest.raises(ConfigError, match="Did you mean 'min_firings'"):
        Pipeline(filters=(("min_firing", {}),))
    with pytest.raises(ConfigError, match="option of filter 'margin'"):
        Pipeline(filters=(("margin", {"by": 1}),))
    with pytest.raises(ConfigError, match="option of solver 'argmax'"):
        Pipeline(solver="argmax", solver_options={"way": 1})
    with pytest.raises(ConfigError, match="option of score 'phi'"):
        Pipeline("phi", score_options={"centred": True})
    with pytest.raises(ConfigError, match="not pre-activations"):
        Pipeline("preactivation_pearson")
    with pytest.raises(ConfigError, match="same samples"):
        Pipeline().run(SideInputs(latents=np.ones((3, 2))), SideInputs(latents=np.ones((4, 2))))


@pytest.mark.parametrize("name", filters.names())
def test_every_filter_is_explained_and_takes_nothing_from_nothing(name, evidence, sides):
    kinds = dict(explain(name))
    assert kinds["filter"].what
    assert kinds["filter"].formula
    needs = {
        "stop_list": {"labels": np.zeros(N, int)},
        "null_quantile": {"null_scores": np.zeros(2), "null_firings": np.ones(2)},
    }
    steps = [(name, needs.get(name, {}))]
    empty = Matching(*(np.zeros(0, int) for _ in range(3)), np.zeros(0, bool))
    m, log = filter_pairs(steps, evidence, empty)
    assert m.valid.size == 0
    assert all(line.removed == 0 for line in log)
    if filters[name].stage == "latents":
        a, b, _ = filter_latents(steps, evidence)
        assert a.shape == b.shape == (L,)
