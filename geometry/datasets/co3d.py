"""CO3D v2: turntable videos of objects with COLMAP poses and depth.

``<category>/{frame_annotations.jgz, sequence_annotations.jgz, <sequence>/{images, depths, depth_masks,
masks}}``; a ``.jgz`` is a gzipped JSON list. Paths in it are relative to the data set's root.

- Camera: PyTorch3D's. Row vectors, X_cam = X_world R + T, x left, y up, z forward: OpenCV's
  world-to-camera is diag(-1, -1, 1) R^T and diag(-1, -1, 1) T. Intrinsics are in normalised device
  coordinates whose borders are the image's borders, x to the left: ``ndc_isotropic`` has unit
  min(W, H) / 2 on both axes, ``ndc_norm_image_bounds`` W / 2 and H / 2.
- Depth: a 16-bit PNG whose bits are a float16, times ``scale_adjustment``; 0 in ``depth_masks`` is
  unusable. ``masks`` hold the foreground object. Scale is arbitrary per sequence.

A category's annotations take a while to parse; ``geometry data prepare co3d`` cuts them into one small file
per sequence, which this reader prefers.

Source: facebookresearch/co3d ``co3d/dataset/data_types.py`` and README; PyTorch3D's camera notes. Not yet
seen on a real file.
"""

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from geometry.datasets.sources import DataSet, rigid, stored_frame
from geometry.errors import InputError, reading
from geometry.formats.images import read_map
from geometry.formats.text import read_json
from geometry.scenes.scene import Frame, Scene

INDEX_FOLDER = "_sequences"  # where `geometry data prepare co3d` puts its files by default
_PREPARED = "a file of geometry data prepare co3d"
_TO_OPENCV = np.diag([-1.0, -1.0, 1.0])


@dataclass(eq=False, kw_only=True)
class CO3D(DataSet):
    """Sequences of CO3D v2; scene names are ``<category>/<sequence>``.

    Args:
        root: folder of the categories.
        index: folder that `geometry data prepare co3d` wrote; None takes ``_sequences`` in the root, or
            without it the annotations themselves.
        categories: names to take; None takes all.
        least_quality: leave out sequences whose camera quality score is lower, or absent; None keeps all.
            The set says only that more is better; public loaders take 0.5.
    """

    holds = "CO3D sequences (<category>/frame_annotations.jgz)"
    index: str | Path | None = None
    categories: Sequence[str] | None = None
    least_quality: float | None = None

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether a sub-folder has CO3D's annotations."""
        return any(root.glob("*/frame_annotations.jgz"))

    def _list(self) -> dict[str, Path]:
        index = self.base / INDEX_FOLDER if self.index is None else Path(self.index).expanduser()
        self.prepared = index if index.is_dir() else None
        categories = self.categories
        if categories is None:
            categories = [p.parent.name for p in sorted(self.base.glob("*/frame_annotations.jgz"))]
        found = {}
        for category in categories:
            if self.prepared is not None:
                scores = read_json(self.prepared / f"{category}.json", _PREPARED)
            else:
                scores = read_qualities(self.base / category / "sequence_annotations.jgz")
            for sequence, score in sorted(scores.items()):
                if self.least_quality is None or (score is not None and score >= self.least_quality):
                    found[f"{category}/{sequence}"] = self.base / category
        return found

    def _read(self, name: str, place: Path) -> Scene:
        category, sequence = name.split("/", 1)
        if self.prepared is not None:
            path = self.prepared / category / f"{sequence}.json"
            entries = read_json(path, _PREPARED)
        else:
            path = place / "frame_annotations.jgz"
            entries = read_frames(path).get(sequence, [])
        posed = (entry for entry in entries if entry.get("viewpoint") is not None)
        frames = [self._frame(entry, path) for entry in sorted(posed, key=lambda e: e["frame_number"])]
        return Scene(name=name, frames=tuple(frames), source=str(path), folder=place)

    def _frame(self, entry: Mapping, path: Path) -> Frame:
        with reading(f"{path}, frame {entry.get('frame_number')}", "CO3D's annotation"):
            image, viewpoint = entry["image"], entry["viewpoint"]
            name, size = image["path"], (int(image["size"][0]), int(image["size"][1]))
            R = np.asarray(viewpoint["R"], dtype=np.float64).reshape(3, 3)
            T = np.asarray(viewpoint["T"], dtype=np.float64).reshape(3)
            K = intrinsics_from_ndc(
                viewpoint["focal_length"],
                viewpoint["principal_point"],
                viewpoint.get("intrinsics_format", "ndc_norm_image_bounds"),
                size,
            )
            depth, mask = entry.get("depth"), entry.get("mask")
            if depth is not None:
                usable = None if depth.get("mask_path") is None else self.base / depth["mask_path"]
                scale = float(depth["scale_adjustment"])
                depth = partial(read_co3d_depth, self.base / depth["path"], scale, usable)
        return stored_frame(
            self.base / name,
            rigid(_TO_OPENCV @ R.T, _TO_OPENCV @ T, f"{path}, frame {name}"),
            K,
            image_size=size,
            name=name,
            depth=depth,
            objects=None if mask is None else partial(read_mask, self.base / mask["path"]),
        )


def intrinsics_from_ndc(
    focal: Sequence[float], principal: Sequence[float], form: str, image_size: tuple[int, int]
) -> Float[np.ndarray, "3 3"]:
    """Pixel intrinsics, first pixel centre at (0.5, 0.5), from PyTorch3D's normalised ones."""
    H, W = image_size
    units = {"ndc_isotropic": (min(W, H) / 2, min(W, H) / 2), "ndc_norm_image_bounds": (W / 2, H / 2)}
    if form.lower() not in units:
        raise ValueError(f"unknown intrinsics_format {form!r}")
    x, y = units[form.lower()]
    return np.array(
        [[focal[0] * x, 0, W / 2 - principal[0] * x], [0, focal[1] * y, H / 2 - principal[1] * y], [0, 0, 1]]
    )


def read_co3d_depth(path: Path, scale: float, mask: Path | None) -> Float[np.ndarray, "H W"]:
    """z-depth: the PNG's 16 bits read as float16, times ``scale``; 0 where the mask is 0."""
    stored = read_map(path)
    if stored.dtype.itemsize != 2 and stored.dtype.kind not in "iu":
        raise InputError(f"{path}: expected a 16-bit PNG, got {stored.dtype}")
    depth = stored.astype(np.uint16).view(np.float16).astype(np.float32) * np.float32(scale)
    if mask is not None:
        usable = read_map(mask) > 0
        if usable.shape != depth.shape:
            raise InputError(f"{mask}: expected the depth's size {depth.shape}, got {usable.shape}")
        depth[~usable] = 0
    return depth


def read_mask(path: Path) -> Bool[np.ndarray, "H W"]:
    """Foreground where the 8-bit probability is above one half."""
    return read_map(path) > 127


@lru_cache(maxsize=1)  # a large category takes seconds to parse
def read_frames(path: Path) -> dict[str, list[dict]]:
    """Sequence -> frame annotations of a category."""
    frames: dict[str, list[dict]] = {}
    for entry in _read_jgz(path):
        frames.setdefault(entry["sequence_name"], []).append(entry)
    return frames


def read_qualities(path: Path) -> dict[str, float | None]:
    """Sequence -> camera quality score of a category, None where there is none."""
    return {e["sequence_name"]: e.get("viewpoint_quality_score") for e in _read_jgz(path)}


def _read_jgz(path: Path) -> list[dict]:
    with reading(path, "gzipped JSON"), gzip.open(path, "rt", encoding="utf-8") as file:
        content = json.load(file)
    if not isinstance(content, list) or not all(
        isinstance(e, dict) and "sequence_name" in e for e in content
    ):
        raise InputError(f"{path}: expected a list of annotations with sequence_name")
    return content
