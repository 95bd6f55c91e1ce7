"""How many draws two SAEs get is a matter of their sizes, and is said where it is fewer."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from synthsae_jax.match import budget
from synthsae_jax.match.budget import Plan, plan_draws
from synthsae_jax.protocols import protocol_names

NAMES = tuple(name for name in protocol_names() if name != "polymorphism2026")
CODES = ("lan2024_fixed", "mppc2024", "ours@1")
ROWS = ("paulo2025", "song2025", "song2025_absolute", "stability", "osae2025")


def side(width, tokens=300_000, firing=32, dim=768) -> Any:
    """What a plan reads of an SAE: its sizes, and how many latents fire on each token."""
    codes = None
    if tokens:
        codes = SimpleNamespace(shape=(tokens, width), indptr=firing * np.arange(tokens + 1))
    return SimpleNamespace(loaded=SimpleNamespace(d_sae=width, d_in=dim), codes=codes)


def seconds(plans, a, b):
    """What the plans take by the plan's own rates, those that share draws counted once."""
    total = 0.0
    for kind in ("codes", "rows", "pairs"):
        names = [n for n in plans if budget._kind(n) == kind]
        if names:
            first, each = budget._large_seconds(kind, names, a, b)
            total += first + each * plans[names[0]].draws
    return total


def test_what_fits_gets_all_the_draws_and_says_nothing():
    small = side(512, 8192, 8, 64)
    assert plan_draws(NAMES, (), 99, small, small, 8192) == dict.fromkeys(NAMES, Plan(99))
    assert plan_draws(NAMES, NAMES, 0, small, small, 0) == dict.fromkeys(NAMES, Plan(0))


def test_wide_saes_get_fewer_draws_and_the_reason():
    a = side(16_384)
    plans = plan_draws(NAMES, NAMES, 99, a, a, 0)
    assert all(2 <= plan.draws < 99 for plan in plans.values())
    # the number is in the reason, and protocols that share draws have as many
    for names in (CODES, ROWS):
        assert len({plans[n] for n in names}) == 1
        plan = plans[names[0]]
        assert plan.why.startswith(
            f"{plan.draws} of 99 draws: at 16,384 x 16,384 latents and 300,000 tokens each takes"
        )
    assert seconds(plans, a, a) < 1.4 * budget.SECONDS
    # without directions there is more time for codes
    alone = plan_draws(CODES, CODES, 99, a, a, 0)
    assert alone["ours@1"].draws > plans["ours@1"].draws
    # narrower ones get more
    narrow = side(8192)
    more = plan_draws(NAMES, NAMES, 99, narrow, narrow, 0)
    assert all(more[n].draws > plans[n].draws for n in NAMES)


def test_where_two_draws_would_take_all_the_time_there_are_none():
    a = side(131_072, tokens=0)
    plan = plan_draws(ROWS, ROWS, 99, a, a, 0)["song2025"]
    assert plan.draws == 0
    assert plan.why.startswith("0 of 99 draws: at 131,072 x 131,072 latents each takes about")


@pytest.mark.parametrize("name", NAMES)
def test_every_protocol_has_a_plan_with_all_pairs_at_hand(name):
    a = side(2896)
    plan = plan_draws(NAMES, (), 99, a, a, 2048)[name]
    assert 2 <= plan.draws < 99
    each = budget._seconds(name, a, a, 2048)
    assert plan.draws * each <= budget.SECONDS / len(NAMES)
