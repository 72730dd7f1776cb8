"""Exact geometry: hand-solved shapes, reprojection between views."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from geometry.ops.pinhole import intrinsics_from_fov, pixel_grid, project, unproject
from geometry.ops.rays import lift, rays_from_cameras
from geometry.views import Cameras
from geometry.worlds import World, procedural_world, render, sample_cameras
from geometry.worlds.builder import HEIGHT_CELLS, Builder, random_turn

SIZE = (40, 56)


def builder() -> Builder:
    b = Builder(np.random.default_rng(0), 32)
    b.material("clouds")
    return b


def packed(b: Builder) -> World:
    stand = np.array([[-1.0, -1, 1], [1, 1, 2]])
    return b.finish(name="test", seed=0, stand=stand, focus=np.zeros((1, 3)), near=0.1)


def looking_down_y(distance: float, fov: float = 0.9) -> Cameras:
    """A camera at y = -distance that looks along +y, world z up."""
    pose = torch.eye(4)
    pose[:3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    pose[2, 3] = distance
    fovs = torch.tensor([fov * SIZE[0] / SIZE[1], fov])
    return Cameras(extrinsics=pose[None, None], intrinsics=intrinsics_from_fov(fovs, SIZE)[None, None])


def slopes(cameras: Cameras) -> torch.Tensor:
    """Ray directions (x, y) at z = 1 of every pixel centre."""
    K = cameras.intrinsics[0, 0].double()
    return (pixel_grid(SIZE, dtype=torch.float64) - K[:2, 2]) / K[[0, 1], [0, 1]]


def test_depth_of_a_sphere_is_the_root_of_its_quadratic():
    b = builder()
    b.ellipsoid((0, 0, 0), (1.0, 1.0, 1.0), 0, rotation=random_turn(b.rng))
    cameras = looking_down_y(4.0)
    views = render(packed(b), cameras, SIZE)
    square = (slopes(cameras) ** 2).sum(-1)
    # |t d - (0, 0, 4)|^2 = 1 with d = (x, y, 1)
    disc = 16 - (1 + square) * 15
    expected = torch.where(disc > 0, (4 - disc.clamp(min=0).sqrt()) / (1 + square), 0.0)
    assert (views.sky[0, 0] == (disc <= 0)).all()
    clear = disc.abs() > 1e-3
    assert_close(views.depth[0, 0].double()[clear], expected[clear], atol=2e-5, rtol=2e-5)


def test_depth_of_a_wall_is_constant_and_that_of_a_floor_is_hyperbolic():
    b = builder()
    b.box((0, 5.5, 0), (50, 0.5, 50), 0)
    b.box((0, 0, -2), (50, 50, 0.5), 0, foreground=False)  # top at z = -1.5
    cameras = looking_down_y(0.0)
    views = render(packed(b), cameras, SIZE)
    down = slopes(cameras)[..., 1]
    expected = torch.where(down > 0.3, 1.5 / down, torch.full_like(down, 5.0))
    assert_close(views.depth[0, 0].double(), expected, atol=2e-5, rtol=2e-5)
    assert (views.objects[0, 0] == (down <= 0.3)).all()
    assert_close(views.normals[0, 0, 0, 0], torch.tensor([0.0, -1, 0]))


def test_every_shape_is_met_on_its_surface():
    """Points seen satisfy each shape's own equation, written here apart from the renderer."""
    rng = np.random.default_rng(1)
    turned = random_turn(rng)

    def local(points: torch.Tensor) -> torch.Tensor:
        return points @ torch.from_numpy(turned).to(points)

    def cone(p: torch.Tensor) -> torch.Tensor:  # half sizes 0.8, 0.8, 1; top ratio 0.4
        side = p[:, :2].norm(dim=-1) - 0.8 * (0.7 - 0.3 * p[:, 2])
        return torch.minimum(side.abs(), (p[:, 2].abs() - 1).abs())

    def ring(p: torch.Tensor) -> torch.Tensor:
        return torch.hypot(p[:, :2].norm(dim=-1) - 0.9, p[:, 2]) - 0.3

    def cushion(p: torch.Tensor) -> torch.Tensor:
        return (p.abs() - torch.tensor([0.6, 0.4, 0.7])).clamp(min=0).norm(dim=-1) - 0.2

    def gable(p: torch.Tensor) -> torch.Tensor:  # half sizes 1, 0.8, 0.5
        u = p / torch.tensor([1, 0.8, 0.5])
        slope = u[:, 1].abs() + 0.5 * u[:, 2] - 0.5
        return torch.stack((u[:, 0].abs() - 1, -1 - u[:, 2], slope), -1).amax(-1)

    def wave(p: torch.Tensor) -> torch.Tensor:
        return p[:, 2] - 0.3 * torch.sin(2 * p[:, 0])

    x = np.linspace(-1.2, 1.2, HEIGHT_CELLS)
    surfaces = {
        cone: lambda b: b.frustum((0, 0, 0), (0.8, 0.8, 1.0), 0, top=0.4, rotation=turned),
        ring: lambda b: b.torus((0, 0, 0), 0.9, 0.3, 0, rotation=turned),
        cushion: lambda b: b.round_box((0, 0, 0), (0.8, 0.6, 0.9), 0, 0.2, rotation=turned),
        gable: lambda b: b.roof((0, 0, 0), (1, 0.8, 0.5), 0, rotation=turned),
        wave: lambda b: b.sheet(
            (0, 0, 0), (1.2, 1.2, 0.4), np.tile(0.3 * np.sin(2 * x), (len(x), 1)), 0, rotation=turned
        ),
    }
    cameras = looking_down_y(4.0)
    for equation, add in surfaces.items():
        b = builder()
        add(b)
        views = render(packed(b), cameras, SIZE, smooth=False)
        solid = ~views.sky[0, 0]
        assert solid.sum() > 100, equation.__name__
        points = unproject(views.depth, cameras)[0, 0][solid]
        # The height map is bilinear: it cuts the wave's corners by some 1e-5.
        assert equation(local(points)).abs().max() < 3e-4, equation.__name__


def test_points_seen_twice_have_the_depth_that_the_other_view_says():
    world = procedural_world(3, "room", texture_size=64)
    cameras = sample_cameras(world, 4, (96, 128), torch.Generator().manual_seed(1), "handheld")
    views = render(world, cameras, (96, 128), smooth=False)
    points = lift(views.depth, rays_from_cameras(cameras, (96, 128), (96, 128)))
    assert_close(points, unproject(views.depth, cameras), atol=1e-4, rtol=1e-4)
    shared = checked = 0
    for a in range(4):
        for other in range(4):
            if a == other:
                continue
            pixel, depth = project(points[:, a : a + 1], cameras[:, other : other + 1])
            pixel, depth = pixel[0, 0], depth[0, 0]
            inside = (pixel >= 1).all(-1) & (pixel[..., 0] < 127) & (pixel[..., 1] < 95) & (depth > 0.05)
            inside &= ~views.sky[0, a]
            # Inverse depth is linear on a plane, so bilinear is exact where four neighbours see one plane.
            corner = (pixel - 0.5).floor().long().clamp(min=0)
            part = pixel - 0.5 - corner
            corner = corner.clamp(max=torch.tensor([126, 94]))
            i, j = corner.unbind(-1)
            inverse, index = 1 / views.depth[0, other], views.index[0, other]
            wx, wy = part.unbind(-1)
            blend = (1 - wy) * ((1 - wx) * inverse[j, i] + wx * inverse[j, i + 1]) + wy * (
                (1 - wx) * inverse[j + 1, i] + wx * inverse[j + 1, i + 1]
            )
            normal = views.normals[0, other]
            flat = (index[j, i] == views.index[0, a]) & inside
            for dj, di in ((0, 1), (1, 0), (1, 1)):
                flat &= (index[j + dj, i + di] == index[j, i]) & (
                    (normal[j + dj, i + di] * normal[j, i]).sum(-1) > 0.99999
                )
            flat &= (normal[j, i] * views.normals[0, a]).sum(-1) > 0.99999
            error = (depth * blend - 1).abs()[flat]
            checked += int(flat.sum())
            shared += int((error < 1e-3).sum())
            # What is nearer than the other view's surface would have been seen instead: never in front of it.
            assert ((depth * blend)[flat] > 1 - 1e-3).all()
    assert checked > 5000
    assert shared > 0.97 * checked  # the rest is hidden in the other view


def test_threads_and_view_grouping_do_not_change_a_bit():
    world = procedural_world(4, "objects", texture_size=64)
    cameras = sample_cameras(world, 3, SIZE, torch.Generator().manual_seed(0))
    one, two = render(world, cameras, SIZE, threads=1), render(world, cameras, SIZE, threads=3)
    single = render(world, cameras[:, 1:2], SIZE, threads=1)
    assert torch.equal(one.rgb, two.rgb)
    assert torch.equal(one.depth, two.depth)
    assert torch.equal(one.rgb[:, 1:2], single.rgb)


def test_sky_has_neither_depth_nor_object_nor_normal():
    world = procedural_world(1, "outdoor", texture_size=64)
    views = render(world, sample_cameras(world, 2, SIZE, torch.Generator().manual_seed(3)), SIZE)
    assert views.sky.any()
    assert (views.depth[views.sky] == 0).all()
    assert (views.depth[~views.sky] > 0).all()
    assert not views.objects[views.sky].any()
    assert (views.normals[views.sky] == 0).all()


def test_a_batch_of_worlds_is_refused():
    b = builder()
    b.ellipsoid((0, 0, 0), (1, 1, 1), 0)
    cameras = looking_down_y(3.0).map(lambda t: t.expand(2, *t.shape[1:]))
    with pytest.raises(ValueError, match="one world"):
        render(packed(b), cameras, SIZE)
