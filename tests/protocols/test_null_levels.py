"""Under its own null a protocol's p is uniform for unrelated SAEs, whatever ties an SAE has."""

import functools

import jax
import numpy as np
import pytest
from scipy.stats import kstest

from synthsae_jax.matching import SideInputs
from synthsae_jax.protocols import Context, protocol_names, protocols, run_protocol

N, L, D = 100, 12, 4
PAIRS, DRAWS = 20, 4
KINDS = ("tied", "untied", "unit", "norms", "offset")


def cases():
    """What reads codes alone knows of no norms or offsets, and takes ten times as long."""
    for name in protocol_names():
        for kind in KINDS:
            if "latents" not in protocols[name].needs:
                yield name, kind, PAIRS
            elif kind in ("tied", "untied", "unit"):
                yield name, kind, 2 * PAIRS if name == "lan2024" else PAIRS // 2


def made(rng, kind):
    """A model with busy and quiet directions, and an SAE of it: activations, side, x -> x_hat."""
    busy = np.geomspace(4.0, 0.3, D)[:, None] * np.linalg.qr(rng.normal(size=(D, D)))[0]
    x = rng.normal(size=(N, D)) @ busy + rng.normal(size=D)
    decoder = rng.normal(size=(L, D)) @ busy
    if kind == "offset":
        decoder += 4 * rng.normal(size=D)
    if kind == "unit":
        decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    encoder = rng.normal(size=(L, D)) if kind == "untied" else decoder
    if kind == "norms":
        decoder, encoder = (np.exp(rng.normal(size=(L, 1))) * rows for rows in (decoder, decoder))
    unit = encoder / np.linalg.norm(encoder, axis=1, keepdims=True)
    codes = np.maximum((x - x.mean(0)) @ unit.T - 1.0, 0)
    # the part of the space that the SAE rebuilds best: its rows' leading directions
    leading = np.linalg.svd(decoder, full_matrices=False)[2][: D // 2]
    mean = x.mean(0, keepdims=True)
    rebuild = lambda v: np.float32((np.asarray(v) - mean) @ leading.T @ leading + mean)
    side = SideInputs(*(np.float32(v) for v in (codes, decoder, encoder)))
    return np.float32(x), side, rebuild


@functools.cache
def unrelated(kind):
    rng = np.random.default_rng(KINDS.index(kind))
    return [(made(rng, kind), made(rng, kind)) for _ in range(2 * PAIRS)]


def p_value(result, rng):
    """p of the protocol's own number under its first null about it, ties broken at random."""
    null = next(n for n in result.nulls if result.primary in n.names)
    draws = null.judged.null[:, null.names.index(result.primary)]
    tied = np.isclose(draws, result.value, rtol=1e-5, atol=1e-6)
    above = (draws > result.value) & ~tied
    return (above.sum() + rng.random() * (1 + tied.sum())) / (1 + len(draws))


@pytest.mark.parametrize(("name", "kind", "pairs"), list(cases()))
def test_p_is_uniform_for_unrelated_saes(name, kind, pairs):
    rng = np.random.default_rng(0)
    p = []
    for i, ((x_a, a, of_a), (x_b, b, of_b)) in enumerate(unrelated(kind)[:pairs]):
        context = Context(activations=(x_a, x_b), reconstruct=(of_a, of_b), level_draws=2)
        result = run_protocol(name, a, b, key=jax.random.key(i), draws=DRAWS, context=context)
        if not np.isnan(result.value):
            p.append(p_value(result, rng))
    # lan2024 keeps too few pairs of most for a number
    assert len(p) > pairs / 8
    assert kstest(p, "uniform").pvalue > 0.001
