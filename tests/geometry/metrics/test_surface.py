"""Surfaces from depth: lifted points and sampled meshes by hand; fusion and distances by Open3D."""

import sys

import numpy as np
import pytest
import torch
from scenes import cameras_of, make_room

from geometry.errors import InputError
from geometry.metrics.points import point_cloud_metrics
from geometry.metrics.surface import fused_points, lifted_points, sampled_mesh
from geometry.ops.pinhole import unproject


def room_arrays(views=3):
    room = make_room(views)
    return tuple(np.stack([getattr(v, name) for v in room]) for name in ("depth", "extrinsics", "intrinsics"))


def test_lifted_points_are_those_of_unproject():
    depth, E, K = room_arrays()
    depth[1, :10] = 0
    depth[2, 0, 0] = np.nan
    world = unproject(torch.from_numpy(depth)[None].float(), cameras_of(make_room(3)))[0].numpy()
    np.testing.assert_allclose(lifted_points(depth, E, K), world[np.isfinite(depth) & (depth > 0)], atol=1e-4)


def test_sampled_points_are_even_by_area():
    vertices = np.array([[0.0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 5], [1, 0, 5], [0, 1, 5]])
    points = sampled_mesh(vertices, np.array([[0, 1, 2], [3, 4, 5]]), 40_000)
    large = points[points[:, 2] == 0]
    assert len(large) == pytest.approx(30_000, abs=500)  # 1.5 of an area of 2
    np.testing.assert_allclose(large.mean(axis=0), [1, 1 / 3, 0], atol=0.02)  # the centroid
    assert (large[:, 0] / 3 + large[:, 1] <= 1 + 1e-9).all()
    assert sampled_mesh(vertices, np.zeros((0, 3), int), 5).shape == (0, 3)


def test_without_open3d_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "open3d", None)
    depth, E, K = room_arrays()
    with pytest.raises(InputError, match=r"feedforward-nvs\[surface\].*libusb-1.0-0.*fusion=points"):
        fused_points(depth, E, K, voxel=0.1, truncation=0.5)


def test_fused_points_lie_on_the_walls():
    try:
        import open3d  # noqa: F401
    except (ImportError, OSError):
        pytest.skip("Open3D cannot be loaded here")
    depth, E, K = room_arrays()
    points = fused_points(depth, E, K, voxel=0.05, truncation=0.25, count=20_000)
    truth = lifted_points(depth, E, K)
    scores = point_cloud_metrics(points, truth, 0.1)
    assert scores["acc"] < 0.05
    assert scores["precision"] > 0.99
    assert scores["recall"] > 0.9
    # A camera's principal point by half a pixel off would shift the wall at 4 units by about 0.04.
    shifted = K.copy()
    shifted[:, 0, 2] += 4
    assert (
        point_cloud_metrics(fused_points(depth, E, shifted, voxel=0.05, truncation=0.25), truth, 0.1)["acc"]
        > 0.05
    )


def test_depth_that_makes_no_surface_is_an_empty_cloud():
    pytest.importorskip("open3d", exc_type=ImportError)
    _, E, K = room_arrays()
    for pixel in ((0, 0), (5, 7), (4, 8)):  # none, one that Open3D does not look at, one that it does
        depth = np.zeros((1, 48, 64))
        depth[0, *pixel] = 2.0 * any(pixel)
        assert len(fused_points(depth, E[:1], K[:1], voxel=0.05, truncation=0.2)) == 0


def test_nearest_neighbours_are_open3ds():
    try:
        import open3d
    except (ImportError, OSError):
        pytest.skip("Open3D cannot be loaded here")
    rng = np.random.default_rng(0)
    clouds = [rng.normal(size=(n, 3)) for n in (300, 400)]
    pred, truth = (open3d.geometry.PointCloud(open3d.utility.Vector3dVector(c)) for c in clouds)
    ours = point_cloud_metrics(*clouds, 0.3)
    there = np.asarray(pred.compute_point_cloud_distance(truth))
    back = np.asarray(truth.compute_point_cloud_distance(pred))
    assert ours["acc"] == pytest.approx(there.mean())
    assert ours["comp"] == pytest.approx(back.mean())
    assert (ours["precision"], ours["recall"]) == ((there < 0.3).mean(), (back < 0.3).mean())
