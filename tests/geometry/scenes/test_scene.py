"""Frames: what load returns is what the camera describes, whatever EXIF and lens say."""

import numpy as np
import pytest
from PIL import Image

from geometry.errors import InputError
from geometry.formats.distortion import Lens
from geometry.scenes.scene import Frame, Scene, check_pose, photo_frame, turn_extrinsics, turn_intrinsics


def save(path, pixels, orientation=1):
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)


def project(frame, point):
    local = frame.extrinsics[:3, :3] @ point + frame.extrinsics[:3, 3]
    pixel = frame.intrinsics @ local
    return pixel[:2] / pixel[2]


def lens(size, **kwargs):
    return Lens(image_size=size, focal=(50.0, 60.0), principal=(0.4 * size[1], 0.6 * size[0]), **kwargs)


POSE = np.array([[0.0, -1, 0, 0.1], [1, 0, 0, 0.2], [0, 0, 1, 3], [0, 0, 0, 1]])


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_camera_of_stored_pixels_is_turned_with_them(tmp_path, orientation, suffix):
    """COLMAP ignores EXIF: the dot must be where the turned camera projects its point."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[10:13, 20:23] = 255  # centre (21.5, 11.5)
    photo = tmp_path / f"a.{suffix}"
    save(photo, pixels, orientation)
    stored = lens((40, 60))
    ray = np.linalg.inv(stored.intrinsics) @ [21.5, 11.5, 1]
    point = POSE[:3, :3].T @ (4 * ray - POSE[:3, 3])
    frame = photo_frame(photo, name="a", extrinsics=POSE, lens=stored)
    image = frame.load()
    assert image.shape[:2] == frame.image_size == ((60, 40) if orientation in (6, 8) else (40, 60))
    y, x = np.argwhere(image[..., 0] > 0).mean(axis=0) + 0.5
    np.testing.assert_allclose(project(frame, point), [x, y], atol=1e-9)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_camera_of_the_upright_photo_is_left_alone(tmp_path, name):
    save(tmp_path / name, np.zeros((40, 60, 3), np.uint8), orientation=6)
    upright = lens((60, 40))
    frame = photo_frame(tmp_path / name, name="a", extrinsics=POSE, lens=upright)
    np.testing.assert_array_equal(frame.intrinsics, upright.intrinsics)
    np.testing.assert_array_equal(frame.extrinsics, POSE)
    assert frame.load().shape == (60, 40, 3)


def test_without_a_camera_the_photo_is_upright(tmp_path):
    save(tmp_path / "a.png", np.zeros((40, 60, 3), np.uint8), orientation=6)
    frame = photo_frame(tmp_path / "a.png", name="a")
    assert frame.load().shape[:2] == frame.image_size == (60, 40)


def test_four_quarter_turns_are_none():
    K = lens((40, 60)).intrinsics
    np.testing.assert_allclose(turn_intrinsics(K, (40, 60), 4), K)
    np.testing.assert_allclose(turn_extrinsics(POSE, 4), POSE)
    np.testing.assert_allclose(turn_extrinsics(turn_extrinsics(POSE, 1), 3), POSE)


def test_the_camera_follows_resolution_and_distortion(tmp_path):
    save(tmp_path / "a.png", np.zeros((40, 60, 3), np.uint8))
    frame = photo_frame(tmp_path / "a.png", name="a", lens=lens((80, 120)))
    np.testing.assert_allclose(frame.intrinsics[:2], lens((80, 120)).intrinsics[:2] / 2)
    bent = photo_frame(tmp_path / "a.png", name="a", lens=lens((40, 60), coefficients=(-0.2,)))
    assert bent.intrinsics[0, 0] < 50.0  # barrel: more than the centre crop fits
    assert bent.load().shape == (40, 60, 3)


def test_depth_follows_the_photo():
    depth = np.arange(6.0).reshape(2, 3)
    depth[1, 1], depth[1, 2] = np.inf, -1
    frame = Frame(
        name="a",
        image=lambda: np.zeros((4, 6, 3), np.uint8),
        image_size=(6, 4),
        quarter_turns=1,
        depth=lambda: depth,
    )
    np.testing.assert_array_equal(frame.load_depth(), [[3, 0], [0, 1], [0, 2]])
    assert frame.load().shape[:2] == (6, 4)
    assert frame.load_mask() is None


def test_selection_and_hiding_cameras():
    frames = tuple(
        Frame(name=str(i), image=lambda: None, image_size=(2, 2), extrinsics=POSE, intrinsics=np.eye(3))
        for i in range(3)
    )
    scene = Scene(
        name="s", frames=frames, points=np.zeros((5, 3)), visibility=tuple(np.arange(i) for i in range(3))
    )
    chosen = scene.select([2, 0])
    assert [f.name for f in chosen.frames] == ["2", "0"]
    assert [len(v) for v in chosen.visibility] == [2, 0]
    assert scene.posed
    assert scene.extrinsics.shape == (3, 4, 4)
    hidden = scene.without_cameras()
    assert not hidden.posed
    assert hidden.points is None


def test_poses_that_are_not_rigid_are_refused():
    check_pose(POSE, "a")
    tilted = POSE.copy()
    tilted[0, 0] += 0.3
    for pose, message in [
        (POSE[:3], "shape"),
        (POSE * np.nan, "NaN"),
        (POSE @ np.diag([1, 1, -1, 1]), "mirrored"),
        (POSE @ np.diag([3, 3, 3, 1]), "scales by 3"),
        (tilted, "orthonormal"),
        (POSE.T, "transposed"),
        (POSE + 1e308 * np.eye(4, k=3), "stands at"),
    ]:
        with pytest.raises(InputError, match=message):
            check_pose(pose, "a")
    with pytest.raises(InputError, match="positive focal"):
        Frame(name="a", image=lambda: None, image_size=(2, 2), intrinsics=np.diag([-1.0, 1, 1]))
