"""Miniature captures with exact cameras, written in each benchmark's own layout."""

import importlib.util
import json
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from geometry.formats import colmap

# The room of the readers' tests: textured walls, exact cameras.
_ROOM = Path(__file__).parents[1] / "geometry/datasets/miniature.py"
if "miniature" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("miniature", _ROOM)
    sys.modules["miniature"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["miniature"])
miniature = sys.modules["miniature"]

SIZE = (36, 64)  # the shape of 270 x 480


def make_views(count=10, size=SIZE, seed=0):
    """Views from inside the room along an arc, looking about along +z."""
    rng = np.random.default_rng(seed)
    H, W = size
    K = np.array([[0.9 * W, 0, 0.51 * W], [0, 0.9 * W, 0.48 * H], [0, 0, 1]])
    views = []
    for at in np.linspace(-1, 1, count):
        angles = np.array([0.05 * at, -0.25 * at, 0.02]) + rng.uniform(-0.03, 0.03, 3)
        centre = np.array([1.2 * at, 0.3 * at**2, -1.5]) + rng.uniform(-0.05, 0.05, 3)
        E = np.eye(4)
        E[:3, :3] = cv2.Rodrigues(angles)[0]
        E[:3, 3] = -E[:3, :3] @ centre
        views.append(miniature.render(E, K, size))
    return views


def names_of(count):
    """Without leading zeros, so that natural order is not the order of letters."""
    return [f"frame_{i + 1}.png" for i in range(count)]


def write_photos(folder, views, names=None):
    folder.mkdir(parents=True, exist_ok=True)
    for name, view in zip(names or names_of(len(views)), views):
        Image.fromarray(view.image).save(folder / name)


def write_transforms(path, views, prefix="images/", full=1, names=None):
    """nerfstudio's file: OpenGL, camera-to-world; sizes of a resolution ``full`` times that of the photos."""
    H, W = views[0].image.shape[:2]
    K = views[0].intrinsics * full
    keys = {"fl_x": K[0, 0], "fl_y": K[1, 1], "cx": K[0, 2], "cy": K[1, 2], "w": W * full, "h": H * full}
    frames = [
        {"file_path": f"{prefix}{name}", "transform_matrix": view.opengl.tolist()}
        for name, view in zip(names or names_of(len(views)), views)
    ]
    path.write_text(json.dumps({**keys, "camera_model": "OPENCV", "frames": frames[::-1]}))


def write_capture(folder, views):
    """A person's own folder: photos in images/, transforms.json beside it."""
    write_photos(folder / "images", views)
    write_transforms(folder / "transforms.json", views)
    return folder


def write_dl3dv(root, scene, views):
    """A scene of DL3DV-Benchmark: <hash>/nerfstudio/{transforms.json, images_8}; full-size cameras."""
    folder = root / scene / "nerfstudio"
    write_photos(folder / "images_8", views)
    write_transforms(folder / "transforms.json", views, full=8)


def write_colmap(scene_folder, views, model="sparse/0"):
    """images/ and a COLMAP model of PINHOLE cameras: Tanks and Temples, and undistorted MegaDepth."""
    write_photos(scene_folder / "images", views)
    built = colmap.model_from_cameras(
        names_of(len(views)),
        np.stack([view.extrinsics for view in views]),
        np.stack([view.intrinsics for view in views]),
        [view.image.shape[:2] for view in views],
    )
    colmap.write_model(scene_folder / model, built)
