"""Pose modes: a similarity is carried exactly; optimisation brings a moved camera back."""

import math
from dataclasses import replace

import pytest
import torch
from scenes import cameras_of, make_arc, task_of, views_of

from eval.methods.base import Splatted
from eval.methods.references import surface_gaussians
from eval.predict import ViewSynthesis
from eval.protocols.placement import Photometric, optimise_pose, starting_cameras
from geometry.errors import InputError
from geometry.ops import se3
from geometry.ops.pinhole import project
from geometry.ops.rotations import matrix_from_quat_xyzw
from nvs.rasterizer import rasterize


@pytest.fixture(scope="module")
def world():
    """Gaussians on the room's walls as one view sees them, and that view."""
    view = make_arc(5)[2]
    depth = torch.tensor(view.depth)[None, None].float()
    return surface_gaussians(views_of([view]), depth), cameras_of([view])


def moved(camera, *, turn_deg, shift):
    half = math.radians(turn_deg) / 2
    quat = torch.tensor([0.0, math.sin(half), 0.0, math.cos(half)])
    step = se3.from_rotation_translation(matrix_from_quat_xyzw(quat), torch.tensor([shift, 0.0, 0.0]))
    return replace(camera, extrinsics=step @ camera.extrinsics)


def test_photometric_finds_the_camera_again(world):
    gaussians, camera = world
    photo = rasterize(gaussians, camera, (36, 64)).rgb[0]
    start = moved(camera, turn_deg=1.5, shift=0.06)
    before = (rasterize(gaussians, start, (36, 64)).rgb[0] - photo).square().mean()
    found, error = optimise_pose(gaussians, start, photo, Photometric(steps=60))
    assert error < 0.05 * before
    seen = gaussians.means.reshape(1, 1, 36, 64, 3)
    pixels = [project(seen, c)[0] for c in (camera, start, found)]
    wrong, right = ((p - pixels[0]).norm(dim=-1).mean() for p in pixels[1:])
    assert wrong > 1.5
    assert right < 0.5
    torch.testing.assert_close(found.intrinsics, camera.intrinsics)


def test_photometric_never_makes_it_worse(world):
    gaussians, camera = world
    photo = rasterize(gaussians, camera, (36, 64)).rgb[0]
    _, error = optimise_pose(gaussians, camera, photo, Photometric(steps=3, learning_rate=1.0))
    assert error < 1e-10
    away = moved(camera, turn_deg=180, shift=50.0)  # nothing in view, no gradient
    _, error = optimise_pose(gaussians, away, photo, Photometric(steps=3))
    assert math.isfinite(error)


def test_umeyama_carries_targets_into_the_predicted_world(world):
    rendered = make_arc(6)
    task = task_of(rendered[:4], rendered[4:], posed=False)
    angle = torch.tensor(0.7)
    R = torch.eye(3)
    R[:2, :2] = torch.stack((angle.cos(), -angle.sin(), angle.sin(), angle.cos())).view(2, 2)
    scale, t = 2.5, torch.tensor([3.0, -1.0, 0.5])

    def there(extrinsics):  # x' = scale R x + t, so R_cam' = R_cam R^T and centre' = scale R centre + t
        rotation = extrinsics[..., :3, :3] @ R.T
        centre = scale * se3.centres(extrinsics) @ R.T + t
        return se3.from_rotation_translation(rotation, -(rotation @ centre[..., None])[..., 0])

    predicted = replace(task.photos.cameras, extrinsics=there(task.photos.cameras.extrinsics))
    prediction = Splatted(gaussians=world[0], cameras=predicted)
    placed = starting_cameras("umeyama", prediction, task)
    torch.testing.assert_close(placed.extrinsics, there(task.targets.extrinsics), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(placed.intrinsics, task.targets.intrinsics)

    stuck = replace(predicted, extrinsics=predicted.extrinsics[:, :1].expand(-1, 4, -1, -1))
    with pytest.raises(InputError, match="scene room: umeyama needs predicted context cameras"):
        starting_cameras("umeyama", Splatted(gaussians=world[0], cameras=stuck), task)


def test_given_poses_are_used_as_they_are(world):
    rendered = make_arc(6)
    task = task_of(rendered[:4], rendered[4:], posed=True)
    prediction = Splatted(gaussians=world[0], cameras=moved(task.photos.cameras, turn_deg=9, shift=2.0))
    assert starting_cameras("gt", prediction, task) is task.targets


def test_modes_that_contradict_themselves():
    assert ViewSynthesis(poses="gt").posed_context
    assert not ViewSynthesis(poses="umeyama").posed_context
    assert not ViewSynthesis(poses="photometric").posed_context
    assert ViewSynthesis(poses="photometric", context_poses="given").posed_context
    for wrong, message in (
        ({"poses": "sim3"}, "got 'sim3'"),
        ({"poses": "gt", "context_poses": "none"}, "which context_poses=none hides"),
        ({"poses": "umeyama", "context_poses": "given"}, "is poses=gt"),
        ({"context_poses": "some"}, "got 'some'"),
    ):
        with pytest.raises(InputError, match=message):
            ViewSynthesis(**wrong)
