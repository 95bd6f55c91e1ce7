"""What rules say of planted pairs, and of their stated use."""

import numpy as np
import pytest

from synthsae_jax.matching import PairCounts
from synthsae_jax.protocols.rules import PairView, rules
from synthsae_jax.worlds import family


def planted(shared, n=4000, n_latents=12, seed=0):
    """Codes of two SAEs that have their first `shared` latents in common, and decoders alike."""
    rng = np.random.default_rng(seed)
    codes = lambda: rng.random((n, n_latents)) * (rng.random((n, n_latents)) < 0.1)
    rows = lambda: np.linalg.qr(rng.normal(size=(32, 32)))[0][:n_latents]
    a, b, rows_a, rows_b = codes(), codes(), rows(), rows()
    b[:, :shared], rows_b[:shared] = a[:, :shared], rows_a[:shared]
    counts = PairCounts.init(n_latents, n_latents).update(*(v.astype(np.float32) for v in (a, b)))
    turn = np.linalg.qr(rng.normal(size=(32, 32)))[0]
    return PairView(counts, rows_a, rows_b @ turn, rows_b)


@pytest.mark.parametrize("name", rules.names())
@pytest.mark.parametrize("shared", [0, 5, 12])
def test_rules_find_what_is_planted(name, shared):
    if name.endswith("raw"):
        view = planted(shared)
        view = PairView(view.counts, view.W_dec_a, view.W_dec_b_aligned, view.W_dec_b)
    else:
        view = planted(shared)
    found = rules[name].match(view)
    valid = np.asarray(found.valid)
    pairs = set(zip(np.asarray(found.row)[valid].tolist(), np.asarray(found.col)[valid].tolist()))
    assert pairs == {(i, i) for i in range(shared)}


def test_the_raw_rule_sees_nothing_through_a_rotation():
    found = rules["decoder_cosine_0.7_raw"].match(planted(12))
    assert not np.asarray(found.valid).any()


def test_stated_use_follows_the_space():
    raw, aligned = (rules[f"decoder_cosine_0.7_{kind}"] for kind in ("raw", "aligned"))
    assert raw.stated_use(family.IDENTICAL)
    assert not raw.stated_use(family.ROTATED)
    assert aligned.stated_use(family.ROTATED)
    assert not aligned.stated_use(family.INDEPENDENT)
