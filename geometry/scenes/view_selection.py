"""Which photos the network sees and which it is scored on. Pure functions, deterministic."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float

from geometry.errors import InputError
from geometry.ops import rotations, se3


def pose_distances(extrinsics: Float[np.ndarray, "V 4 4"]) -> Float[np.ndarray, "V V"]:
    """Pairwise distance of views: centre distance over the largest of them, plus rotation angle over pi.

    Both terms lie in 0..1 and the scale of the world cancels. If all centres coincide (a panorama)
    only the angle counts.
    """
    row = _distances_from(extrinsics)
    return np.stack([row(view) for view in range(len(extrinsics))])


def _distances_from(extrinsics: Float[np.ndarray, "V 4 4"]) -> Callable[[int], Float[np.ndarray, " V"]]:
    """Rows of `pose_distances`: of thousands of views all of it would be too much for memory."""
    poses = torch.from_numpy(np.asarray(extrinsics, dtype=np.float64))
    centres, rotation = se3.centres(poses), poses[:, :3, :3]

    def shift(view: int) -> torch.Tensor:
        return torch.linalg.vector_norm(centres[view] - centres, dim=-1)

    largest = max(shift(view).max() for view in range(len(poses)))

    def row(view: int) -> Float[np.ndarray, " V"]:
        far = shift(view) / largest if largest > 0 else shift(view)
        return (
            far + rotations.angle_between(rotation[view].expand_as(rotation), rotation) / torch.pi
        ).numpy()

    return row


def farthest_point_sampling(
    extrinsics: Float[np.ndarray, "V 4 4"], count: int, candidates: Sequence[int] | None = None
) -> list[int]:
    """Views that cover the capture: each next one is farthest from those chosen, by `pose_distances`.

    It starts at the candidate whose centre is nearest the candidates' mean centre; ties go to the lower
    index.

    Args:
        extrinsics: world-to-camera.
        candidates: indices to choose from, all if None; returned whole if no more than ``count``.

    Returns:
        Indices in order of choice, not of capture.
    """
    candidates = np.arange(len(extrinsics)) if candidates is None else np.asarray(candidates, dtype=np.int64)
    if count < 1 or len(candidates) == 0:
        raise InputError(f"expected at least one view, got {count} of {len(candidates)}")
    poses = np.asarray(extrinsics, dtype=np.float64)[candidates]
    centres = se3.centres(torch.from_numpy(poses)).numpy()
    distances = _distances_from(poses)
    chosen = [int(np.argmin(np.linalg.norm(centres - centres.mean(axis=0), axis=1)))]
    nearest = distances(chosen[0])
    while len(chosen) < min(count, len(candidates)):
        nearest[chosen] = -1.0  # a repeated pose may be chosen, a chosen view may not
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, distances(chosen[-1]))
    return [int(candidates[i]) for i in chosen]


def evenly_spaced(total: int, count: int) -> list[int]:
    """``count`` of ``total`` indices (or all), evenly spread with both ends; one alone is the middle one."""
    if count < 1 or total < 1:
        raise InputError(f"expected at least one view, got {count} of {total}")
    if count >= total:
        return list(range(total))
    if count == 1:
        return [total // 2]
    # Integer arithmetic, rounding half up: the same list on every machine.
    return [(2 * i * (total - 1) + count - 1) // (2 * (count - 1)) for i in range(count)]


def holdout_split(total: int, every: int = 8) -> tuple[list[int], list[int]]:
    """Indices (context, target): targets are 0, ``every``, 2 * ``every``, ...

    Raises:
        InputError: ``every`` leaves no context view.
    """
    if every < 2 or total < 2:
        raise InputError(
            f"hold-out: expected at least 2 photos and every 2nd or rarer, got every {every} of {total}"
        )
    targets = list(range(0, total, every))
    return [i for i in range(total) if i % every], targets


def select_views(
    extrinsics: Float[np.ndarray, "V 4 4"] | None,
    total: int,
    count: int,
    candidates: Sequence[int] | None = None,
) -> list[int]:
    """``count`` context views in capture order: farthest-point sampling with poses, evenly without."""
    candidates = list(range(total)) if candidates is None else list(candidates)
    if extrinsics is None:
        return [candidates[i] for i in evenly_spaced(len(candidates), count)]
    return sorted(farthest_point_sampling(extrinsics, count, candidates))
