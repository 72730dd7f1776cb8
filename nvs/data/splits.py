"""Which views of a scene are context and which are targets, for training.

The benchmark's own rule (every 8th view a target) is `geometry.scenes.view_selection.holdout_split`.
"""

import numpy as np
from jaxtyping import Float

from geometry.errors import InputError
from geometry.scenes.view_selection import farthest_point_sampling, pose_distances

_MOST = 400  # views considered at once: pairwise distances of more would take a second a sample


def context_and_targets(
    extrinsics: Float[np.ndarray, "V 4 4"],
    context: int,
    targets: int,
    rng: np.random.Generator,
    *,
    extent: tuple[float, float] = (0.2, 1.0),
    far: float = 0.5,
) -> tuple[list[int], list[int]]:
    """Context by farthest-point sampling over a part of the capture, targets near to it and far from it.

    The part is a random view and its nearest ones by `pose_distances`: the capture's whole extent as in
    the benchmark, or a corner of it seen closely. Context views cover it. The rest of it, sorted by
    distance to the nearest context view, is cut in half: targets are drawn from the far half with
    probability ``far``, else from the near half, so that neither repeating the input nor guessing the
    unseen rules the loss.

    Args:
        extrinsics: world-to-camera, of the views to choose from.
        extent: share of the capture that the part has, drawn between these; never fewer views than
            needed.
        far: 0 takes near targets only, 1 far ones only.

    Returns:
        Indices of context views in order of choice, and of targets; disjoint.

    Source: DA3 (arXiv:2511.10647), appendix: context views by farthest-point sampling, as in its test.
    Which targets, and the part, are ours.
    """
    needed = context + targets
    if context < 1 or targets < 1 or len(extrinsics) < needed:
        raise InputError(
            f"expected {context} context and {targets} target views, got {len(extrinsics)} views"
        )
    pool = np.arange(len(extrinsics))
    if len(pool) > max(_MOST, needed):
        pool = np.sort(rng.choice(pool, max(_MOST, needed), replace=False))
    distances = pose_distances(np.asarray(extrinsics)[pool])
    share = rng.uniform(*extent)
    size = min(len(pool), max(needed, round(share * len(pool))))
    anchor = int(rng.integers(len(pool)))
    part = np.argsort(distances[anchor], kind="stable")[:size]
    chosen = farthest_point_sampling(np.asarray(extrinsics)[pool[part]], context)
    context_places = part[chosen]
    rest = np.setdiff1d(part, context_places)
    away = distances[np.ix_(rest, context_places)].min(axis=1)
    rest = rest[np.argsort(away, kind="stable")]
    halves = [list(rest[: (len(rest) + 1) // 2]), list(rest[(len(rest) + 1) // 2 :])]
    target_places = []
    for _ in range(targets):
        half = halves[int(rng.random() < far)] or halves[0] or halves[1]
        target_places.append(half.pop(int(rng.integers(len(half)))))
    return pool[context_places].tolist(), pool[target_places].tolist()
