"""Geometry that methods find in photos, asked once and kept: what all protocols but nvs score."""

import time
from abc import abstractmethod
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float

from eval.methods.geometry import Estimator, GeometryTask, build_estimator
from eval.protocols.base import Protocol, Scoring
from eval.protocols.splits import DividedScene
from eval.run_folder import write_json
from geometry.atomic import atomic_folder
from geometry.errors import InputError, reading
from geometry.formats.text import read_object
from geometry.ops.pinhole import resize_intrinsics
from geometry.options import require_one_of
from geometry.peak_memory import peak_bytes, reset_peak
from geometry.prediction import Geometry
from geometry.sampling.preprocess import PixelMap, prepare_views
from geometry.scenes.scene import Frame, Scene
from geometry.version import stamp
from geometry.views import Cameras
from geometry.visualize import colour_depth, write_image


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A stored prediction of a scene's photos, in the split's order."""

    depth: tuple[Float[np.ndarray, "_ _"], ...]  # [h, w] each, along z, in the method's units; 0 where none
    extrinsics: Float[np.ndarray, "V 4 4"] | None  # world-to-camera, the method's world
    intrinsics: Float[np.ndarray, "V 3 3"] | None  # pixels of the depth
    maps: tuple[PixelMap, ...]  # how the depth's pixels lie in the photos


@dataclass(frozen=True, kw_only=True)
class GeometryProtocol(Protocol):
    """Depth and cameras of a scene's photos, given with or without cameras.

    Args:
        context_poses: ``given`` or ``none``.
        process_res: long side of the images that methods see; None: 504, the released evaluation's.
    """

    together: ClassVar[bool] = True  # a method sees all photos of a scene at once
    definition: ClassVar[str]  # of the metrics, stored with every score

    context_poses: str = "none"
    process_res: int | None = None

    def __post_init__(self) -> None:
        require_one_of("context_poses", self.context_poses, ("given", "none"))

    @property
    def side(self) -> int:
        return self.process_res or 504

    def require_for(self, method: Estimator) -> None:
        """Refuse a method that lacks what this protocol scores."""
        if self.context_poses == "none" and self.together and not method.finds_cameras:
            raise InputError(
                f"{method.about.name} finds no cameras: take context_poses=given, or protocol=mono"
            )

    def build(self, options: Any, device: torch.device) -> Estimator:
        method = build_estimator(options, device)
        self.require_for(method)
        return method

    def settings(self) -> dict[str, Any]:
        name = "geometry" if self.together else self.name
        return {"name": name, "context_poses": self.context_poses, "process_res": self.side}

    def stated(self) -> dict[str, Any]:
        return {"context_poses": self.context_poses, "process_res": self.side}

    def predict(self, scene: DividedScene, method: Estimator, device: torch.device, folder: Path) -> None:
        count = len(scene.context)
        groups = [tuple(range(count))] if self.together else [(i,) for i in range(count)]
        found: list[Geometry] = []
        maps: list[PixelMap] = []
        reset_peak(device)
        start = time.perf_counter()
        for group in groups:
            task = self._task(scene, group, device)
            geometry = method.estimate(task)
            _check(geometry, task, method.about.name)
            geometry = Geometry(depth=geometry.depth, cameras=geometry.cameras)
            geometry = geometry.map(lambda tensor: tensor.float().cpu())
            found.append(_at_size(geometry, task.views.image_size))
            maps += task.maps
        seconds = time.perf_counter() - start
        depth = [z.numpy() for geometry in found for z in geometry.depth[0]]
        arrays = {f"depth_{i}": z for i, z in enumerate(depth)}
        cameras = found[0].cameras
        if self.together and cameras is not None:
            arrays |= {
                "extrinsics": cameras.extrinsics[0].numpy(),
                "intrinsics": cameras.intrinsics[0].numpy(),
            }
        with atomic_folder(folder) as temporary:
            np.savez_compressed(temporary / "geometry.npz", **arrays)  # type: ignore[arg-type]
            write_image(temporary / "depth_0.png", colour_depth(depth[0]))  # for looking at
            write_json(
                temporary / "scene.json",
                {
                    "scene": scene.split.name,
                    "context": list(scene.split.context),
                    "maps": [asdict(shown) for shown in maps],
                    "size": list(maps[0].network_size),
                    "predict_s": round(seconds, 2),
                    "peak_gb": round(peak_bytes(device) / 1e9, 2),
                    "commit": stamp(),
                },
            )

    def _task(self, scene: DividedScene, group: tuple[int, ...], device: torch.device) -> GeometryTask:
        frames = tuple(scene.context[i] for i in group)
        views, maps = prepare_views(Scene(name=scene.split.name, frames=frames), process_res=self.side)
        known, cameras = None, views.cameras
        if cameras is not None:
            known = cameras.intrinsics.to(device)
        elif all(frame.intrinsics is not None for frame in frames):
            K = np.stack([m.network_intrinsics(f.intrinsics) for f, m in zip(frames, maps)])
            known = torch.from_numpy(K)[None].float().to(device)
        given: Cameras | None = cameras if self.context_poses == "given" and self.together else None
        views = type(views)(images=views.images, cameras=given).to(device)
        return GeometryTask(
            scene=scene.split.name, views=views, indices=group, frames=frames, maps=maps, intrinsics=known
        )

    def score(self, scene: DividedScene, predictions: Path, path: Path, scoring: Scoring) -> dict[str, Any]:
        benchmark, metrics = scoring.benchmark, scoring.metrics
        settings = {"metrics": list(metrics), "definition": self.definition, **self.choices(benchmark)}
        if path.is_file() and (stored := read_object(path, "scores")).get("settings") == settings:
            return stored
        about = read_object(predictions / "scene.json", "a prediction")
        scores = self.measure(scene, read_answer(predictions, about), benchmark)
        result = {
            "scene": scene.split.name,
            "settings": settings,
            **scores,
            "means": {name: scores["means"].get(name) for name in metrics},
            "targets": [],
            **{name: about[name] for name in ("commit", "predict_s", "size")},
        }
        write_json(path, result)
        return result

    def choices(self, benchmark: Any) -> dict[str, Any]:
        """What of the benchmark decides the scores."""
        return {}

    @abstractmethod
    def measure(self, scene: DividedScene, answer: Answer, benchmark: Any) -> dict[str, Any]:
        """``means``, ``reasons`` and, where it is not 1, ``weight``."""


def read_answer(folder: Path, about: dict[str, Any]) -> Answer:
    """The prediction in a folder that `GeometryProtocol.predict` wrote."""
    path = folder / "geometry.npz"
    with reading(path, "a stored prediction"):
        arrays = dict(np.load(path, allow_pickle=False))
    maps = tuple(PixelMap(**{k: tuple(v) for k, v in shown.items()}) for shown in about["maps"])
    return Answer(
        depth=tuple(arrays[f"depth_{i}"] for i in range(len(maps))),
        extrinsics=arrays.get("extrinsics"),
        intrinsics=arrays.get("intrinsics"),
        maps=maps,
    )


def true_depth(frame: Frame) -> Float[np.ndarray, "h w"]:
    """Depth that counts, 0 where it is unknown or masked.

    Raises:
        InputError: the photo has none.
    """
    depth = frame.load_depth()
    if depth is None:
        raise InputError(f"{frame.name}: expected depth of the photo, found none")
    mask = frame.load_mask()
    if mask is not None:
        rows, columns = ((np.arange(n) * size // n) for n, size in zip(depth.shape, mask.shape))
        depth = np.where(mask[np.ix_(rows, columns)], depth, 0)
    return depth


def _at_size(geometry: Geometry, size: tuple[int, int]) -> Geometry:
    """Depth by nearest pixel, and intrinsics, for the images that were shown."""
    h, w = geometry.depth.shape[-2:]
    if (h, w) == tuple(size):
        return geometry
    cameras = geometry.cameras
    if cameras is not None:
        cameras = replace(cameras, intrinsics=resize_intrinsics(cameras.intrinsics, (h, w), size))
    depth = F.interpolate(geometry.depth, size=size, mode="nearest-exact")
    return replace(geometry, depth=depth, cameras=cameras)


def _check(geometry: Geometry, task: GeometryTask, name: str) -> None:
    """Refuse an answer for other photos than were asked about."""
    if tuple(geometry.depth.shape[:2]) != (1, len(task.frames)):
        raise InputError(
            f"method {name}, scene {task.scene}: expected depth [1, {len(task.frames)}, h, w], got "
            f"{list(geometry.depth.shape)}"
        )
