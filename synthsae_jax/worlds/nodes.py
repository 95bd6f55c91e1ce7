"""A hierarchy as it is written down: trees of nodes, kept flat in breadth-first order.

`parse` reads SAELens' hierarchy JSON, `write` gives it back, `from_parents` takes the short form.
What a hierarchy means for sampling is in `forest`.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import Any

import numpy as np

from synthsae_jax.errors import ConfigError, require, unknown_name

_KEYS = (
    "feature_index",
    "mutually_exclusive_children",
    "scale_children_by_parent",
    "feature_id",
    "children",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Nodes:
    """N nodes in breadth-first order; the roots come first, siblings keep their order.

    A node without a feature organises its children and does nothing else. `exclusive`: of a node's
    children with a feature at most one is active. `scaled`: the magnitude of the children is
    multiplied by their parent's, over its mean.
    """

    feature: np.ndarray  # int [N], -1: none
    parent: np.ndarray  # int [N]: index of a node, -1: a root
    exclusive: np.ndarray  # bool [N]
    scaled: np.ndarray  # bool [N]
    ids: dict[int, str] = dataclasses.field(default_factory=dict)  # node -> its feature_id

    def __len__(self) -> int:
        return len(self.feature)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Nodes):
            return NotImplemented
        names = ("feature", "parent", "exclusive", "scaled")
        same = all(np.array_equal(getattr(self, n), getattr(other, n)) for n in names)
        return same and self.ids == other.ids

    def anchors(self) -> np.ndarray:
        """Feature of each node's nearest ancestor that has one, int [N], -1 where there is none."""
        anchor = np.full(len(self), -1)
        for node, parent in enumerate(self.parent):
            if parent >= 0:
                feature = self.feature[parent]
                anchor[node] = feature if feature >= 0 else anchor[parent]
        return anchor

    def groups(self) -> list[np.ndarray]:
        """Nodes of each mutual-exclusion group: two or more siblings with a feature."""
        child = np.flatnonzero((self.parent >= 0) & (self.feature >= 0))
        child = child[self.exclusive[self.parent[child]]]
        # breadth first means that siblings stand together
        starts = np.flatnonzero(np.diff(self.parent[child])) + 1
        return [group for group in np.split(child, starts) if len(group) >= 2]


def empty() -> Nodes:
    """No nodes: every feature is free."""
    return _flat([])


def node(
    feature: int | None, *children: dict, exclusive: bool = False, scaled: bool = False
) -> dict[str, Any]:
    """One node of a hierarchy by hand, as `parse` and `make_world` read it."""
    return dict(zip(_KEYS, (feature, exclusive, scaled, None, list(children))))


def parse(trees: Any, n_features: int, where: str = "hierarchy") -> Nodes:
    """Nodes of SAELens' hierarchy JSON, `{"roots": [...]}` or the list of roots alone.

    Raises `ConfigError`, with `where` and the path of the node, for a feature index out of range
    or given twice, a node with two parents, a loop, or exclusion among fewer than two children.
    """
    if isinstance(trees, dict):
        require("roots" in trees, f"{where}: expected an object with the key 'roots'.")
        trees = trees["roots"]
    _check_list(trees, f"{where}: roots")
    places: list[tuple[int, int]] = []  # of each node: its parent node, its index among siblings
    rows: list[tuple] = []
    seen: dict[int, int] = {}
    owner: dict[int, int] = {}

    def path(node: int) -> str:
        parent, index = places[node]
        steps = [index]
        while parent >= 0:
            parent, index = places[parent]
            steps.append(index)
        first, *rest = reversed(steps)
        return f"{where}: roots[{first}]" + "".join(f".children[{i}]" for i in rest)

    def fail(node: int, why: str) -> ConfigError:
        return ConfigError(f"{path(node)}: {why}")

    queue = deque((tree, -1, i) for i, tree in enumerate(trees))
    while queue:
        item, parent, index = queue.popleft()
        current = len(places)
        places.append((parent, index))
        if not isinstance(item, dict):
            raise fail(current, f"expected a node (an object); got a {type(item).__name__}.")
        if id(item) in seen:
            twin = seen[id(item)]
            while parent >= 0:
                if parent == twin:
                    raise fail(current, "a loop; this node is its own ancestor.")
                parent = places[parent][0]
            raise fail(current, f"a node has one parent, but this one is also {path(twin)}.")
        seen[id(item)] = current
        try:
            feature, exclusive, scaled, name, children = _read(item)
        except ConfigError as error:
            raise fail(current, str(error)) from None
        if feature is not None and not 0 <= feature < n_features:
            raise fail(current, f"feature_index must lie in 0..{n_features - 1}; got {feature}.")
        if feature is not None and owner.setdefault(feature, current) != current:
            raise fail(current, f"feature {feature} is already {path(owner[feature])}.")
        queue.extend((child, current, i) for i, child in enumerate(children))
        rows.append((feature, parent, exclusive, scaled, name))
    return _flat(rows)


def write(nodes: Nodes) -> dict[str, Any]:
    """SAELens' hierarchy JSON, keys in its order: `{"roots": [...]}`."""
    items: list[dict[str, Any]] = []
    roots: list[dict[str, Any]] = []
    for i in range(len(nodes)):
        feature = int(nodes.feature[i])
        values = (
            feature if feature >= 0 else None,
            bool(nodes.exclusive[i]),
            bool(nodes.scaled[i]),
            nodes.ids.get(i),
            [],
        )
        items.append(dict(zip(_KEYS, values)))
        parent = int(nodes.parent[i])
        (roots if parent < 0 else items[parent]["children"]).append(items[i])
    return {"roots": roots}


def from_parents(
    parent: Any, exclusive: bool | np.ndarray = False, scaled: bool | np.ndarray = False
) -> Nodes:
    """Nodes from each feature's parent, int [F], -1 where it has none.

    `exclusive` and `scaled` are for all parents, or bool [F] with an entry for each feature as a
    parent. Exclusion needs two children and is left out elsewhere. A feature with neither parent
    nor children becomes no node: it is free.
    """
    parent = np.asarray(parent)
    require(
        parent.ndim == 1 and np.issubdtype(parent.dtype, np.integer),
        f"hierarchy: parents must be integers [F], -1 for none; got {parent.dtype} "
        f"{list(parent.shape)}.",
    )
    n = len(parent)
    bad = np.flatnonzero((parent < -1) | (parent >= n))
    require(
        bad.size == 0,
        f"hierarchy: a parent must be -1 or in 0..{n - 1}; got "
        f"{', '.join(f'parent[{i}]={parent[i]}' for i in bad[:3])}.",
    )
    exclusive, scaled = (
        _per_feature(value, n, name)
        for value, name in ((exclusive, "exclusive"), (scaled, "scaled"))
    )
    n_children = np.bincount(parent[parent >= 0], minlength=n)
    order = [int(i) for i in np.flatnonzero((parent == -1) & (n_children > 0))]
    by_parent = np.argsort(parent, kind="stable")
    first = np.searchsorted(parent[by_parent], np.arange(n))
    row_of = np.full(n, -1)
    rows = []
    for i in order:  # grows while it is read: a queue
        row_of[i] = len(rows)
        is_exclusive = bool(exclusive[i]) and n_children[i] >= 2
        above = row_of[parent[i]] if parent[i] >= 0 else -1
        rows.append((i, above, is_exclusive, bool(scaled[i]) and n_children[i] > 0, None))
        order.extend(int(c) for c in by_parent[first[i] : first[i] + n_children[i]])
    lost = np.flatnonzero((row_of < 0) & (parent >= 0))
    require(lost.size == 0, f"hierarchy: a loop; feature {lost[:1]} is its own ancestor.")
    return _flat(rows)


def _flat(rows: list[tuple]) -> Nodes:
    """Nodes of (feature or None, parent node, exclusive, scaled, id or None) rows."""
    feature, parent, exclusive, scaled, names = zip(*rows) if rows else ((),) * 5
    return Nodes(
        feature=np.array([-1 if f is None else f for f in feature], np.int64),
        parent=np.array(parent, np.int64),
        exclusive=np.array(exclusive, bool),
        scaled=np.array(scaled, bool),
        ids={i: name for i, name in enumerate(names) if name is not None},
    )


def _read(item: dict[str, Any]) -> tuple:
    """The fields of one node in the order of `_KEYS`, checked."""
    for key in item:
        if key not in _KEYS:
            raise unknown_name("key", key, _KEYS)
    feature, exclusive, scaled, name, children = (
        item.get(key, default) for key, default in zip(_KEYS, (None, False, False, None, []))
    )
    whole = isinstance(feature, int | np.integer) and not isinstance(feature, bool)
    require(
        feature is None or whole,
        f"feature_index must be a whole number or null; got {feature!r}.",
    )
    for key, value in ((_KEYS[1], exclusive), (_KEYS[2], scaled)):
        require(isinstance(value, bool), f"{key} must be true or false; got {value!r}.")
    require(
        name is None or isinstance(name, str),
        f"feature_id must be a string or null; got {name!r}.",
    )
    _check_list(children, "children")
    require(
        not exclusive or len(children) >= 2,
        f"mutually_exclusive_children needs two or more children; got {len(children)}.",
    )
    return feature, exclusive, scaled, name, children


def _check_list(value: Any, what: str) -> None:
    # the type alone: the text of a deep tree is long, or endless
    require(
        isinstance(value, list | tuple),
        f"{what} must be a list of nodes; got a {type(value).__name__}.",
    )


def _per_feature(value: Any, n: int, name: str) -> np.ndarray:
    array = np.asarray(value)
    require(
        array.dtype == bool and array.shape in ((), (n,)),
        f"hierarchy: {name} must be true, false or bool [{n}]; got {array.dtype} "
        f"{list(array.shape)}.",
    )
    return np.broadcast_to(array, (n,))
