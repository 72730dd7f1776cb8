import math

import pytest
import scenes
import torch
from torch.testing import assert_close

from geometry.ops import se3
from geometry.ops.pinhole import project
from geometry.views import Cameras
from nvs.cameras.orbit import look_at, orbit

FOCUS = torch.tensor([0.5, -0.2, 1.0], dtype=torch.float64)
UP = torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)
K = torch.tensor([[80.0, 0, 50], [0, 80, 40], [0, 0, 1]], dtype=torch.float64)


def ring(azimuths_deg: list[float], **options) -> Cameras:
    return scenes.ring(azimuths_deg, focus=FOCUS.tolist(), **options)


def azimuth_deg(cameras: Cameras) -> torch.Tensor:
    offset = se3.centres(cameras.extrinsics[0]) - FOCUS
    return torch.atan2(offset[:, 0], -offset[:, 2]).rad2deg()


def test_every_frame_has_the_focus_at_its_principal_point():
    path = orbit(ring([-20, -5, 10, 25]), frames=30)
    pixel, depth = project(FOCUS.expand(1, 30, 1, 3), path)
    assert_close(pixel, K[:2, 2].expand_as(pixel))
    assert_close(depth, torch.full_like(depth, math.sqrt(10)))


def test_horizon_stays_level():
    path = orbit(ring([-20, -5, 10, 25]), frames=30)
    right = path.extrinsics[0, :, 0, :3]
    # Up is a guess from four cameras that all look down: right to a degree.
    assert_close(right @ UP, torch.zeros(30, dtype=torch.float64), atol=0.0175, rtol=0)


def test_inputs_on_one_side_give_a_loop_on_that_side():
    azimuth = azimuth_deg(orbit(ring([-20, -5, 10, 40]), frames=200))
    assert_close(azimuth.min(), torch.tensor(-20.0, dtype=torch.float64), atol=0.1, rtol=0)
    assert_close(azimuth.max(), torch.tensor(40.0, dtype=torch.float64), atol=0.1, rtol=0)


def test_inputs_all_around_give_a_full_circle_in_even_steps():
    path = orbit(ring([0, 60, 120, 180, 240, 300]), frames=36)
    step = azimuth_deg(path).deg2rad().diff()
    step = torch.remainder(step + math.pi, 2 * math.pi) - math.pi
    assert_close(step.abs(), torch.full_like(step, math.radians(10)))
    assert_close(se3.centres(path.extrinsics[0])[:, 1], torch.full((36,), -1.2, dtype=torch.float64))


def test_an_arc_across_the_half_turn_is_not_taken_for_the_rest():
    azimuth = azimuth_deg(orbit(ring([170, 180, 190, 200]), frames=100))
    assert (torch.remainder(azimuth, 360) - 185).abs().max() < 15.1


def test_one_view_orbits_the_point_at_its_median_depth():
    camera = ring([0])
    with pytest.raises(ValueError, match="expected a depth map"):
        orbit(camera)
    depth = torch.full((1, 1, 8, 10), math.sqrt(10), dtype=torch.float64)
    depth[..., :3] = 0  # not measured
    pixel, _ = project(FOCUS.expand(1, 20, 1, 3), orbit(camera, depth=depth, frames=20))
    assert_close(pixel, K[:2, 2].expand_as(pixel))


def test_a_loop_closes_without_a_jump():
    path = orbit(ring([-20, 25]), frames=90)
    centres = se3.centres(path.extrinsics[0])
    steps = (centres.roll(-1, dims=0) - centres).norm(dim=-1)
    assert steps[-1] <= steps.max() + 1e-9
    assert steps.max() < 0.1


def test_looking_straight_down_is_finite():
    extrinsics = se3.invert(
        look_at(
            FOCUS + torch.tensor([[0.0, -3.0, 1e-9]]).double(), FOCUS, torch.tensor([0, 0, -1.0]).double()
        )
    )
    path = orbit(
        Cameras(extrinsics=extrinsics[None], intrinsics=K[None, None]),
        depth=torch.full((1, 1, 4, 4), 3.0, dtype=torch.float64),
    )
    assert path.extrinsics.isfinite().all()
