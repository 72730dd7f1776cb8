"""What a geometry network made of some photos, and the files that it is written into."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from geometry.console import say
from geometry.errors import InputError
from geometry.formats import colmap
from geometry.formats.glb import write_glb
from geometry.formats.ply import write_points
from geometry.ops.pinhole import unproject
from geometry.ops.sky import SKY_THRESHOLD
from geometry.prediction import Geometry
from geometry.results import INFERRED, file_names, require_results, result_folder
from geometry.sampling.preprocess import PixelMap
from geometry.scenes import transforms_json
from geometry.verdict import Verdict
from geometry.views import Cameras, Views
from geometry.visualize import colour_confidence, colour_depth, to_bytes, write_image

MAX_POINTS = 1_000_000  # of a cloud
_CONSIDERED = 20_000_000  # pixels that are looked at: of very many photos every second, third, ... one
COLMAP_POINTS = 100_000  # tools read this file point by point


@dataclass(frozen=True)
class PointCloud:
    """Points of one scene in its world, with sRGB colours and the view that each came from."""

    points: Float[np.ndarray, "N 3"]
    colours: UInt8[np.ndarray, "N 3"]
    view: Int[np.ndarray, " N"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Prediction:
    """Depth, cameras and points of one scene's photos, at the size at which the network saw them.

    The world is that of the given cameras where the photos had some, else the reference photo's axes at its
    place (x right, y down, z forward); ``about["world"]`` says which.
    """

    geometry: Geometry  # the network's record, batch of one
    views: Views  # the photos as the network saw them, batch of one
    maps: tuple[PixelMap, ...]  # how their pixels lie in the photos
    names: tuple[str, ...]  # of the photos
    metric: bool  # depth and cameras are in metres
    verdict: Verdict = field(default_factory=Verdict)  # whether to trust it
    about: Mapping[str, object] = field(default_factory=dict)  # model, weights, licence, world, ...
    sources: tuple[Path, ...] = ()  # files of the photos: no place for results

    def __repr__(self) -> str:
        (H, W), poses = self.image_size, self.about.get("poses", "unknown")
        return f"Prediction({len(self.names)} photos at {H} x {W}, poses: {poses}, metric: {self.metric})"

    @property
    def depth(self) -> Float[Tensor, "V H W"]:
        """z-depth, in metres where ``metric``, else in the units of the cameras."""
        return self.geometry.depth[0]

    @property
    def confidence(self) -> Float[Tensor, "V H W"] | None:
        """Of the depth, 1 and more; None from models that give none."""
        return None if self.geometry.depth_conf is None else self.geometry.depth_conf[0]

    @property
    def sky(self) -> Float[Tensor, "V H W"] | None:
        """About 1 on sky, about 0 elsewhere; None from models that give none."""
        return None if self.geometry.sky is None else self.geometry.sky[0]

    @property
    def cameras(self) -> Cameras | None:
        """Of the photos [1, V, ...], for images of ``image_size``; monocular models place none: None."""
        return self.geometry.cameras

    @property
    def images(self) -> Float[Tensor, "V 3 H W"]:
        """sRGB in 0..1."""
        return self.views.images[0]

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) of everything here."""
        return self.views.image_size

    def points(
        self, conf_percentile: float = 40.0, *, max_points: int = MAX_POINTS, seed: int = 0
    ) -> PointCloud:
        """Coloured points in the world: pixels at their depth, without what is masked, sky, the least sure.

        Args:
            conf_percentile: share of pixels, in percent, that is left out.
            max_points: a random subset of at most this many is kept, drawn by ``seed``.

        Raises:
            InputError: there are no cameras.
        """
        if self.cameras is None:
            raise InputError(f"points: expected cameras, {self.about.get('model', 'the model')} places none")
        some = slice(None, None, math.ceil(self.depth.numel() / _CONSIDERED))  # of each view's pixels

        def considered(maps: Tensor) -> Tensor:
            return torch.stack([values.flatten()[some] for values in maps])

        depth = considered(self.depth)
        keep = torch.isfinite(depth) & (depth > 0)
        if self.views.mask is not None:
            keep &= considered(self.views.mask[0])
        if self.sky is not None:
            keep &= considered(self.sky) < SKY_THRESHOLD
        if self.confidence is not None and keep.any():
            confidence = considered(self.confidence)
            least = np.percentile(confidence[keep].float().cpu().numpy(), conf_percentile)
            keep &= confidence >= float(least)
        index = keep.flatten().nonzero()[:, 0]
        if len(index) > max_points:
            order = torch.randperm(len(index), generator=torch.Generator().manual_seed(seed))
            index = index[order[:max_points].sort().values.to(index.device)]
        view, pixel = index // keep.shape[1], index % keep.shape[1] * (some.step or 1)
        points, colours = torch.empty(len(index), 3), torch.empty(len(index), 3)
        for v in view.unique().tolist():
            rows, one = view == v, slice(v, v + 1)
            mine = pixel[rows]
            world = unproject(self.geometry.depth[:, one], self.cameras[:, one]).flatten(0, 3)
            points[rows] = world[mine].float().cpu()
            colours[rows] = self.images[v].flatten(1).T[mine].float().cpu()
        return PointCloud(
            points=points.numpy(),
            colours=(colours.clamp(0, 1) * 255).round().byte().numpy(),
            view=view.cpu().numpy(),
        )

    def save(self, path: str | Path, *, conf_percentile: float = 40.0) -> None:
        """Write a folder as `geometry infer` does, or, by suffix, the points alone: ``.ply``, ``.glb``.

        The folder holds depth/ (npz with depth, confidence, camera; coloured PNG), confidence/, images/,
        transforms.json, sparse/0/ (COLMAP), points.ply, points.glb and scene.json. Without cameras only
        depth/, images/ and scene.json are written.

        Args:
            conf_percentile: see `points`.

        Raises:
            InputError: a file that is not ours is in the way, the folder is that of the photos, or the disk
                is full; nothing is written then. Or points are asked for, and there are no cameras.
        """
        path = Path(path).expanduser()
        if path.suffix.lower() == ".ply":
            cloud = self.points(conf_percentile)
            write_points(path, cloud.points, cloud.colours)
        elif path.suffix.lower() == ".glb":
            cloud = self.points(conf_percentile)
            write_glb(path, cloud.points, cloud.colours, *_camera_arrays(self))
        else:
            require_results(path, INFERRED, self.sources)
            with result_folder(path) as folder:
                _write_folder(folder, self, conf_percentile)


def _write_folder(folder: Path, scene: Prediction, conf_percentile: float) -> None:
    names = file_names(scene.names)
    arrays = {"depth": scene.depth, "confidence": scene.confidence, "sky": scene.sky}
    if scene.cameras is not None:
        arrays |= {"extrinsics": scene.cameras.extrinsics[0], "intrinsics": scene.cameras.intrinsics[0]}
    arrays = {key: value for key, value in arrays.items() if value is not None}
    for sub in ("depth", "images", *(("confidence",) if "confidence" in arrays else ())):
        (folder / sub).mkdir()
    for v, name in enumerate(names):
        view = {key: values[v].float().cpu().numpy() for key, values in arrays.items()}
        np.savez_compressed(folder / "depth" / f"{name}.npz", **view)  # type: ignore[arg-type]
        write_image(folder / "depth" / f"{name}.png", colour_depth(view["depth"]))
        write_image(folder / "images" / f"{name}.png", to_bytes(scene.images[v]))
        if "confidence" in view:
            write_image(folder / "confidence" / f"{name}.png", colour_confidence(view["confidence"]))
    (folder / "scene.json").write_text(json.dumps(dict(scene.about), indent=2) + "\n")
    if scene.cameras is None:
        say("no cameras: a monocular model places none; only depth was written")
        return
    files, cameras = [f"{name}.png" for name in names], _camera_arrays(scene)
    transforms_json.write_scene(
        folder / "transforms.json",
        [f"images/{file}" for file in files],
        *cameras,
        extra={"ply_file_path": "points.ply"},
    )
    cloud = scene.points(conf_percentile)
    few = np.linspace(0, len(cloud.points) - 1, min(len(cloud.points), COLMAP_POINTS)).astype(int)
    part = {"points": cloud.points[few], "colours": cloud.colours[few], "seen_by": cloud.view[few]}
    model = colmap.model_from_cameras(files, *cameras, **part)
    colmap.write_model(folder / "sparse" / "0", model)
    write_points(folder / "points.ply", cloud.points, cloud.colours)
    write_glb(folder / "points.glb", cloud.points, cloud.colours, *cameras)


def _camera_arrays(
    scene: Prediction,
) -> tuple[Float[np.ndarray, "V 4 4"], Float[np.ndarray, "V 3 3"], list[tuple[int, int]]]:
    return *scene.cameras.arrays(), [scene.image_size] * len(scene.names)
