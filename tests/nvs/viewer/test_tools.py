"""What the viewer works out: boxes, lengths, flights, colours, the point under the mouse."""

import math

import numpy as np
import pytest
import torch
from scenes import make_gaussians, make_room
from torch.testing import assert_close

from geometry.ops import se3
from geometry.scenes.scene import Frame
from geometry.views import Cameras
from nvs.gaussians import Gaussians, rgb_to_sh
from nvs.viewer import most_visible, tools

STRAIGHT = torch.tensor([1.0, 0, 0, 0])


def test_most_visible_keeps_the_large_and_opaque(generator):
    g = make_gaussians(4, generator)
    g.scales[0] = torch.tensor([[1.0, 1, 0.1], [0.1, 0.1, 0.1], [1, 0.2, 1], [1, 1, 1]])
    g.opacities[0] = torch.tensor([0.5, 0.9, 0.6, 0.01])
    assert_close(most_visible(g, 2).opacities, torch.tensor([[0.5, 0.6]]))
    assert most_visible(g, 9) is g


def test_a_box_keeps_what_is_inside():
    points = torch.tensor([[1.0, 2, 3], [1.9, 2, 3], [2.1, 2, 3], [1, 2.6, 3]])
    centre, size = torch.tensor([1.0, 2, 3]), torch.tensor([2.0, 1, 1])
    assert tools.inside_box(points, centre, STRAIGHT, size).tolist() == [True, True, False, False]
    quarter = torch.tensor([math.sqrt(0.5), 0, 0, math.sqrt(0.5)])  # around z: its long side lies along y
    assert tools.inside_box(points, centre, quarter, size).tolist() == [True, False, False, True]


def test_a_turned_box_turns_the_way_its_quaternion_does():
    eighth = torch.tensor([math.cos(math.pi / 8), 0, 0, math.sin(math.pi / 8)])  # x towards y
    points = torch.tensor([[0.9, 0.9, 0], [0.9, -0.9, 0]])
    assert tools.inside_box(points, torch.zeros(3), eighth, torch.tensor([4.0, 0.2, 1])).tolist() == [
        True,
        False,
    ]


def wall(z: float, opacity: float) -> Gaussians:
    """A flat, wide Gaussian across the z axis."""
    return Gaussians(
        means=torch.tensor([[[0.0, 0, z]]]),
        quats=STRAIGHT[None, None],
        scales=torch.tensor([[[5.0, 5, 0.01]]]),
        opacities=torch.tensor([[opacity]]),
        sh=torch.zeros(1, 1, 1, 3),
    )


def both(a: Gaussians, b: Gaussians) -> Gaussians:
    return Gaussians(**{k: torch.cat((v, vars(b)[k]), dim=1) for k, v in vars(a).items()})


def test_the_point_under_the_mouse_is_on_the_first_solid_surface():
    eye, ahead = torch.zeros(3), torch.tensor([0.0, 0, 3])
    assert_close(
        tools.surface_point(both(wall(4, 0.9), wall(2, 0.95)), eye, ahead), torch.tensor([0.0, 0, 2])
    )
    assert_close(tools.surface_point(both(wall(4, 0.9), wall(2, 0.2)), eye, ahead), torch.tensor([0.0, 0, 4]))
    assert tools.surface_point(wall(2, 0.3), eye, ahead) is None
    assert tools.surface_point(wall(-2, 1.0), eye, ahead) is None
    slanted = tools.surface_point(wall(2, 0.95), eye, torch.tensor([0.3, 0, 1.0]))
    assert_close(slanted, torch.tensor([0.6, 0, 2.0]), atol=1e-3, rtol=0)


def test_the_point_agrees_with_the_rendered_depth(generator):
    g = both(make_gaussians(200, generator), wall(6.0, 0.99))
    K = torch.tensor([[40.0, 0, 32], [0, 40, 24], [0, 0, 1]])
    camera = Cameras(extrinsics=torch.eye(4)[None, None], intrinsics=K[None, None])
    view = g.render(camera, (48, 64), backend="torch")
    for x, y in ((8, 8), (32, 24), (50, 40)):
        ray = torch.tensor([(x + 0.5 - 32) / 40, (y + 0.5 - 24) / 40, 1.0])
        point = tools.surface_point(g, torch.zeros(3), ray)
        if float(view.alpha[0, 0, y, x]) > 0.6:
            nearer = make_gaussians(1, generator).means.new_tensor(float(view.depth[0, 0, y, x]))
            assert 0.3 * nearer < point[2] < 2 * nearer


def test_a_flight_passes_its_views_in_their_order():
    room = make_room(4)
    keys = [(room[i].extrinsics, 0.8 + 0.1 * i) for i in (2, 0, 3, 1)]
    flight = tools.flight(keys, (48, 64), 61)
    centres = torch.from_numpy(np.stack([np.linalg.inv(E)[:3, 3] for E, _ in keys]))
    near = torch.cdist(centres, se3.centres(flight.extrinsics[0].double()))
    assert (near.min(dim=1).values < 0.05).all()
    assert near.argmin(dim=1).tolist() == sorted(near.argmin(dim=1).tolist())
    assert float(flight.intrinsics[0, 0, 1, 1]) == pytest.approx(24 / math.tan(0.5))  # 1.0 rad over 48 rows
    assert tools.flight(keys[:1], (48, 64), 5).extrinsics.shape == (1, 5, 4, 4)


def test_colours_are_those_of_the_renderer(generator):
    g = make_gaussians(1, generator, degree=2)
    eye = g.means[0, 0] - torch.tensor([0.0, 0, 2])
    g = Gaussians(**{**vars(g), "opacities": torch.ones(1, 1), "scales": torch.ones(1, 1, 3)})
    E = torch.eye(4)
    E[:3, 3] = -eye
    K = torch.tensor([[20.0, 0, 4.5], [0, 20, 4.5], [0, 0, 1]])
    rgb = g.render(Cameras(extrinsics=E[None, None], intrinsics=K[None, None]), (9, 9), backend="torch").rgb
    found = tools.colours_from(g, eye, 2)[0]
    assert_close(found, rgb[0, 0, :, 4, 4].clamp(0, 1), atol=0.02, rtol=0)
    grey = Gaussians(**{**vars(g), "sh": rgb_to_sh(torch.full((1, 1, 1, 3), 0.3))})
    assert_close(tools.colours_from(grey, eye, 0), torch.full((1, 3), 0.3))


@pytest.mark.parametrize("most", [10, 10_000])
def test_depth_becomes_points_of_the_room(most):
    (view,) = make_room(1)
    frame = Frame(
        name="a", image=lambda: view.image, image_size=view.image.shape[:2], extrinsics=view.extrinsics,
        intrinsics=view.intrinsics, depth=lambda: view.depth[::2, ::2].astype(np.float32),
    )  # fmt: skip
    points, colours = tools.depth_points(frame, most)
    assert len(points) == len(colours) == min(most, view.depth[::2, ::2].size)
    walls = np.abs(np.abs(points) - [3.0, 2.0, 3.5]).min(axis=1)  # the room's box
    assert np.median(walls) < 0.1
    bare = Frame(name="a", image=lambda: view.image, image_size=view.image.shape[:2])
    assert len(tools.depth_points(bare, 5)[0]) == 0
