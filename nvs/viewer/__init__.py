"""Gaussians and cameras in the browser, drawn by viser."""

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from geometry.errors import InputError
from geometry.ops import se3
from geometry.ops.rotations import (
    matrix_from_quat_xyzw,
    quat_xyzw_from_matrix,
    wxyz_from_xyzw,
    xyzw_from_wxyz,
)
from geometry.scenes.scene import Scene
from geometry.scenes.transforms_json import read_scene
from geometry.views import Cameras
from geometry.visualize.image import resized
from nvs.cameras.up_axis import up_axis
from nvs.drawing import load_splats
from nvs.gaussians import Gaussians, sh_to_rgb
from nvs.gaussians.files import find
from nvs.options import MAX_GAUSSIANS

_THUMBNAIL = 120  # pixels high


def serve(
    path: Path, *, host: str = "127.0.0.1", port: int = 8080, max_gaussians: int = MAX_GAUSSIANS
) -> Any:  # viser.ViserServer, which need not be installed
    """Start a server that shows a folder or a file; returns it running, to be stopped by the caller.

    The first thing seen are the Gaussians, from the first photo's place; a checkbox shows the cameras.

    Args:
        port: to take, or the next free one.
        max_gaussians: show the ones that cover most, so that the browser stays fast.

    Raises:
        InputError: no Gaussians there, or viser is not installed.
    """
    file = find(path)
    gaussians = load_splats(file)
    if gaussians.means.shape[1] == 0:
        raise InputError(f"{file}: expected Gaussians to show, it holds none")
    gaussians = most_visible(gaussians, max_gaussians)
    cameras_file = file.parent / "transforms.json"
    scene = read_scene(cameras_file) if cameras_file.is_file() else None

    server = _viser().ViserServer(host=host, port=port, label=file.parent.name, verbose=False)
    covariances = _covariances(gaussians)
    server.scene.add_gaussian_splats(
        "/gaussians",
        centers=gaussians.means[0].numpy(),
        covariances=covariances.numpy(),
        rgbs=sh_to_rgb(gaussians.sh[0, :, 0]).clamp(0, 1).numpy(),
        opacities=gaussians.opacities[0, :, None].numpy(),
    )
    if scene is None:
        server.scene.set_up_direction("-y")
    else:
        _add_cameras(server, scene, gaussians)
    return server


def most_visible(gaussians: Gaussians, count: int) -> Gaussians:
    """At most ``count`` Gaussians of one scene, by opacity times the area of their two longest axes."""
    if gaussians.means.shape[1] <= count:
        return gaussians
    longest = gaussians.scales[0].topk(2, dim=-1).values.prod(dim=-1)
    return gaussians[:, (gaussians.opacities[0] * longest).topk(count).indices.sort().values]


def _add_cameras(server: Any, scene: Scene, gaussians: Gaussians) -> None:
    """A frustum with a thumbnail per photo; clicking it moves the viewer's camera there."""
    extrinsics = torch.from_numpy(np.stack([f.extrinsics for f in scene.frames]))
    cameras = Cameras(
        extrinsics=extrinsics[None],
        intrinsics=torch.from_numpy(np.stack([f.intrinsics for f in scene.frames]))[None],
    )
    up = tuple(up_axis(cameras)[0].tolist())
    server.scene.set_up_direction(up)
    cam_to_world = se3.invert(extrinsics)
    quats = wxyz_from_xyzw(quat_xyzw_from_matrix(cam_to_world[:, :3, :3])).numpy()
    centres = cam_to_world[:, :3, 3]
    depth = ((gaussians.means[0].double() - centres[0]) @ extrinsics[0, 2, :3]).median().clamp(min=1e-3)
    fovs = [2 * math.atan(0.5 * f.image_size[0] / f.intrinsics[1, 1]) for f in scene.frames]

    server.initial_camera.position = tuple(centres[0].tolist())
    server.initial_camera.look_at = tuple((centres[0] + depth * extrinsics[0, 2, :3]).tolist())
    server.initial_camera.up = up
    server.initial_camera.fov = fovs[0]

    # Hidden at first: the visitor stands in the first photo's frustum and would take its thumbnail for the
    # rendering. So does whoever enters a frustum, which is therefore hidden while others are shown.
    shown = server.gui.add_checkbox("Show cameras", initial_value=False)
    frusta: list[Any] = []

    def show(but: int | None = None) -> None:
        for i, frustum in enumerate(frusta):
            frustum.visible = shown.value and i != but

    shown.on_update(lambda _: show())
    for i, (frame, fov, quat, centre) in enumerate(zip(scene.frames, fovs, quats, centres.numpy())):
        H, W = frame.image_size
        frustum = server.scene.add_camera_frustum(
            f"/cameras/{frame.name}",
            fov=fov,
            aspect=W / H,
            scale=0.05 * float(depth),
            wxyz=quat,
            position=centre,
            image=resized(frame.load(), _THUMBNAIL),
            visible=False,
        )

        @frustum.on_click
        def _(event: Any, i: int = i, quat: np.ndarray = quat, centre: np.ndarray = centre) -> None:
            event.client.camera.wxyz = quat
            event.client.camera.position = centre
            show(but=i)

        frusta.append(frustum)


def _covariances(gaussians: Gaussians) -> torch.Tensor:
    axes = matrix_from_quat_xyzw(xyzw_from_wxyz(gaussians.quats[0])) * gaussians.scales[0, :, None, :]
    return axes @ axes.mT


def _viser() -> ModuleType:
    try:
        import viser
    except ImportError:
        raise InputError(
            "nvs view: expected the package viser, not installed; pip install 'feedforward-nvs[view]'"
        ) from None
    return viser
