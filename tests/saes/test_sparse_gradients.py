"""Gradients of every sparse loss equal the dense ones, whatever the room, k, batch and latents."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax import saes

D = 16
# samples, latents, room: the room fills no block of 1,024 places, several, or a broken number
SHAPES = {"small": (24, 40, 8), "wide room": (128, 64, 32), "wide": (40, 160, 64)}
DEAD = {"nobody": 0, "few": 3, "all": None}
# `x` moves along a direction that every latent reads: far down none is active, far up all are
SAMPLES = {"mixed": (0.0,), "none, some and all active": (-30.0, 0.0, 30.0), "none": (-30.0,)}
# float32 sums of at most 160 products in another order, against the largest gradient of the weight
CLOSE = 1e-5
# bfloat16 has 8 bits, and the gradient of x is a sum of terms that are each rounded to them
CLOSE_BFLOAT16 = 2.0**-7


def sparse_names() -> list[str]:
    """Every registered architecture with a sparse loss."""
    return [name for name in saes.names() if small(name, 40).has_sparse_loss]


def small(name: str, width: int):
    example = dict(saes.architectures[name].example)
    if "matryoshka_widths" in example:
        example["matryoshka_widths"] = (width // 5, width // 2)
    return saes.build(name, d_in=D, d_sae=width, **example)


@functools.cache
def both_ways(name: str, width: int, room: int):
    """Loss and gradients from all latents and from the active ones, as one program."""
    sae = small(name, width)

    @jax.jit
    def run(params, x, dead, k):
        numbers = {"hyper": sae.hyper.replace(k=k)}
        dense = lambda params, x: sae.loss(params, x, dead, **numbers)[0]
        sparse = lambda params, x: sae.sparse_loss(params, x, dead, capacity=room, **numbers)[0]
        return [jax.value_and_grad(way, (0, 1))(params, x) for way in (dense, sparse)]

    return run


def problem(n: int, width: int, shifts: tuple[float, ...]):
    rng = np.random.default_rng(n + width)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    up = np.eye(D, dtype=np.float32)[0]
    params = saes.SAEParams(
        W_enc=(draw(D, width)).at[0].set(1.0),
        b_enc=0.3 * draw(width),
        W_dec=0.4 * draw(width, D),
        b_dec=0.5 * draw(D),
    )
    along = np.resize(np.asarray(shifts, np.float32), n)
    return params, draw(n, D) + along[:, None] * up[None]


def assert_gradients_agree(name, shape, k, dead, samples, dtype=jnp.float32):
    n, width, room = SHAPES[shape]
    params, x = problem(n, width, SAMPLES[samples])
    count = width if DEAD[dead] is None else DEAD[dead]
    mask = jnp.arange(width) < count
    whole = small(name, width).hyper.k.dtype
    run = both_ways(name, width, room)
    (dense, slopes), (sparse, gradients) = run(params, x.astype(dtype), mask, whole.type(k))
    assert float(sparse) == pytest.approx(float(dense), rel=2e-6)
    for ours, theirs in zip(jax.tree.leaves(gradients), jax.tree.leaves(slopes), strict=True):
        close = CLOSE if ours.dtype == jnp.float32 else CLOSE_BFLOAT16
        ours, theirs = np.asarray(ours, np.float32), np.asarray(theirs, np.float32)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=close * np.abs(theirs).max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", sparse_names())
def test_gradients_agree(name, shape):
    room = SHAPES[shape][2]
    for k in (1, 5, room // 2, room):
        for dead in DEAD:
            for samples in SAMPLES:
                assert_gradients_agree(name, shape, k, dead, samples)


@pytest.mark.parametrize("name", sparse_names())
def test_gradients_agree_for_inputs_in_bfloat16(name):
    assert_gradients_agree(name, "small", 5, "few", "mixed", jnp.bfloat16)


def test_the_slope_along_their_difference_is_that_of_the_loss():
    """A finite difference, so that both ways cannot be wrong together."""
    n, width, room = SHAPES["wide room"]
    params, x = problem(n, width, (0.0,))
    sae = small("topk", width)
    hyper = sae.hyper.replace(k=jnp.int32(5))
    loss = jax.jit(lambda p: sae.sparse_loss(p, x, None, capacity=room, hyper=hyper)[0])
    slope = jax.grad(loss)(params).b_enc
    direction = slope / jnp.linalg.norm(slope)
    step = 1e-3
    up, down = (loss(params.replace(b_enc=params.b_enc + s * direction)) for s in (step, -step))
    # a central difference in float32: the loss has some 7 digits, the step takes 3
    expected = float((up - down) / (2 * step))
    assert float(slope @ direction) == pytest.approx(expected, rel=0.02)
