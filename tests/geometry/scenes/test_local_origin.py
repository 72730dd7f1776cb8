"""Georeferenced cameras are moved to an origin of their own, which is stated; others stay where they are."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scenes import make_arc, scene_of, write_capture

from geometry.capture import open_capture
from geometry.errors import InputError
from geometry.ops import se3
from geometry.options import PhotoOptions
from geometry.scenes.local_origin import around_local_origin, moved
from geometry.scenes.photos import open_photos
from geometry.views import Cameras

UTM = np.array([500123.0, 4649776.0, 312.0])


def shifted(views, by):
    """The room's views in a world whose coordinates are larger."""
    return [replace(view, extrinsics=moved(view.extrinsics, -np.array(by, float))) for view in views]


@pytest.mark.parametrize("by", [UTM, UTM * 10, [0, 0, 1e4]])
def test_distances_survive_single_precision(by):
    arc = make_arc(5)
    points = np.random.default_rng(0).normal(size=(9, 3))
    scene = around_local_origin(scene_of(shifted(arc, by), points=points + by))
    assert np.abs(scene.origin - by).max() < 3
    np.testing.assert_allclose(scene.points + scene.origin, points + by)
    expected = np.stack([v.extrinsics for v in arc])
    expected = moved(expected, scene.origin - by)
    np.testing.assert_allclose(scene.extrinsics, expected, atol=1e-7)
    single = se3.centres(torch.from_numpy(scene.extrinsics).float()).numpy()
    np.testing.assert_allclose(single[1:] - single[:-1], np.diff(centres(arc), axis=0), atol=1e-5)


def centres(views):
    return np.stack([view.cam_to_world[:3, 3] for view in views])


@pytest.mark.parametrize("by", [[0, 0, 0], [500, 0, 0]])
def test_other_worlds_stay(by):
    scene = scene_of(shifted(make_arc(5), by))
    assert around_local_origin(scene) is scene


def test_a_single_place_far_out():
    (view,) = shifted(make_arc(1), UTM)
    assert around_local_origin(scene_of([view])).origin is not None
    assert around_local_origin(scene_of(make_arc(1))).origin is None


def test_captures_say_where_their_origin_is(tmp_path):
    write_capture(tmp_path / "utm", shifted(make_arc(5), UTM))
    capture = open_capture(tmp_path / "utm", PhotoOptions(), torch.device("cpu"))
    assert np.abs(np.subtract(capture.origin, UTM)).max() < 3
    assert str(capture.origin) in capture.world
    write_capture(tmp_path / "near", make_arc(5))
    near = open_capture(tmp_path / "near", PhotoOptions(), torch.device("cpu"))
    assert (near.origin, near.world) == ([0, 0, 0], "the given poses' world")
    assert capture.scene.without_cameras().origin is None


def test_cameras_of_a_program_stay_in_its_world(tmp_path):
    views = shifted(make_arc(5), UTM)
    write_capture(tmp_path, views)
    E, K = (
        torch.tensor(np.stack([getattr(v, n) for v in views]))[None] for n in ("extrinsics", "intrinsics")
    )
    with pytest.raises(InputError, match="take that off first"):
        open_photos(tmp_path, cameras=Cameras(extrinsics=E, intrinsics=K), check=False)
