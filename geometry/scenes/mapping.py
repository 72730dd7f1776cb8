"""Incremental mapping by COLMAP from matches that are there: the best of several beginnings.

How far mapping gets, and in which minimum the adjustment ends, depends on the two photos that it begins with:
cameras of one capture were right to a degree or wrong by tens, from equally many points. The wrong ones left
larger errors. So there are two beginnings at once, and two more where those disagree.

Source: Schönberger and Frahm 2016 (COLMAP).
"""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch

# Degrees between the views of the first points, at least. COLMAP's own 16 is safer; walks along a street have
# less.
_ANGLES = 16.0, 8.0
_EQUAL = 0.1  # relative difference of the errors of two models that are the same
# Points at least by which a photo is placed: COLMAP's 30 lose the ends of sparse captures. Then it has to see
# some more: photos that were placed wrongly saw 8 to 29, the others 38 and more.
_INLIERS, _SEEN = 20, 30
# Of many photos, by how much a model grows until all of it is adjusted again, and the relative gain of a step
# below which an adjustment ends. COLMAP's 1.1 and 0 take a third and a fifth more time, to the same cameras.
_MANY, _GROWTH, _GAIN = 30, 1.3, 1e-5


def best_model(database: Path, photos: Path, *, count: int, exact: set[int], seed: int) -> Any | None:
    """The reconstruction with most photos, of these the one with the smallest errors; None if there is none.

    Args:
        database: matches, verified.
        count: photos in it.
        exact: numbers of cameras that are known.
        seed: of every random choice.
    """
    run = partial(_largest, database, photos, count=count, exact=exact)
    models: list[Any | None] = []
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        for s in (seed, seed + 1):
            models += threads.map(partial(run, seed=s), _ANGLES)
            if _agree(models):
                break
    return min((model for model in models if model is not None), key=_worth, default=None)


def _worth(model: Any) -> tuple[int, float]:
    """The smaller the better."""
    return -model.num_reg_frames(), model.compute_mean_reprojection_error()


def _agree(models: Sequence[Any | None]) -> bool:
    found = [_worth(model) for model in models if model is not None]
    if len(found) < len(models):
        return not found
    numbers, errors = zip(*found)
    return len(set(numbers)) == 1 and max(errors) <= (1 + _EQUAL) * min(errors)


def _largest(
    database: Path, photos: Path, angle: float, *, count: int, exact: set[int], seed: int
) -> Any | None:
    """The largest of the unconnected models from one beginning, of two photos at least; None without one."""
    import pycolmap

    # One thread: sums of several come out in any order.
    options = pycolmap.IncrementalPipelineOptions(num_threads=1, random_seed=seed, extract_colors=False)
    # A pair is worth keeping only where two photos are all there is.
    options.min_model_size = min(3, count)
    options.constant_cameras = exact
    options.mapper.random_seed = options.triangulation.random_seed = seed
    options.mapper.num_threads = 1
    # COLMAP does not start from photos taken walking ahead, nor from less than 100 matches.
    options.mapper.init_max_forward_motion, options.mapper.init_min_num_inliers = 1.0, 50
    options.mapper.init_min_tri_angle, options.mapper.abs_pose_min_num_inliers = angle, _INLIERS
    if count > _MANY:
        options.ba_global_frames_ratio = options.ba_global_points_ratio = _GROWTH
        options.ba_global_function_tolerance = options.ba_local_function_tolerance = _GAIN
    pycolmap.set_random_seed(seed)
    folder = database.with_name(f"models-{seed}-{angle:g}")
    folder.mkdir()
    # A copy of its own: COLMAP fails where two open one database at the same moment.
    own = shutil.copyfile(database, folder.with_suffix(".db"))
    found = list(pycolmap.incremental_mapping(own, photos, folder, options).values())
    own.unlink()  # hundreds of megabytes where photos are many
    for model in found:
        for image in list(model.images.values()) if count > 2 else []:
            if image.has_pose and image.num_points3D < _SEEN:
                model.deregister_frame(image.frame_id)
    found = [model for model in found if model.num_reg_frames() > 1]
    return max(found, key=lambda m: (m.num_reg_frames(), m.num_points3D()), default=None)
