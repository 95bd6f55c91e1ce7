"""Protocols on candidates say what the same protocols say on all pairs."""

import jax
import numpy as np
import pytest
from scipy import sparse

from synthsae_jax import matching
from synthsae_jax.match import evidence as match_evidence
from synthsae_jax.match.budget import Plan
from synthsae_jax.match.large import (
    has_large_form,
    large_protocol,
    shared_evidence,
)
from synthsae_jax.match.protocols import result_record
from synthsae_jax.match.shared import SharedEvidence, Wanted
from synthsae_jax.matching import SideInputs
from synthsae_jax.protocols import (
    Context,
    many_points,
    protocol_names,
    protocols,
    run_protocol,
)
from synthsae_jax.protocols.run import run_recipe

N, L, D = 800, 20, 12
KEY = jax.random.key(5)
CONTEXT = Context(level_draws=3)
LARGE = tuple(name for name in protocol_names() if has_large_form(name))


def side(seed, shared=None):
    """20 latents, of which the first 10 are those of `shared` in another order; one is dead.

    Values are multiples of 1/4, so that sums are exact in any order.
    """
    rng = np.random.default_rng(seed)
    codes = (rng.random((N, L)) < 0.08) * rng.integers(2, 7, (N, L)) / 4
    rows = [rng.normal(size=(L, D)) for _ in range(2)]
    if shared is not None:
        own = rng.permutation(L)[:10]
        codes[:, own] = shared.latents[:, :10]
        for mine, theirs in zip(rows, (shared.decoder, shared.encoder)):
            mine[own] = theirs[:10]
    codes[:, L - 1] = 0
    return SideInputs(*(np.asarray(v, np.float32) for v in (codes, *rows)))


@pytest.fixture(scope="module")
def sides():
    a = side(0)
    return a, side(1, a)


def as_csr(s):
    return SideInputs(sparse.csr_matrix(s.latents), s.decoder, s.encoder)


def test_all_protocols_but_the_rotation_have_a_form():
    assert set(protocol_names()) - set(LARGE) <= {"polymorphism2026"}
    assert not has_large_form("polymorphism2026")


@pytest.mark.parametrize("name", LARGE)
def test_numbers_nulls_and_pairs_are_those_of_all_pairs(name, sides):
    recipe = large_protocol(name, SharedEvidence())
    options = {"key": KEY, "draws": 2, "context": CONTEXT}
    whole = run_protocol(name, *sides, **options)
    lean = run_recipe(name, recipe, *(as_csr(s) for s in sides), **options)
    # float32 sums in another order
    assert dict(lean.numbers) == pytest.approx(dict(whole.numbers), abs=2e-5, nan_ok=True)
    assert set(lean.reasons) == set(whole.reasons)
    assert [str(line) for line in lean.log] == [str(line) for line in whole.log] or (
        # two assignments are one filter, which the lean form does not log
        protocols[name].pipeline.filters[0][0] == "encoder_decoder_agreement"
    )
    for one, other in zip(lean.nulls, whole.nulls, strict=True):
        assert one.null == other.null
        assert one.mean == pytest.approx(other.mean, abs=2e-5, nan_ok=True)
        assert one.p == pytest.approx(other.p, nan_ok=True)
    pairs = lambda r: {
        (int(i), int(j)) for i, j, v in zip(r.matching.row, r.matching.col, r.matching.valid) if v
    }
    assert pairs(lean) == pairs(whole)


def test_measures_on_a_part_of_the_pairs_are_noted_where_a_protocol_has_them(sides, monkeypatch):
    monkeypatch.setattr(many_points, "MOST_POINTS", 5)
    notes = {}
    for name in ("lan2024", "mppc2024", "song2025"):
        recipe = large_protocol(name, SharedEvidence())
        options = {"key": KEY, "draws": 0, "context": CONTEXT}
        result = run_recipe(name, recipe, *map(as_csr, sides), **options)
        record = result_record(result, Plan(0), N, "candidates")
        assert record["matched"] > 5
        notes[name] = [note for note in record["notes"] if " on 5 of " in note]
    # mppc and pw_mcc are names of measures too, but here they are read off all pairs
    assert list(map(len, notes.values())) == [1, 0, 0]
    assert notes["lan2024"][0].startswith("rsa: on 5 of ")


def test_protocols_share_what_they_find(sides):
    directions = ("song2025", "stability", "osae2025")
    by_codes = ("mppc2024", "lan2024_fixed", "ours@1")
    shared = shared_evidence((*directions, *by_codes))
    passes = []
    for name in (*directions, *by_codes):
        recipe = large_protocol(name, shared)
        run_recipe(name, recipe, *map(as_csr, sides), key=KEY, draws=2, context=CONTEXT)
        passes.append(shared.passes)
    # cosines of what was observed and of two draws; the second protocol adds those of centred rows
    assert passes[:3] == [3, 6, 6]
    # three kinds of candidates by codes, of as many; two protocols set levels on three more draws
    assert passes[3:] == [15, 24, 24]


def test_one_pass_gives_what_passes_of_their_own_give(sides):
    a, b = (as_csr(s).latents for s in sides)
    asked = [Wanted("activation_pearson", 1, 1), Wanted("hypergeometric_z_plain", 60, 8)]
    asked.append(Wanted("activation_pearson", 60, 1))
    together = SharedEvidence(asked)
    for what in asked:
        found, alone = (m.of_codes(a, b, what) for m in (together, SharedEvidence()))
        for field in ("row", "col", "value", "beyond"):
            np.testing.assert_array_equal(getattr(found, field), getattr(alone, field))
        fired = (a != 0).sum(0).A1[found.row], (b != 0).sum(0).A1[found.col]
        assert found.row.size > 0
        assert min(map(np.min, fired)) >= what.least
    # 64 firings are expected: some latents are left out
    assert np.unique(together.of_codes(a, b, asked[1]).row).size < L - 1
    assert together.passes == 3


@pytest.mark.parametrize(("k", "rows"), [(1, 64), (3, 7), (8, 100), (32, 50)])
def test_candidates_are_the_best_of_every_row_and_column(k, rows):
    rng = np.random.default_rng(k)
    s = rng.normal(size=(100, 331)).astype(np.float32)
    s[rng.random(s.shape) < 0.2] = -np.inf
    s[3] = -np.inf
    blocks = ((i, s[i : i + rows]) for i in range(0, 100, rows))
    found = match_evidence.candidates("s", s.shape, blocks, k)
    by_row = np.argsort(-s, axis=1, kind="stable")[:, :k]
    by_column = np.argsort(-s, axis=0, kind="stable")[:k]
    kept = np.zeros(s.shape, bool)
    np.put_along_axis(kept, by_row, True, axis=1)
    np.put_along_axis(kept, by_column, True, axis=0)
    assert np.array_equal(np.stack([found.row, found.col]), np.nonzero(kept & np.isfinite(s)))
    np.testing.assert_array_equal(found.value, s[found.row, found.col])
    np.testing.assert_array_equal(found.beyond, -np.sort(-s, axis=1)[:, k - 1])


@pytest.mark.parametrize("name", ["activation_pearson", "hypergeometric_z_plain", "jaccard"])
def test_blocks_are_the_scores(name, sides):
    a, b = sides
    whole = np.asarray(matching.score(name, a.latents, b.latents))
    dead = (a.latents == 0).all(0)[:, None] | (b.latents == 0).all(0)[None, :]
    codes = [as_csr(s).latents for s in sides]
    found = np.concatenate([s for _, s in match_evidence.score_blocks(name, *codes, rows=7)])
    assert np.array_equal(np.isneginf(found), dead)
    np.testing.assert_allclose(found[~dead], whole[~dead], atol=2e-5)
