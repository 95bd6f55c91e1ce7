"""Protocols on candidates say what the same protocols say on all pairs."""

import jax
import numpy as np
import pytest
from scipy import sparse

from synthsae_jax import matching
from synthsae_jax.matching import SideInputs
from synthsae_jax.suite.match import evidence as match_evidence
from synthsae_jax.suite.match.large import (
    has_large_form,
    large_forms,
    large_protocol,
)
from synthsae_jax.suite.protocols import Context, protocol_names, protocols, run_protocol
from synthsae_jax.suite.protocols.run import run_recipe

N, L, D = 800, 20, 12
KEY = jax.random.key(5)
CONTEXT = Context(level_draws=3)


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
    assert set(protocol_names()) - set(large_forms()) <= {"polymorphism2026"}
    assert not has_large_form("polymorphism2026")


@pytest.mark.parametrize("name", large_forms())
def test_numbers_nulls_and_pairs_are_those_of_all_pairs(name, sides):
    recipe = large_protocol(name, {})
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


def test_protocols_share_the_draws_of_directions(sides):
    memory = {}
    sizes = []
    for name in ("song2025", "stability", "osae2025"):
        run_recipe(
            name, large_protocol(name, memory), *(as_csr(s) for s in sides), key=KEY, draws=2
        )
        sizes.append(len(memory))
    # two draws, and the evidence of the observed pair and of each draw
    assert sizes == [5, 5, 5]


@pytest.mark.parametrize("name", ["activation_pearson", "hypergeometric_z_plain", "jaccard"])
def test_blocks_are_the_scores(name, sides):
    a, b = sides
    whole = np.asarray(matching.score(name, a.latents, b.latents))
    dead = (a.latents == 0).all(0)[:, None] | (b.latents == 0).all(0)[None, :]
    codes = [as_csr(s).latents for s in sides]
    found = np.concatenate([s for _, s in match_evidence.score_blocks(name, *codes, rows=7)])
    assert np.array_equal(np.isneginf(found), dead)
    np.testing.assert_allclose(found[~dead], whole[~dead], atol=2e-5)
