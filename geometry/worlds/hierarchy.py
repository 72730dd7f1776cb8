"""Bounding volume hierarchy over primitives, built by splitting at the median of the widest axis."""

import numpy as np
from jaxtyping import Float, Int


def build_hierarchy(
    boxes: Float[np.ndarray, "N 6"],
) -> tuple[Float[np.ndarray, "nodes 6"], Int[np.ndarray, "nodes 2"]]:
    """Node boxes and children of a binary tree with one primitive per leaf; node 0 is the root.

    Children are (left, right), or (-1 - primitive, 0) at a leaf. Very large primitives (ground, walls) are
    split off near the root, so that the boxes of the small ones stay tight.
    """
    node_box: list[np.ndarray] = []
    node_child: list[tuple[int, int]] = []

    def build(members: np.ndarray) -> int:
        node = len(node_box)
        node_box.append(np.concatenate((boxes[members, :3].min(0), boxes[members, 3:].max(0))))
        node_child.append((-1 - int(members[0]), 0))
        if len(members) > 1:
            extent = (boxes[members, 3:] - boxes[members, :3]).max(1)
            whole = (node_box[node][3:] - node_box[node][:3]).max()
            large = extent > 0.5 * whole
            if large.any() and not large.all():
                halves = members[large], members[~large]
            else:
                middle = boxes[members, :3] + boxes[members, 3:]
                axis = int(np.argmax(middle.max(0) - middle.min(0)))
                order = members[np.argsort(middle[:, axis], kind="stable")]
                halves = order[: len(order) // 2], order[len(order) // 2 :]
            node_child[node] = (build(halves[0]), build(halves[1]))
        return node

    build(np.arange(len(boxes)))
    return np.stack(node_box).astype(np.float32), np.asarray(node_child, np.int32)
