"""What kind of latent is it? Clean, or one of the ways in which latents miss the features."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from synthsae_jax.errors import require
from synthsae_jax.matching.truth_code import CodeFit
from synthsae_jax.matching.truth_counts import TruthCounts
from synthsae_jax.numerics import cosine_matrix, is_alive

Array = jax.Array

LATENT_KINDS = (
    "artefact",
    "dead",
    "dense",
    "composite",
    "absorbed_parent",
    "split",
    "duplicate",
    "clean",
)
ARTEFACT, DEAD, DENSE, COMPOSITE, ABSORBED, SPLIT, DUPLICATE, CLEAN = range(len(LATENT_KINDS))


@dataclasses.dataclass(frozen=True)
class TypeRule:
    """The thresholds of all types; see `latent_types` for what each is held against.

    Cosine and margin are those of the truth map (`TruthRule`). None of them is
    fitted to data.
    """

    cosine: float = 0.7  # a latent belongs to the feature its row is this near to,
    margin: float = 0.1  # that much nearer than to the second,
    precision: float = 0.8  # and on in this share of the tokens on which it fires
    recall_drop: float = 0.3  # absorbed: by how much recall falls where a child is on
    least_tokens: int = 20  # tokens with, and without, a child on that say something
    overlap: float = 0.5  # duplicate: share of the rarer latent's tokens on which both fire
    split_recall: float = 0.8  # split: no single latent reaches this recall,
    split_gain: float = 0.1  # and each part has at least this one
    composite_cosine: float = 0.4  # composite: cosine with two features,
    composite_weight: float = 0.25  # or this share of the regression weights for two features,
    composite_r2: float = 0.5  # where these explain the code
    dense_rate: float = 0.1  # dense: fires on this share of tokens


@struct.dataclass
class TypeCounts:
    """Firing counts that tell the types apart; streamed, exact, and merged like `TruthCounts`.

    `TypeCounts.init(L, F)`, then `.update(latents, feature_acts, parent)` per batch.
    """

    plain: TruthCounts  # latents and features
    with_child: TruthCounts  # latents, and features while one of their children is on
    among: Array  # int32 [L, L]: samples on which both latents fire

    @classmethod
    def init(cls, n_latents: int, n_features: int) -> TypeCounts:
        """The counts of no samples."""
        empty = TruthCounts.init(n_latents, n_features)
        return cls(empty, empty, jnp.zeros((n_latents, n_latents), jnp.int32))

    def update(
        self, latents: Array, feature_acts: Array, parent: Array | None = None
    ) -> TypeCounts:
        """These counts with the samples of `latents [n, L]`, `feature_acts [n, F]` added.

        `parent` int `[F_base]`: the forest, -1 for no parent; None: there is none. F is a multiple
        of F_base: id `F_base + i` is the twin of id i, in a forest of the same shape.
        """
        on = feature_acts != 0
        within = jnp.zeros(on.shape, bool) if parent is None else on & child_on(on, parent)
        square = TruthCounts.init(latents.shape[1], latents.shape[1]).update(latents, latents)
        return TypeCounts(
            plain=self.plain.update(latents, feature_acts),
            with_child=self.with_child.update(latents, within),
            among=self.among + square.joint,
        )

    def merge(self, other: TypeCounts) -> TypeCounts:
        """The counts of both sets of samples together."""
        return jax.tree.map(jnp.add, self, other)


class LatentTypes(NamedTuple):
    """The type of each latent, on the host."""

    kind: np.ndarray  # int32 [L]: place in `LATENT_KINDS`
    feature: np.ndarray  # int32 [L]: the feature it belongs to, tracked or not; -1 for none

    def shares(self) -> dict[str, float]:
        """Each type's share of all latents, by name; they add up to 1."""
        counted = np.bincount(self.kind, minlength=len(LATENT_KINDS)) / self.kind.size
        return dict(zip(LATENT_KINDS, counted.tolist()))


def latent_types(
    W_dec: Array,
    counts: TypeCounts,
    features: Array,
    truth: Any,
    *,
    rule: TypeRule | None = None,
    present: Any = None,
    fit: CodeFit | None = None,
) -> LatentTypes:
    """The type of each latent; the first of these that applies. On the host.

    A latent *belongs* to the feature it tracks (`truth` int `[L]`) or else to the feature its row
    is nearest to (cosine, margin) if it rarely fires without it (precision).

    - dead: never fires.
    - absorbed_parent: fires almost only with its feature, and misses it more often where one of
      its children is on: recall there lies `recall_drop` below that elsewhere.
    - duplicate: fires with another latent of its feature (overlap) that stands before it. Tracking
      latents stand first, then those with the larger cosine.
    - split: two or more latents of one feature fire mostly apart, and none has `split_recall`.
    - composite: its row has a cosine with two features, the second's taken with what is left of
      that feature's direction beside the first's (a child that points near its parent is not
      composite for that); or, given a `fit` that explains it, two features have a large share of
      the weights. In few dimensions chance gives large cosines: see `geometric_chance`.
    - clean: tracks a feature. dense: fires at `dense_rate` or more. artefact: all the rest.
    """
    rule = TypeRule() if rule is None else rule
    truth = np.asarray(truth)
    n_latents, n_features = counts.plain.joint.shape
    require(
        truth.shape == (n_latents,) and jnp.shape(features)[0] == n_features,
        f"latent_types needs truth [{n_latents}] and {n_features} features; given "
        f"{truth.shape} and {jnp.shape(features)[0]}.",
    )
    present_mask = np.ones(n_features, bool) if present is None else np.asarray(present, bool)
    similarity = np.asarray(cosine_matrix(W_dec, features), np.float64)
    # a diverged row points nowhere
    similarity = np.where(np.isfinite(similarity) & present_mask[None, :], similarity, -np.inf)
    tally = _Tally.of(counts)
    alive = is_alive(tally.fired)
    belongs = np.where(alive, _belongs(truth, similarity, tally, rule), -1)
    own_cosine = np.take_along_axis(similarity, np.maximum(belongs, 0)[:, None], axis=1)[:, 0]

    absorbed = (belongs >= 0) & _absorbed(belongs, tally, rule)
    duplicate, split = np.zeros(n_latents, bool), np.zeros(n_latents, bool)
    # Tracking latents first, then by cosine: the first of a feature keeps it, and later ones are
    # held against it.
    order = np.lexsort((-own_cosine, truth < 0))
    for g in np.unique(belongs[belongs >= 0]):
        members = order[(belongs[order] == g) & ~absorbed[order]]
        if members.size > 1:
            parts = _apart(members, tally, rule)
            duplicate[np.setdiff1d(members, parts)] = True
            split[parts] = _is_split(parts, g, tally, rule)
            # the leader has the feature to itself; the others are second to it
            duplicate[parts[1:]] |= ~split[parts[1:]]

    kind = np.select(
        [
            ~alive,
            absorbed,
            duplicate,
            split,
            _composite(similarity, np.asarray(features), fit, rule),
            truth >= 0,
            tally.fired >= rule.dense_rate * tally.n,
        ],
        [DEAD, ABSORBED, DUPLICATE, SPLIT, COMPOSITE, CLEAN, DENSE],
        ARTEFACT,
    )
    return LatentTypes(kind.astype(np.int32), belongs.astype(np.int32))


def child_on(on: Array, parent: Array) -> Array:
    """Is some child of the feature on? bool `[n, F]` from `on [n, F]`; see `TypeCounts.update`."""
    parent = jnp.asarray(parent)
    n_base, n_features = parent.shape[0], on.shape[1]
    require(
        n_features % n_base == 0, f"{n_features} features do not fit a forest of {n_base} features."
    )
    ids = jnp.arange(n_features)
    above = parent[ids % n_base]
    # A twin's parent is the parent's twin; without a parent the index is one past the end, which
    # the scatter drops.
    above = jnp.where(above >= 0, above + ids // n_base * n_base, n_features)
    return jnp.zeros(on.shape, bool).at[:, above].max(on, mode="drop")


class _Tally(NamedTuple):
    """The counts on the host, as float64."""

    n: np.ndarray
    fired: np.ndarray  # [L]
    active: np.ndarray  # [F]
    joint: np.ndarray  # [L, F]
    active_child: np.ndarray  # [F]
    joint_child: np.ndarray  # [L, F]
    among: np.ndarray  # [L, L]

    @classmethod
    def of(cls, counts: TypeCounts) -> _Tally:
        plain, child = counts.plain, counts.with_child
        parts = (plain.n, plain.fired, plain.active, plain.joint, child.active, child.joint)
        return cls(*(np.asarray(v, np.float64) for v in (*parts, counts.among)))


def _belongs(truth: np.ndarray, similarity: np.ndarray, t: _Tally, rule: TypeRule) -> np.ndarray:
    ids = np.arange(truth.size)
    nearest = similarity.argmax(1)
    first = similarity[ids, nearest]
    others = similarity.copy()
    others[ids, nearest] = -np.inf
    second = others.max(1)
    near = (first >= rule.cosine) & (first >= second + rule.margin)
    precise = t.joint[ids, nearest] >= rule.precision * t.fired
    return np.where(truth >= 0, truth, np.where(near & precise, nearest, -1))


def _absorbed(belongs: np.ndarray, t: _Tally, rule: TypeRule) -> np.ndarray:
    ids, g = np.arange(belongs.size), np.maximum(belongs, 0)
    inside, outside = t.active_child[g], t.active[g] - t.active_child[g]
    hit_inside = t.joint_child[ids, g]
    hit_outside = t.joint[ids, g] - hit_inside
    drop = hit_outside / np.maximum(outside, 1) - hit_inside / np.maximum(inside, 1)
    enough = np.minimum(inside, outside) >= rule.least_tokens
    precise = t.joint[ids, g] >= rule.precision * t.fired
    return enough & precise & (drop >= rule.recall_drop)


def _apart(members: np.ndarray, t: _Tally, rule: TypeRule) -> np.ndarray:
    """Those of the members, in order, that fire mostly apart from all before them."""
    parts: list[int] = []
    for i in members.tolist():
        shared = t.among[i, parts] / np.minimum(t.fired[i], t.fired[parts])
        if (shared < rule.overlap).all():
            parts.append(i)
    return np.array(parts)


def _is_split(parts: np.ndarray, g: int, t: _Tally, rule: TypeRule) -> np.ndarray:
    """Which parts share a feature that none of them covers, bool `[P]`."""
    recall = t.joint[parts, g] / np.maximum(t.active[g], 1)
    taking_part = recall >= rule.split_gain
    needed = taking_part.sum() >= 2 and recall.max() < rule.split_recall
    return taking_part & needed


def _composite(
    similarity: np.ndarray, features: np.ndarray, fit: CodeFit | None, rule: TypeRule
) -> np.ndarray:
    ids = np.arange(len(similarity))
    nearest = similarity.argmax(1)
    first = similarity[ids, nearest]
    among = np.asarray(cosine_matrix(jnp.asarray(features[nearest]), jnp.asarray(features)))
    beside = 1.0 - np.minimum(among.astype(np.float64) ** 2, 1.0)
    # a direction that is the first one over again has nothing beside it
    new = np.where(beside > 1e-6, beside, np.inf)
    defined = np.isfinite(similarity)
    finite = np.where(defined, similarity, 0.0)
    beyond = (finite - finite[ids, nearest][:, None] * among) / np.sqrt(new)
    beyond = np.where(
        defined & (np.arange(len(features))[None, :] != nearest[:, None]), beyond, -np.inf
    )
    of_direction = np.minimum(first, beyond.max(1)) >= rule.composite_cosine
    if fit is None:
        return of_direction
    mixed = (np.asarray(fit.relative) >= rule.composite_weight).sum(1) >= 2
    return of_direction | (mixed & (np.asarray(fit.r2) >= rule.composite_r2))
