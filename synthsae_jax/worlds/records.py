"""The records of this folder: `World`, `Instance`, `Codes`, all pytrees. No behaviour."""

from __future__ import annotations

import jax
from flax import struct

Array = jax.Array


@struct.dataclass
class Codes:
    """Padded sparse codes of `n` samples: which features fired, and how strongly.

    An empty slot holds index F (one past the last feature) and value 0, so that a table with one
    row more than there are features can be read without a branch. A feature fills at most one slot.
    """

    indices: Array  # int32 [n, K]
    values: Array  # float32 [n, K], >= 0
    overflow: Array  # bool [n]: this sample had more active features than there are slots


@struct.dataclass
class Forest:
    """The hierarchy as tables over features, ready to be read inside a trace.

    `P` families (features that have children), at most `B` children each, `N` nodes as written
    in a `hierarchy.json` (nodes may lack a feature; the node tables only serve saving).
    """

    parent: Array  # int32 [F]: nearest ancestor that is a feature, or -1
    children_row: Array  # int32 [F + 1]: row of `children`, or P where a feature has none
    children: Array  # int32 [P + 1, B]: padded with F; the last row is all F
    group: Array  # int32 [F + 1]: mutual-exclusion group, or -1
    scaled: Array  # bool [F + 1]: magnitude is multiplied by parent's / parent's mean
    roots: Array  # int32 [R]: features without parent that have children
    free: Array  # int32 [N0]: features without parent and without children
    node_feature: Array  # int32 [N]: feature of each node in breadth-first order, or -1
    node_parent: Array  # int32 [N]: parent node, or -1
    node_exclusive: Array  # bool [N]
    node_scaled: Array  # bool [N]
    feature_ids: tuple[tuple[int, str], ...] = struct.field(pytree_node=False, default=())
    exclusive_tops: bool = struct.field(pytree_node=False, default=False)


@struct.dataclass
class World:
    """Features and who fires when; no directions. Frozen numbers, made on the host in float64.

    The arrays describe F_base features. With `copies = 2` the registry of ids is twice as long:
    id `F_base + i` is a twin of id `i` with the same statistics (see `worlds.twin`).
    """

    probabilities: Array  # float32 [F_base]: probability handed to the firing law
    threshold: Array  # float32 [F_base]: the copula fires where its Gaussian exceeds this
    mean: Array  # float32 [F_base]: mean magnitude
    std: Array  # float32 [F_base]
    factor: Array  # float32 [F_base, r]: low-rank copula loadings, r = 0 without correlation
    residual: Array  # float32 [F_base]: variance left to a feature's own Gaussian
    cholesky: Array  # float32 [F_base, F_base] for a dense copula, else [0, 0]
    forest: Forest
    geometry_key: Array  # uint32 [2]: what the world's instances share of their geometry
    shared_factors: Array  # bool []: do twins see the same copula factors?
    slots: tuple[int, ...] = struct.field(pytree_node=False)
    # slots: capacity for (roots, free, level 1, level 2, ..., codes)
    copies: int = struct.field(pytree_node=False, default=1)
    equal_counts: bool = struct.field(pytree_node=False, default=False)
    config: object = struct.field(pytree_node=False, default=None)  # provenance, for saving
    seed: int | None = struct.field(pytree_node=False, default=None)

    @property
    def n_base(self) -> int:
        """Features described by the arrays (the last axis, so a stacked world answers too)."""
        return self.probabilities.shape[-1]

    @property
    def n_features(self) -> int:
        """F: how many feature ids there are."""
        return self.copies * self.n_base

    @property
    def n_slots(self) -> int:
        """K: slots of the codes that `sample_codes` returns."""
        return self.copies * self.slots[-1]

    @property
    def levels(self) -> int:
        """How many levels below the roots the forest has."""
        return len(self.slots) - 3


@struct.dataclass
class Departure:
    """How an instance departs from linear features (`worlds.departures`), and what from."""

    strength: Array  # float32 []: 0 is `embed` without a departure
    rows: Array  # float32 [F, D]: the directions at strength 0, unit rows
    across: Array  # float32 [F, D]: a unit direction orthogonal to each row; [F, 0] if unused
    parent: Array  # int32 [F]: nearest ancestor that is a feature, or -1
    mean: Array  # float32 [F]: magnitudes, in whose quantiles a direction turns
    std: Array  # float32 [F]
    name: str = struct.field(pytree_node=False)
    levels: int = struct.field(pytree_node=False)  # of the forest below its roots


@struct.dataclass
class Instance:
    """One synthetic model that sees a world: where each feature points, and which it has."""

    # With a departure, `dictionary` holds the effective directions, which are the truth.
    dictionary: Array  # float32 [F, D], unit rows (also for absent features)
    present: Array  # bool [F]
    bias: Array  # float32 [D]
    keep: Array  # float32 [F]: probability that a firing of this feature reaches this model
    gain: Array  # float32 [F]: this model's factor on the feature's magnitude
    noise: Array  # float32 []: sd of the additive noise per dimension
    cosine: Array  # float32 []: realised mean cosine with the rotated reference (NaN: none)
    gram_correlation: Array  # float32 []: correlation of the two Gram matrices' off-diagonals
    stream: Array | int = 0  # uint32 []: keeps the drops and noise of instances apart
    departure: Departure | None = None  # None: features are linear
    config: object = struct.field(pytree_node=False, default=None)

    @property
    def hidden_dim(self) -> int:
        """D: dimensions of the model's activations."""
        return self.dictionary.shape[-1]
