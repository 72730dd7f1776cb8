"""Point clouds against each other: accuracy, completeness, F-score."""

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

Cloud = Float[np.ndarray, "_ 3"]


def point_cloud_metrics(pred: Cloud, truth: Cloud, threshold: float) -> dict[str, float]:
    """Distances to nearest neighbours and the share of them below a threshold.

    ``acc``, ``comp`` and ``overall`` (their mean) are mean distances, prediction to truth and back;
    ``precision`` and ``recall`` are shares strictly below ``threshold``, ``fscore`` their harmonic mean.
    An empty cloud on either side has infinite distances and zero shares.

    Args:
        pred: in the world and units of ``truth``; both thinned beforehand if the protocol says so
            (`voxel_downsample`), since dense places weigh more.
        threshold: in those units.

    Source: Knapitsch et al. 2017 (Tanks and Temples); definitions as in DA3's released evaluation.
    """
    to_truth = to_pred = np.array([np.inf])
    if len(pred) and len(truth):
        to_truth, _ = cKDTree(truth).query(pred, workers=-1)
        to_pred, _ = cKDTree(pred).query(truth, workers=-1)
    acc, comp = float(to_truth.mean()), float(to_pred.mean())
    precision, recall = float((to_truth < threshold).mean()), float((to_pred < threshold).mean())
    both = precision + recall
    return {
        "acc": acc,
        "comp": comp,
        "overall": (acc + comp) / 2,
        "precision": precision,
        "recall": recall,
        "fscore": 2 * precision * recall / both if both > 0 else 0.0,
    }


def voxel_downsample(points: Cloud, voxel: float) -> Float[np.ndarray, "M 3"]:
    """One point per occupied cube of a grid of side ``voxel``: the mean of the points in it."""
    if len(points) == 0:
        return points
    origin = points.min(axis=0) - voxel / 2
    cells = np.floor((points - origin) / voxel)
    extent = cells.max(axis=0) + 1
    axis: int | None = 0
    if np.prod(extent) <= 2**62:  # one number per cell sorts much faster than rows of three
        whole = cells.astype(np.int64).T
        cells, axis = np.ravel_multi_index(tuple(whole), tuple(extent.astype(np.int64))), None
    _, index, count = np.unique(cells, axis=axis, return_inverse=True, return_counts=True)
    sums = [np.bincount(index.ravel(), weights=points[:, k]) for k in range(3)]
    return (np.stack(sums, axis=1) / count[:, None]).astype(points.dtype)
