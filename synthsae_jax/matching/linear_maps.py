"""Linear maps from one model's activation space into another's: fitted, applied, judged.

Fit on one set of paired tokens and judge on another. In superposition with independent
dictionaries no linear map carries every feature across: the explained variance then says how much
of the space's common content a map can carry, not whether features are shared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from synthsae_jax.errors import require
from synthsae_jax.matching.alignment import procrustes_from_covariance
from synthsae_jax.matching.moments import CoMoments
from synthsae_jax.numerics import as_array, is_wide, narrow
from synthsae_jax.options import check_options
from synthsae_jax.registry import Explanation, Registry

Array = jax.Array


@struct.dataclass
class LinearMap:
    """`x_a ~ (x_b - mean_b) matrix + mean_a`."""

    matrix: Array  # float32 [D_b, D_a]
    mean_a: Array  # float32 [D_a]; of activations in float64, in float64 on the host
    mean_b: Array  # float32 [D_b]; likewise

    def activations(self, x_b: Array) -> Array:
        """B's activations in A's space, `[n, D_b] -> [n, D_a]`."""
        return self.deviations(x_b) + self.mean_a[None, :]

    def deviations(self, x_b: Array) -> Array:
        """The same less A's mean, which would swallow the digits of what lies far from 0."""
        return _multiply(narrow(x_b - self.mean_b[None, :]), self.matrix)

    def decoder_rows(self, rows_b: Array) -> Array:
        """B's decoder directions in A's space, `[L, D_b] -> [L, D_a]`: what is written there."""
        return _multiply(rows_b, self.matrix)

    def encoder_rows(self, rows_b: Array) -> Array:
        """B's encoder directions (`W_enc.T`) in A's space, `[L, D_b] -> [L, D_a]`.

        They read, so they go through the inverse: with `x_b = x_a M^+`, `x_b . e = x_a . M^+ e`.
        For a rotation the same as `decoder_rows`.
        """
        return _multiply(rows_b, jnp.linalg.pinv(self.matrix).T)


class Covariances(NamedTuple):
    """What a fit needs: centred second moments per token, float64 on the host."""

    aa: np.ndarray  # [D_a, D_a]
    bb: np.ndarray  # [D_b, D_b]
    ba: np.ndarray  # [D_b, D_a]


alignments: Registry[Callable[..., np.ndarray]] = Registry("alignment")


def joint_moments(d_a: int, d_b: int) -> CoMoments:
    """Empty moments for `add_activations`: of both models' activations side by side."""
    return CoMoments.init(d_a + d_b, d_a + d_b)


def add_activations(moments: CoMoments, x_a: Array, x_b: Array) -> CoMoments:
    """The moments with paired activations `x_a [n, D_a]`, `x_b [n, D_b]` added; a pure function."""
    wide = is_wide(x_a) or is_wide(x_b)
    # Side by side: one product gives C_aa, C_bb and C_ba of the same tokens.
    both = (np if wide else jnp).concatenate([x_a, x_b], axis=1)
    return moments.update(both, both)


def fit_alignment(name: str, x_a: Array, x_b: Array, **options) -> LinearMap:
    """The registered map from B to A, fitted on activations `[n, D_a]`, `[n, D_b]` of n tokens.

    `procrustes`, `procrustes_scaled`, `ridge`, `cca`; options are the fit's own, by keyword. From
    a stream: `joint_moments`, `add_activations`, then `alignment_from_moments`.
    """
    x_a, x_b = _paired(x_a, x_b, "fit_alignment")
    d_a = x_a.shape[1]
    moments = add_activations(joint_moments(d_a, x_b.shape[1]), x_a, x_b)
    fitted = alignment_from_moments(name, moments, d_a, **options)
    # The moments hold float32 means. Of float64 activations far from 0 these have lost the digits
    # that `deviations` is there to keep.
    wide = {f"mean_{k}": x.mean(0) for k, x in (("a", x_a), ("b", x_b)) if is_wide(x)}
    return fitted.replace(**wide)


def alignment_from_moments(name: str, moments: CoMoments, d_a: int, **options) -> LinearMap:
    """`fit_alignment` from moments of both models side by side, A's `d_a` dimensions first."""
    fit = alignments[name]
    check_options(f"alignment {name!r}", fit, options)
    n = int(moments.n)
    cross = np.asarray(moments.cross, np.float64)
    require(
        n > 1 and 0 < d_a < cross.shape[0] and bool(np.isfinite(cross).all()),
        f"an alignment needs finite activations of more than one token, and 0 < d_a < "
        f"{cross.shape[0]}; given {n} tokens, d_a = {d_a}.",
    )
    a, b = slice(0, d_a), slice(d_a, None)
    matrix = fit(Covariances(cross[a, a] / n, cross[b, b] / n, cross[b, a] / n), **options)
    as_float = lambda v: jnp.asarray(v, jnp.float32)
    return LinearMap(as_float(matrix), as_float(moments.mean_a[a]), as_float(moments.mean_a[b]))


def judge_alignment(fitted: LinearMap, x_a: Array, x_b: Array) -> dict[str, float]:
    """How well B's activations, mapped, reproduce A's on tokens the fit has not seen.

    `x_a [n, D_a]`, `x_b [n, D_b]` on the same n > 1 tokens. `explained_variance` = 1 - sum |x_a -
    map(x_b)|^2 / sum |x_a - mean x_a|^2: 1 is perfect, 0 no better than A's mean, below 0 worse;
    NaN where A's activations do not vary. `raw` is the same without a map (NaN where widths
    differ).
    """
    a, b = _paired(x_a, x_b, "judge_alignment")
    mapped = np.asarray(fitted.deviations(b), np.float64)
    a, b = (np.asarray(v, np.float64) for v in (a, b))
    total = ((a - a.mean(0)) ** 2).sum()
    explained = lambda error: float(1 - (error**2).sum() / total) if total > 0 else float("nan")
    raw = explained(a - b) if a.shape == b.shape else float("nan")
    error = a - np.asarray(fitted.mean_a, np.float64) - mapped
    return {"explained_variance": explained(error), "raw": raw}


@alignments.register(
    "procrustes",
    Explanation(
        what="The rotation under which B's centred activations come closest to A's.",
        formula="U V^T with C_ba = U S V^T",
        source="Schoenemann 1966",
    ),
)
def procrustes(c: Covariances) -> np.ndarray:
    """An isometry `[D_b, D_a]` along the narrower side."""
    return np.asarray(procrustes_from_covariance(jnp.asarray(c.ba.T, jnp.float32)))


@alignments.register(
    "procrustes_scaled",
    Explanation(
        what="As procrustes, with the one factor on B's activations that fits best.",
        formula="t U V^T, t = tr(S) / tr(V_b), V_b: B's variance in the directions that are mapped",
        source="Schoenemann and Carroll 1970",
    ),
)
def procrustes_scaled(c: Covariances) -> np.ndarray:
    """A scaled isometry `[D_b, D_a]`."""
    rotation = procrustes(c).astype(np.float64)
    carried = np.trace(rotation.T @ c.bb @ rotation)
    require(carried > 0, "procrustes_scaled: B's activations do not vary.")
    return rotation * (np.trace(rotation.T @ c.ba) / carried)


@alignments.register(
    "ridge",
    Explanation(
        what="The linear map with the least squared error, shrunk by `ridge` mean variances.",
        formula="(C_bb + ridge tr(C_bb)/D_b I)^-1 C_ba",
        source="Hoerl and Kennard 1970",
    ),
)
def ridge(c: Covariances, *, ridge: float = 1e-3) -> np.ndarray:
    """Any matrix `[D_b, D_a]`."""
    require(ridge >= 0, f"ridge must be at least 0; given {ridge}.")
    # pinv and not solve: without ridge, C_bb of fewer tokens than dimensions is singular.
    return np.linalg.pinv(_loaded(c.bb, ridge), hermitian=True) @ c.ba


@alignments.register(
    "cca",
    Explanation(
        what="The map by the `rank` pairs of directions that correlate most: each of B's canonical "
        "variables predicts its partner of A, and the rest is left at A's mean.",
        formula="C_bb^-1/2 U_k diag(rho_k) V_k^T C_aa^1/2, U diag(rho) V^T = C_bb^-1/2 C_ba "
        "C_aa^-1/2; at full rank the least-squares map",
        source="Hotelling 1936",
    ),
)
def cca(c: Covariances, *, rank: int | None = None, ridge: float = 1e-3) -> np.ndarray:
    """A matrix `[D_b, D_a]` of rank `rank` (None: half of the narrower side, at least 1)."""
    most = min(c.ba.shape)
    k = max(most // 2, 1) if rank is None else rank
    require(
        1 <= k <= most and ridge >= 0,
        f"cca needs 1 <= rank <= {most} and ridge >= 0; given {k}, {ridge}.",
    )
    _, inverse_b = _roots(_loaded(c.bb, ridge))
    root_a, inverse_a = _roots(_loaded(c.aa, ridge))
    u, rho, vt = np.linalg.svd(inverse_b @ c.ba @ inverse_a, full_matrices=False)
    return inverse_b @ (u[:, :k] * rho[:k]) @ vt[:k] @ root_a


def _loaded(c: np.ndarray, ridge: float) -> np.ndarray:
    return c + ridge * np.trace(c) / len(c) * np.eye(len(c))


def _roots(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric root and inverse root; directions without variance are left out of both."""
    values, vectors = np.linalg.eigh(c)
    # eigh leaves some 1e-16 of the largest eigenvalue in place of a 0; its root would be a
    # direction.
    nonzero = values > 1e-12 * max(values[-1], 0.0)
    root = np.sqrt(np.where(nonzero, values, 0.0))
    inverse = np.where(nonzero, 1.0 / np.where(nonzero, root, 1.0), 0.0)
    return (vectors * root) @ vectors.T, (vectors * inverse) @ vectors.T


def _paired(x_a: Array, x_b: Array, who: str) -> tuple[Array, Array]:
    x_a, x_b = (as_array(v) for v in (x_a, x_b))
    x_a, x_b = (v if is_wide(v) else jnp.asarray(v, jnp.float32) for v in (x_a, x_b))
    require(
        x_a.ndim == 2 and x_b.ndim == 2 and x_a.shape[0] == x_b.shape[0] > 1,
        f"{who} needs activations [n, D_a] and [n, D_b] on the same n > 1 tokens; given "
        f"{x_a.shape} and {x_b.shape}.",
    )
    return x_a, x_b


def _multiply(x: Array, matrix: Array) -> Array:
    return jnp.matmul(x, matrix, precision=jax.lax.Precision.HIGHEST)
