"""Ground-truth directions: random, structured or anisotropic rows, orthogonalised, rotated, mixed.

Pure JAX in the key, so that dictionaries of many instances are drawn under one vmap.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from synthsae_jax.modes import fixed
from synthsae_jax.numerics import unit_rows

Array = jax.Array
_EXACT = jax.lax.Precision.HIGHEST  # a rotation keeps angles; an accelerator's shortcuts would not


def random_rows(key: Array, n_features: int, dim: int) -> Array:
    """Unit rows in uniformly random directions, float32 [F, D]."""
    return unit_rows(jax.random.normal(key, (n_features, dim)))


def structured_rows(key: Array, embedding: Array, dim: int, gamma: float) -> Array:
    """Rows `sqrt(gamma) U s_g + sqrt(1 - gamma) fresh`, normalised, float32 [F, D].

    `embedding` [F, E] belongs to the world (related features lie near each other); the isometry U
    of this instance is drawn from the key, so relations are shared and directions are not.
    """
    key_map, key_fresh = jax.random.split(key)
    n_features, width = embedding.shape
    isometry = random_isometry(key_map, width, dim)
    fresh = random_rows(key_fresh, n_features, dim)
    related = unit_rows(rotate(embedding, isometry))  # shorter than 1 where D < E
    return unit_rows(jnp.sqrt(gamma) * related + jnp.sqrt(1 - gamma) * fresh)


def orthogonal_rows(key: Array, n_features: int, dim: int) -> Array:
    """Unit rows without any overlap where F <= D, float32 [F, D]; else bases of their own.

    Every D rows are a random orthonormal basis, independent of the others, in random order.
    """
    key_bases, key_order = jax.random.split(key)
    bases = jax.vmap(lambda k: random_isometry(k, dim, dim))(
        jax.random.split(key_bases, -(-n_features // dim))
    )
    order = jax.random.permutation(key_order, bases.shape[0] * dim)
    return bases.reshape(-1, dim)[order[:n_features]]


def paired_rows(key: Array, rows: Array, cosine: Array | float) -> Array:
    """The rows in random pairs, the second of each turned to |cosine| `cosine` with the first.

    `rows [F, D]`, unit. The sign is random, as it is for the largest of many random cosines. An odd
    row stays alone.
    """
    key_order, key_sign = jax.random.split(key)
    n_pairs = rows.shape[0] // 2
    first, second = jax.random.permutation(key_order, rows.shape[0])[: 2 * n_pairs].reshape(2, -1)
    sign = jax.random.rademacher(key_sign, (n_pairs, 1), rows.dtype)
    return rows.at[second].set(mix(sign * rows[first], rows[second], cosine))


def anisotropic_rows(key: Array, n_features: int, dim: int, share: float, power: float) -> Array:
    """Unit rows with a common mean direction of squared share `share` and a k^-power spectrum.

    The mean and the spectrum's axes are the key's own, so two instances have neither in common.
    """
    key_mean, key_rows, key_axes = jax.random.split(key, 3)
    mean = random_rows(key_mean, 1, dim)
    scale = jnp.arange(1, dim + 1)[None] ** (-power / 2)
    rows = jax.random.normal(key_rows, (n_features, dim)) * scale
    rows = unit_rows(rotate(rows, random_isometry(key_axes, dim, dim)))
    return unit_rows(jnp.sqrt(share) * mean + jnp.sqrt(1 - share) * rows)


def orthogonalize(rows: Array, steps: int, learning_rate: float) -> Array:
    """Rows pushed apart by `steps` of Adam, float32 [F, D] unit rows.

    Minimises sum_{i != j} (v_i . v_j)^2 + F sum_i (|v_i|^2 - 1)^2 with the gradient in closed
    form, 4 V V'V - 4 n v + 4 F (n - 1) v with n = |v|^2: D x D products, never F x F. As in
    SynthSAEBench: no normalisation between steps, one at the end.
    """
    n_features = rows.shape[0]
    adam = optax.adam(learning_rate)

    def step(_, carry):
        rows, state = carry
        gram = jnp.matmul(rows.T, rows, precision=_EXACT)
        product = jnp.matmul(rows, gram, precision=_EXACT)
        squared = jnp.sum(rows**2, axis=-1, keepdims=True)
        gradient = 4 * (product - squared * rows + n_features * (squared - 1) * rows)
        update, state = adam.update(gradient, state)
        return optax.apply_updates(rows, update), state

    rows, _ = jax.lax.fori_loop(0, steps, step, (rows, adam.init(rows)))
    return unit_rows(rows)


def random_isometry(key: Array, dim_from: int, dim_to: int) -> Array:
    """A random map [D_from, D_to] that rotates; isometric where D_to >= D_from.

    Towards fewer dimensions it is the transpose of an isometry (a random projection).
    """
    wide, narrow = max(dim_from, dim_to), min(dim_from, dim_to)
    q, r = jnp.linalg.qr(jax.random.normal(key, (wide, narrow)))
    q = q * jnp.sign(jnp.diagonal(r))[None]  # makes Q uniform (Haar), not only orthogonal
    return q.T if dim_to >= dim_from else q


def rotate(rows: Array, isometry: Array) -> Array:
    """The rows under a map [D_from, D_to], to full float32 precision."""
    return jnp.matmul(rows, isometry, precision=_EXACT)


def mix(reference: Array, fresh: Array, t: float) -> Array:
    """Unit rows `[F, D]` at cosine `t` to `reference`, else along `fresh` orthogonal to it."""
    reference, fresh = unit_rows(reference), unit_rows(fresh)
    along = jnp.sum(fresh * reference, axis=-1, keepdims=True)
    # Orthogonal, so that t is the cosine that comes out and not about it.
    across = unit_rows(fresh - along * reference)
    return unit_rows(t * reference + jnp.sqrt(1 - t**2) * across)


@fixed
def gram_correlation(a: Array, b: Array, present: Array | None = None) -> Array:
    """Pearson correlation between the off-diagonal entries of two Gram matrices of unit rows.

    `a [F, D_a]`, `b [F, D_b]`; `present` bool [F]: the rows that count (None: all). In closed form,
    sum_ij (a_i.a_j)(b_i.b_j) = |A'B|_F^2, so no F x F matrix is made. 1 for a rotated copy, about 0
    for independent dictionaries, NaN with fewer than two rows.
    """
    n = a.shape[0]
    if present is not None:  # a row of zeros adds nothing to any sum
        n = jnp.sum(present)
        a, b = jnp.where(present[:, None], a, 0.0), jnp.where(present[:, None], b, 0.0)
    pairs = n * (n - 1)

    def cross(x: Array, y: Array) -> Array:
        # less the n diagonal entries, which are 1 each
        return jnp.sum(jnp.matmul(x.T, y, precision=_EXACT) ** 2) - n

    def mean(x: Array) -> Array:
        return (jnp.sum(jnp.sum(x, axis=0) ** 2) - n) / pairs

    covariance = cross(a, b) / pairs - mean(a) * mean(b)
    variance_a = cross(a, a) / pairs - mean(a) ** 2
    variance_b = cross(b, b) / pairs - mean(b) ** 2
    return covariance / jnp.sqrt(variance_a * variance_b)
