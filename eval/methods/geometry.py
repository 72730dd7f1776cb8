"""Methods judged by their depth and cameras: networks, functions, arrays made elsewhere, references."""

import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from eval.methods.base import About
from eval.methods.external import folder_digest, imported_function
from eval.options import MethodOptions
from geometry.capture.scale import METRIC_MODEL
from geometry.console import announce, say
from geometry.device import precision
from geometry.errors import InputError, reading
from geometry.models.da3 import MonocularDepth
from geometry.ops import se3
from geometry.ops.metric import metric_depth
from geometry.options import NetworkOptions, require_one_of
from geometry.predict import Network, predict_geometry
from geometry.prediction import Geometry
from geometry.sampling.preprocess import PixelMap
from geometry.scenes import structure_from_motion as sfm
from geometry.scenes.scene import Frame, Scene
from geometry.views import Cameras, Views
from geometry.weights.checkpoint import find_checkpoint, load_network
from geometry.weights.files import fingerprint
from nvs.cameras.up_axis import focus_point
from nvs.model.pooling import sample
from nvs.stereo import StereoDepth


@dataclass(frozen=True, kw_only=True)
class GeometryTask:
    """Photos of one scene as a method sees them: together, or one alone for protocol=mono.

    ``views`` are on the run's device, batch size one, with cameras only where the protocol gives them.
    """

    scene: str
    views: Views
    indices: tuple[int, ...]  # of the photos in the split's context
    frames: tuple[Frame, ...]  # the same photos as their reader has them; cameras of these are for `Chance`
    maps: tuple[PixelMap, ...] = ()  # how the views lie in them
    intrinsics: Float[Tensor, "1 V 3 3"] | None  # of the views, where the benchmark knows them


@runtime_checkable
class Estimator(Protocol):
    """Anything that estimates depth [1, V, H, W] and cameras of photos.

    ``finds_cameras`` says whether it can place photos that come without cameras, ``single`` whether it takes
    one photo alone.
    """

    about: About
    finds_cameras: bool
    single: bool

    def estimate(self, task: GeometryTask) -> Geometry: ...


class NetworkEstimator:
    """A network of this project: any-view, nested, monocular or metric."""

    single = True

    def __init__(self, options: MethodOptions, device: torch.device) -> None:
        checkpoint = find_checkpoint(options.model)
        announce(checkpoint)
        self._network: Network = load_network(checkpoint).to(device).eval()  # type: ignore[assignment]
        self._running: NetworkOptions = options.network
        self._ray_pose = options.ray_pose
        self._metric = checkpoint.variant == METRIC_MODEL
        self.finds_cameras = not isinstance(self._network, MonocularDepth)
        if self._ray_pose and not self.finds_cameras:
            raise InputError(f"ray_pose: {checkpoint.variant} has no rays: take an any-view model")
        stated = {"reference": self._running.reference, "precision": self._running.precision}
        self.about = About(
            name=f"{checkpoint.variant}, cameras from rays" if self._ray_pose else checkpoint.variant,
            weights=checkpoint.source,
            licence=checkpoint.licence,
            trained=checkpoint.trained,
            identity={
                "weights_sha256": fingerprint(checkpoint.state | checkpoint.gaussian_head),
                "ray_pose": self._ray_pose,
                **stated,
            },
        )

    @torch.no_grad()
    def estimate(self, task: GeometryTask) -> Geometry:
        running = self._running
        with precision(running.precision, self._network):
            geometry = predict_geometry(
                self._network,
                task.views,
                reference=running.reference,
                chunk=running.chunk,
                ray_pose=self._ray_pose,
            )
        if self._metric and task.intrinsics is not None:
            geometry = replace(geometry, depth=metric_depth(geometry.depth, task.intrinsics))
        return geometry


class FunctionEstimator:
    """``package.module:function`` of (views: Views), which returns a `Geometry`: depth, and cameras if any.

    Its attributes ``weights``, ``licence``, ``finds_cameras`` and ``single`` (True unless stated), where it
    has them, go to the table and decide which protocols it takes part in.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._function, about = imported_function(path)
        self.about = about
        self.finds_cameras = bool(getattr(self._function, "finds_cameras", True))
        self.single = bool(getattr(self._function, "single", True))

    @torch.no_grad()
    def estimate(self, task: GeometryTask) -> Geometry:
        answer = self._function(task.views)
        if not isinstance(answer, Geometry):
            raise InputError(f"method {self._path}: expected a Geometry, got {type(answer).__name__}")
        return answer


class Arrays:
    """A folder of arrays made elsewhere: ``<scene>.npz`` with the photos in the split's order.

    ``depth`` [V, h, w]: along z, of the whole photo at any resolution (of photos of mixed shapes: of what is
    shown to other methods), and where there are cameras
    ``extrinsics`` [V, 3 or 4, 4]: world-to-camera, OpenCV axes, and ``intrinsics`` [V, 3, 3] in pixels of
    that depth, first pixel centre at (0.5, 0.5). Depth of photos of different sizes: ``depth_0``, ...
    """

    finds_cameras = single = True

    def __init__(self, folder: str | Path | None, *, weights: str, licence: str) -> None:
        if folder is None or not Path(folder).expanduser().is_dir():
            raise InputError(
                f"method=arrays: expected arrays.folder=DIR with <scene>.npz files, got {folder}"
            )
        self._folder = Path(folder).expanduser()
        self.about = About(
            name=f"arrays of {self._folder.resolve().name}",
            weights=weights,
            licence=licence,
            identity={"arrays_sha256": folder_digest(self._folder, "npz")},
        )

    def estimate(self, task: GeometryTask) -> Geometry:
        path = self._folder / f"{task.scene.replace('/', '_')}.npz"
        wanted = "depth [V, h, w], extrinsics [V, 4, 4] and intrinsics [V, 3, 3] as .npz"
        with reading(path, wanted):
            try:
                arrays = dict(np.load(path, allow_pickle=False))
            except zipfile.BadZipFile as error:
                raise ValueError(error) from None
        depth, count = arrays.get("depth"), len(task.frames)
        maps = [arrays.get(f"depth_{i}") if depth is None else depth[i : i + 1] for i in task.indices]
        maps = [m[None] if m is not None and m.ndim == 2 else m for m in maps]
        if any(m is None or m.ndim != 3 or len(m) != 1 for m in maps):
            raise InputError(f"{path}: expected depth of {count} photos [V, h, w], got {sorted(arrays)}")
        cameras = None
        if "extrinsics" in arrays:
            E = np.broadcast_to(np.eye(4), (count, 4, 4)).copy()
            chosen = list(task.indices)
            with reading(path, wanted):
                E[:, :3] = arrays["extrinsics"][chosen, :3]
                K = arrays["intrinsics"][chosen].reshape(count, 3, 3)
            cameras = Cameras(
                extrinsics=torch.from_numpy(E)[None].float(), intrinsics=torch.from_numpy(K)[None].float()
            )
        return Geometry(depth=torch.from_numpy(np.concatenate(maps))[None].float(), cameras=cameras)


class SweptGeometry:
    """Reference: depth by a plane sweep between the given cameras; ``learned`` reads it with our network."""

    finds_cameras = single = False

    def __init__(self, *, learned: bool = False) -> None:
        self._stereo = StereoDepth(learned=learned)
        name, weights = ("learned stereo", "bundled") if learned else ("plane sweep", "no weights")
        self.about = About(name=name, weights=weights, licence="-")

    def estimate(self, task: GeometryTask) -> Geometry:
        if task.views.cameras is None:
            raise InputError(f"{self.about.name} needs given cameras: take context_poses=given")
        depth = self._stereo.sweep(task.views).depth
        return Geometry(depth=sample(depth.float(), task.views.image_size), cameras=task.views.cameras)


class MotionGeometry:
    """Classical reference: COLMAP's structure from motion, and a plane sweep between the cameras it found.

    A photo that it cannot place gets the first camera, so that all its pairs count as wrong, and no depth.
    """

    finds_cameras = True
    single = False
    about = About(name="structure from motion, plane sweep", weights="no weights", licence="-")

    def __init__(self) -> None:
        sfm.require()

    def estimate(self, task: GeometryTask) -> Geometry:
        placed = sfm.place_photos(Scene(name=task.scene, frames=task.frames).without_cameras())
        if placed.missing:
            say(f"{task.scene}: structure from motion placed {placed.share} photos")
        count, chosen = len(task.frames), placed.indices
        extrinsics, intrinsics = torch.eye(4).repeat(1, count, 1, 1), torch.eye(3).repeat(1, count, 1, 1)
        for index, frame in zip(chosen, placed.scene.frames):
            extrinsics[0, index] = torch.from_numpy(frame.extrinsics)
            intrinsics[0, index] = torch.from_numpy(task.maps[index].network_intrinsics(frame.intrinsics))
        depth = torch.zeros(1, count, *task.views.image_size)
        if len(chosen) > 1:
            found = Cameras(extrinsics=extrinsics[:, chosen], intrinsics=intrinsics[:, chosen])
            views = Views(images=task.views.images[:, chosen].cpu(), cameras=found)
            depth[:, chosen] = sample(StereoDepth().sweep(views).depth.float(), views.image_size)
        return Geometry(depth=depth, cameras=Cameras(extrinsics=extrinsics, intrinsics=intrinsics))


class Chance:
    """What guessing scores: one depth everywhere, and the right cameras dealt to the wrong photos.

    The depth is the distance from the cameras to the point that they look at; 1 where they look at none.
    """

    finds_cameras = single = True
    about = About(name="chance", weights="no weights", licence="-")

    def estimate(self, task: GeometryTask) -> Geometry:
        cameras, count = task.views.cameras, len(task.frames)
        poses = [frame.extrinsics for frame in task.frames]
        if cameras is None and task.intrinsics is not None and all(pose is not None for pose in poses):
            order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
            extrinsics = torch.from_numpy(np.stack(poses))[None, order].to(task.intrinsics)
            cameras = Cameras(extrinsics=extrinsics, intrinsics=task.intrinsics)
        depth = torch.ones(1, count, *task.views.image_size)
        if cameras is not None:
            with suppress(ValueError):
                distance = focus_point(cameras)[:, None] - se3.centres(cameras.extrinsics)
                depth *= float(distance.norm(dim=-1).mean())
        return Geometry(depth=depth, cameras=cameras)


def build_estimator(options: MethodOptions, device: torch.device) -> Estimator:
    """One of these names, or ``package.module:function``, as an object."""
    if ":" in options.name:
        return FunctionEstimator(options.name)
    builders: dict[str, Callable[[], Estimator]] = {
        "model": lambda: NetworkEstimator(options, device),
        "arrays": lambda: Arrays(options.arrays, weights=options.weights, licence=options.licence),
        "sweep": SweptGeometry,
        "stereo": lambda: SweptGeometry(learned=True),
        "sfm": MotionGeometry,
        "chance": Chance,
    }
    require_one_of("method", options.name, (*builders, "package.module:function"))
    return builders[options.name]()
