"""One scene: the method called once, every target rendered, pictures kept."""

import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from eval.methods.base import Method, Pictured, Splatted, Task
from eval.methods.build import build_method
from eval.protocols.base import Protocol, Scoring
from eval.protocols.framing import Framing, framed_cameras, framed_image, framed_views, network_size
from eval.protocols.placement import MODES, Photometric, optimise_pose, starting_cameras
from eval.protocols.splits import DividedScene
from eval.run_folder import write_json
from eval.score import score_scene
from geometry.atomic import atomic_folder
from geometry.errors import InputError
from geometry.ops import se3
from geometry.options import require_one_of
from geometry.version import stamp
from geometry.views import Cameras
from geometry.visualize import colour_depth, to_bytes, write_image
from nvs.options import METRICS
from nvs.rasterizer import rasterize
from nvs.rasterizer.backends import choose_backend

CONTEXT_POSES = ("auto", "given", "none")


@dataclass(frozen=True, kw_only=True)
class ViewSynthesis(Protocol):
    """How a scene is predicted and rendered; pictures are scored.

    Args:
        poses: a mode of `eval.protocols.placement`.
        context_poses: whether the method gets the context's cameras; ``auto`` gives them under ``gt`` and
            keeps them back otherwise.
        process_res: long side of the network's images, as ``nvs render --process-res``; None: as near to the
            scored size as multiples of its patch come.
    """

    name: ClassVar[str] = "nvs"
    metrics: ClassVar[tuple[str, ...]] = METRICS

    poses: str = "gt"
    context_poses: str = "auto"
    framing: Framing = field(default_factory=Framing)
    photometric: Photometric = field(default_factory=Photometric)
    process_res: int | None = None
    backend: str = "auto"

    def __post_init__(self) -> None:
        require_one_of("poses", self.poses, MODES)
        require_one_of("context_poses", self.context_poses, CONTEXT_POSES)
        if self.poses == "gt" and self.context_poses == "none":
            raise InputError("poses=gt renders in the given world, which context_poses=none hides")
        if self.poses == "umeyama" and self.context_poses == "given":
            raise InputError("poses=umeyama with context_poses=given is poses=gt; say so")

    @property
    def posed_context(self) -> bool:
        return self.context_poses == "given" or (self.context_poses == "auto" and self.poses == "gt")

    def require_for(self, method: Method) -> None:
        """Refuse a method that needs given poses and would get none."""
        if method.given_poses == "needed" and not self.posed_context:
            raise InputError(
                f"{method.about.name} needs given context poses, which poses={self.poses} keeps back: take "
                "poses=gt" + (", or add context_poses=given" if self.poses == "photometric" else "")
            )

    def build(self, options: Any, device: torch.device) -> Method:
        choose_backend(self.backend, device)  # here for its error or warning: before any work
        method = build_method(options, device)
        self.require_for(method)
        return method

    def settings(self) -> dict[str, Any]:
        settings = asdict(self)
        settings.pop("backend")
        if self.process_res is None:
            settings.pop("process_res")  # as runs of before it was an option state it
        if self.poses != "photometric":
            settings.pop("photometric")
        return settings

    def predict(self, scene: DividedScene, method: Method, device: torch.device, folder: Path) -> None:
        predict_scene(scene, method, self, device, folder)

    def score(self, scene: DividedScene, predictions: Path, path: Path, scoring: Scoring) -> dict[str, Any]:
        return score_scene(scene, predictions, self.framing, path, scoring)

    def stated(self) -> dict[str, Any]:
        return {
            "poses": self.poses,
            "context_poses": "given" if self.posed_context else "none",
            "fit": self.framing.fit,
            "undistort": self.framing.undistort,
            "photometric": asdict(self.photometric) if self.poses == "photometric" else None,
        }


def make_task(scene: DividedScene, protocol: ViewSynthesis, device: torch.device) -> Task:
    """Decode the context; of the targets only the cameras are looked at."""
    framing = protocol.framing
    size = framing.image_size((*scene.context, *scene.targets))
    photos, context = framed_views(scene.context, framing, size, network_size(size, protocol.process_res))
    if not protocol.posed_context:
        context = replace(context, cameras=None)
    return Task(
        scene=scene.split.name,
        context=context.to(device),
        photos=photos.to(device),
        targets=framed_cameras(scene.targets, framing, size).to(device),
        renders=scene.split.renders,
        size=size,
    )


def predict_scene(
    scene: DividedScene, method: Method, protocol: ViewSynthesis, device: torch.device, folder: Path
) -> None:
    """Call the method and write the scene's folder: pictures as 8-bit PNG, coloured depth, scene.json.

    One target is in memory at a time, so neither its number nor the capture's matters.
    """
    task = make_task(scene, protocol, device)
    start = time.perf_counter()
    prediction = method.predict(task)
    predict_s = time.perf_counter() - start
    pictured = isinstance(prediction, Pictured)
    if protocol.poses == "photometric" and pictured and method.given_poses != "unused":
        raise InputError(
            f"{method.about.name} returns images, so no camera can be moved: poses=photometric is for "
            "methods that return Gaussians"
        )
    targets = []
    with atomic_folder(folder) as temporary:
        (temporary / "depth").mkdir()
        start = time.perf_counter()
        for index, name in enumerate(scene.split.targets):
            rgb, depth, notes = _picture(prediction, task, index, scene, protocol)
            write_image(temporary / task.renders[index], to_bytes(rgb))
            if depth is not None:
                coloured = colour_depth(depth.float().cpu().numpy())
                write_image(temporary / "depth" / task.renders[index], coloured)
            targets.append({"name": name, "render": task.renders[index], **notes})
        gaussians = prediction.gaussians.means.shape[1] if isinstance(prediction, Splatted) else None
        write_json(
            temporary / "scene.json",
            {
                "scene": scene.split.name,
                "size": list(task.size),
                "network_size": list(task.context.image_size),
                "context": list(scene.split.context),
                "gaussians": gaussians,
                "predict_s": round(predict_s, 2),
                "render_s": round(time.perf_counter() - start, 2),
                "commit": stamp(),
                "notes": prediction.notes,
                "targets": targets,
            },
        )


def _picture(
    prediction: Splatted | Pictured, task: Task, index: int, scene: DividedScene, protocol: ViewSynthesis
) -> tuple[Float[Tensor, "3 H W"], Float[Tensor, "H W"] | None, dict[str, float]]:
    """A target's picture, its depth where there is one, and what was noted on the way."""
    if isinstance(prediction, Pictured):
        with torch.no_grad():
            return *prediction.render(index), {}
    camera = starting_cameras(protocol.poses, prediction, task)[:, index : index + 1]
    drawn: dict[str, Any] = {"background": prediction.background, "backend": protocol.backend}
    notes = {}
    if protocol.poses == "photometric":
        photo = framed_image(scene.targets[index], protocol.framing, task.size).to(camera.extrinsics.device)
        found, _ = optimise_pose(prediction.gaussians, camera, photo, protocol.photometric, **drawn)
        notes = _moved(camera, found)
        camera = found
    with torch.no_grad():
        view = rasterize(prediction.gaussians, camera, task.size, **drawn)
    depth = torch.where(view.alpha[0, 0] > 0.5, view.depth[0, 0], 0)
    return view.rgb[0, 0], depth, notes


def _moved(before: Cameras, after: Cameras) -> dict[str, float]:
    """How far optimisation carried a camera: degrees, and scene units."""
    relative = after.extrinsics[0, 0].double() @ se3.invert(before.extrinsics[0, 0].double())
    cosine = ((relative.diagonal()[:3].sum() - 1) / 2).clamp(-1, 1)
    shift = se3.centres(after.extrinsics[0, 0]) - se3.centres(before.extrinsics[0, 0])
    return {"turned_deg": round(float(cosine.acos().rad2deg()), 4), "moved": float(shift.norm())}
