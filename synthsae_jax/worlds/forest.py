"""Hierarchies: grown from a config as SAELens grows them, and as tables that a sampler can read."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import jax.numpy as jnp
import numpy as np

from synthsae_jax.errors import ConfigError, check_choice, is_number, require
from synthsae_jax.worlds.law_base import make
from synthsae_jax.worlds.nodes import Nodes
from synthsae_jax.worlds.records import Forest

COMPENSATIONS = ("none", "saelens", "exact")


@dataclasses.dataclass(frozen=True)
class HierarchyConfig:
    """A forest of trees over the most frequent features, in breadth-first order of their ids.

    Fields are SAELens' but for `compensation`, its `compensate_probabilities`: "none" leaves the
    firing law as it is, "saelens" raises the probabilities by SynthSAEBench's formula (which comes
    near the law), "exact" solves for the law (see `compensation`).
    """

    total_root_nodes: int = 100
    branching_factor: int | tuple[int, int] = 100  # a range is drawn anew for each parent
    max_depth: int = 2  # levels below the roots
    mutually_exclusive_portion: float = 0.0  # of the parents with two children or more
    mutually_exclusive_min_depth: int = 0
    mutually_exclusive_max_depth: int | None = None
    compensation: str = "none"
    scale_children_by_parent: bool = False

    def __post_init__(self):
        self._whole("total_root_nodes", self.total_root_nodes, 1)
        self._whole("max_depth", self.max_depth, 1)
        low, high = self.branching
        self._whole("branching_factor", low, 2)
        self._whole("the upper end of branching_factor", high, low)
        portion = self.mutually_exclusive_portion
        require(
            is_number(portion) and 0 <= portion <= 1,
            f"HierarchyConfig: mutually_exclusive_portion must lie in [0, 1]; got {portion!r}.",
        )
        self._whole("mutually_exclusive_min_depth", self.mutually_exclusive_min_depth, 0)
        if self.mutually_exclusive_max_depth is not None:
            low = self.mutually_exclusive_min_depth
            self._whole("mutually_exclusive_max_depth", self.mutually_exclusive_max_depth, low)
        check_choice("compensation", self.compensation, COMPENSATIONS)
        require(
            isinstance(self.scale_children_by_parent, bool),
            "HierarchyConfig: scale_children_by_parent must be True or False; got "
            f"{self.scale_children_by_parent!r}.",
        )

    @property
    def branching(self) -> tuple[int, int]:
        """Least and greatest number of children of a parent."""
        factor = self.branching_factor
        if isinstance(factor, tuple):
            require(
                len(factor) == 2,
                f"HierarchyConfig: branching_factor must be a number or (low, high); got {factor}.",
            )
            return factor
        return factor, factor

    def to_json(self) -> dict[str, Any]:
        """SAELens' object, in its order; it has no word for "exact", which reads as true."""
        values = dataclasses.asdict(self)
        values["compensate_probabilities"] = values.pop("compensation") != "none"
        values["scale_children_by_parent"] = values.pop("scale_children_by_parent")
        if isinstance(self.branching_factor, tuple):
            values["branching_factor"] = list(self.branching_factor)
        return values

    @classmethod
    def from_json(cls, value: Any, where: str = "hierarchy") -> HierarchyConfig:
        """The config of SAELens' object; `where` names file and field in an error."""
        require(isinstance(value, dict), f"{where}: expected an object; got {value!r}.")
        options = dict(value)
        if "compensation" in options:
            raise ConfigError(f"{where}: unknown field 'compensation'; it is ours, not SAELens'.")
        compensate = options.pop("compensate_probabilities", False)
        require(
            isinstance(compensate, bool),
            f"{where}: compensate_probabilities must be true or false; got {compensate!r}.",
        )
        factor = options.get("branching_factor")
        if isinstance(factor, list):
            options["branching_factor"] = tuple(factor)
        try:
            return make(cls, {**options, "compensation": "saelens" if compensate else "none"})
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None

    def _whole(self, name: str, value: Any, least: int) -> None:
        require(
            isinstance(value, int) and not isinstance(value, bool) and value >= least,
            f"HierarchyConfig: {name} must be a whole number >= {least}; got {value!r}.",
        )


def grow(config: HierarchyConfig, n_features: int, seed: int | None) -> Nodes:
    """The forest SAELens grows from this config and seed, node for node.

    Features are handed out in breadth-first order until they run out, so a late family can be
    short or missing. `int(portion * eligible)` parents with two children or more, chosen at
    random, get exclusive children. A world of seed s passes s + 3.
    """
    rng = random.Random(seed)
    low, high = config.branching
    parents = [-1] * min(config.total_root_nodes, n_features)
    depths = [0] * len(parents)
    node = 0
    while node < len(parents):
        if depths[node] < config.max_depth:
            # a draw is spent for every parent, also where no features are left
            wanted = low if isinstance(config.branching_factor, int) else rng.randint(low, high)
            count = min(wanted, n_features - len(parents))
            parents += [node] * count
            depths += [depths[node] + 1] * count
        node += 1

    parent, depth = np.array(parents, np.int64), np.array(depths, np.int64)
    n_children = np.bincount(parent[parent >= 0], minlength=len(parent))
    deepest = config.mutually_exclusive_max_depth
    eligible = np.flatnonzero(
        (n_children >= 2)
        & (depth >= config.mutually_exclusive_min_depth)
        & (depth <= (config.max_depth if deepest is None else deepest))
    )
    exclusive = np.zeros(len(parent), bool)
    chosen = int(len(eligible) * config.mutually_exclusive_portion)
    if chosen:
        # Of positions: the words drawn are those that SAELens spends on its list of nodes.
        exclusive[eligible[rng.sample(range(len(eligible)), chosen)]] = True
    return Nodes(
        feature=np.arange(len(parent)),
        parent=parent,
        exclusive=exclusive,
        scaled=config.scale_children_by_parent & (depth < config.max_depth),
    )


def tables(nodes: Nodes, n_features: int) -> Forest:
    """What a sampler reads of these nodes; the order within each table is ascending ids.

    A feature's parent is its nearest ancestor with a feature; whether it is scaled is said by the
    node it hangs from, be that a feature or not. Siblings exclude each other also under a node
    without a feature, and there no parent has to be active for it.
    """
    real = np.flatnonzero(nodes.feature >= 0)
    feature, anchor = nodes.feature[real], nodes.anchors()[real]
    parent = np.full(n_features, -1)
    parent[feature] = anchor
    scaled = np.zeros(n_features + 1, bool)
    hangs_from = nodes.parent[real]
    scaled[feature] = (anchor >= 0) & nodes.scaled[hangs_from] & (hangs_from >= 0)

    group = np.full(n_features + 1, -1)
    for row, members in enumerate(nodes.groups()):
        group[nodes.feature[members]] = row

    heads = np.unique(parent[parent >= 0])
    children_row = np.full(n_features + 1, len(heads))
    children_row[heads] = np.arange(len(heads))
    kids = np.argsort(parent, kind="stable")[(parent < 0).sum() :]  # siblings stand together
    row = children_row[parent[kids]]
    among = np.arange(len(kids)) - np.searchsorted(row, row)
    children = np.full((len(heads) + 1, among.max(initial=-1) + 1), n_features)
    children[row, among] = kids

    tops = np.flatnonzero(parent < 0)
    is_head = children_row[tops] < len(heads)
    return Forest(
        parent=_int32(parent),
        children_row=_int32(children_row),
        children=_int32(children),
        group=_int32(group),
        scaled=jnp.asarray(scaled),
        roots=_int32(tops[is_head]),
        free=_int32(tops[~is_head]),
        node_feature=_int32(nodes.feature),
        node_parent=_int32(nodes.parent),
        node_exclusive=jnp.asarray(nodes.exclusive),
        node_scaled=jnp.asarray(nodes.scaled),
        feature_ids=tuple(sorted(nodes.ids.items())),
        exclusive_tops=bool((group[tops] >= 0).any()),
    )


def nodes_from(forest: Forest) -> Nodes:
    """The nodes that `tables` was given."""
    return Nodes(
        feature=np.asarray(forest.node_feature, np.int64),
        parent=np.asarray(forest.node_parent, np.int64),
        exclusive=np.asarray(forest.node_exclusive),
        scaled=np.asarray(forest.node_scaled),
        ids=dict(forest.feature_ids),
    )


def feature_levels(forest: Forest) -> np.ndarray:
    """How many ancestors with a feature each feature has, int [F]."""
    parent = np.asarray(forest.parent)
    level = np.zeros(len(parent), np.int64)
    above = parent
    while (above >= 0).any():
        level += above >= 0
        above = np.where(above >= 0, parent[above], -1)
    return level


def _int32(values: np.ndarray) -> jnp.ndarray:
    return jnp.asarray(np.asarray(values, np.int32))
