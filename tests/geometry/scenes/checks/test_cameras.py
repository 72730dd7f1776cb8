"""Right cameras pass, wrong conventions are named, and thin evidence accuses nobody."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from geometry.errors import InputError
from geometry.scenes.checks import cameras as convention_check
from geometry.scenes.checks.cameras import (
    _angle_to_locus,
    candidates,
    check_cameras,
    check_scale,
    require_consistent_cameras,
)
from geometry.scenes.photos import open_photos
from geometry.scenes.scene import Frame, Scene

K = np.array([[80.0, 0, 40], [0, 80, 30], [0, 0, 1]])  # 53 degrees wide


def look(centre, target, up=(0, 0, 1)):
    """World-to-camera pose at a centre that looks at a target."""
    forward = np.subtract(target, centre) / np.linalg.norm(np.subtract(target, centre))
    right = np.cross(forward, up) / np.linalg.norm(np.cross(forward, up))
    pose = np.eye(4)
    pose[:3, :3] = (right, np.cross(forward, right), forward)
    pose[:3, 3] = -pose[:3, :3] @ centre
    return pose


def blank():
    return np.zeros((60, 80, 3), np.uint8)


def scene_of(poses, points=None, image=blank, K=K):
    frames = tuple(
        Frame(name=f"{i}.png", image=image, image_size=(60, 80), extrinsics=pose, intrinsics=K)
        for i, pose in enumerate(poses)
    )
    return Scene(name="s", frames=frames, source="poses.json", points=points)


def with_poses(scene, poses):
    frames = tuple(replace(f, extrinsics=pose) for f, pose in zip(scene.frames, poses))
    return replace(scene, frames=frames)


def ring(count, radius=4.0, outward=False):
    centres = [(radius * np.cos(a), radius * np.sin(a), 1.0) for a in 2 * np.pi * np.arange(count) / count]
    return [look(c, np.multiply(c, 2) * (1, 1, 0.5) if outward else (0, 0, 1)) for c in centres]


@pytest.mark.extended
@pytest.mark.parametrize("wrong", ["inverted", "flipped"])
@pytest.mark.parametrize("capture", ["fox_phone", "sceaux_castle"])
def test_real_captures_pass_and_wrong_conventions_are_named(captures_dir, capture, wrong, recwarn):
    scene = open_photos(captures_dir / capture, check=False)
    if capture == "fox_phone":  # fewer photos, same check, less time
        scene = scene.select(range(0, 18, 3))
    if wrong == "inverted":
        assert require_consistent_cameras(scene).verdict == "consistent"
    broken = with_poses(scene, candidates(scene.extrinsics)[wrong])
    result = check_cameras(broken)
    assert (result.verdict, result.better) == ("contradiction", (wrong,))
    with pytest.raises(InputError, match="they would agree") as error:
        require_consistent_cameras(broken)
    assert str(captures_dir / capture) in str(error.value)


def test_photos_decide_where_points_are_absent(captures_dir):
    scene = open_photos(captures_dir / "sceaux_castle", check=False).select(range(4))
    scene = replace(scene, points=None, visibility=None)
    assert check_cameras(scene).verdict == "consistent"
    flipped = with_poses(scene, candidates(scene.extrinsics)["flipped"])
    assert check_cameras(flipped).better == ("flipped",)
    assert check_cameras(flipped, use_photos=False).verdict == "undecided"


def test_poses_of_other_photos_are_warned_about(captures_dir):
    scene = open_photos(captures_dir / "sceaux_castle", check=False).select(range(4))
    rng = np.random.default_rng(0)
    poses = []
    for _ in range(4):
        pose = np.eye(4)
        pose[:3, :3] = cv2.Rodrigues(rng.normal(size=3))[0]
        pose[:3, 3] = rng.normal(size=3)
        poses.append(pose)
    with pytest.warns(UserWarning, match="other photos"):
        require_consistent_cameras(replace(with_poses(scene, poses), points=None, visibility=None))


CAPTURES = {
    "forward": [look((0, 0.1 * i, 0), (0, 10, 0)) for i in range(6)],
    "sideways": [look((i, 0, 0), (i, 10, 0)) for i in range(6)],
    "panorama": [look((0, 0, 0), (np.cos(a), np.sin(a), 0)) for a in np.arange(0, 6, 0.6)],
    "outward ring": ring(12, outward=True),
    "inward ring": ring(12),
    "one photo": ring(1),
    "two photos": ring(12)[:2],
    "the same pose": [look((1, 0, 0), (0, 1, 0))] * 3,
}


@pytest.mark.parametrize("name", CAPTURES)
def test_poses_alone_accuse_no_ordinary_capture(name):
    scene = scene_of(CAPTURES[name])
    assert require_consistent_cameras(scene).verdict in ("consistent", "undecided")


@pytest.mark.parametrize("name", ["forward", "sideways", "inward ring"])
def test_observed_points_decide_for_any_motion(name):
    points = np.random.default_rng(0).normal(size=(400, 3)) * 1.5 + (
        (0, 0, 0) if "ring" in name else (0, 12, 0)
    )
    scene = scene_of(CAPTURES[name], points)
    seen = []
    for frame in scene.frames:
        local = points @ frame.extrinsics[:3, :3].T + frame.extrinsics[:3, 3]
        pixels = local @ K.T
        x, y = pixels[:, 0] / pixels[:, 2], pixels[:, 1] / pixels[:, 2]
        seen.append(np.flatnonzero((local[:, 2] > 0) & (x > 0) & (x < 80) & (y > 0) & (y < 60)))
    observed = replace(scene, visibility=tuple(seen))
    assert check_cameras(observed).verdict == "consistent"
    for wrong in ("inverted", "flipped"):
        result = check_cameras(with_poses(observed, candidates(scene.extrinsics)[wrong]))
        assert result.verdict == "contradiction"
        assert wrong in result.better
    # Not knowing who saw what, only cameras that see nothing at all are refused.
    assert check_cameras(scene).verdict == "undecided"
    assert "flipped" in check_cameras(with_poses(scene, candidates(scene.extrinsics)["flipped"])).better


def test_cameras_that_share_no_view_contradict_themselves():
    narrow = np.array([[200.0, 0, 40], [0, 200, 30], [0, 0, 1]])  # 23 degrees wide, 8 in a ring
    scene = scene_of(ring(8, outward=True), K=narrow)
    with pytest.raises(InputError, match=r"no camera sees anything that another one sees.*OpenGL"):
        require_consistent_cameras(scene)
    assert check_cameras(scene_of(ring(8), K=narrow)).verdict == "undecided"


def test_a_camera_in_another_unit_is_named():
    poses = ring(6)
    poses[4] = look((4e6, 0, 0), (0, 0, 0))
    with pytest.raises(InputError, match=r"4\.png"):
        check_scale(scene_of(poses))
    check_scale(scene_of(ring(6)))


def test_angle_to_the_locus_by_hand():
    """The second camera stands one unit to the right, both look along z, the first ray straight ahead."""
    relative = np.eye(4)
    relative[0, 3] = -1.0  # x_second = x_first - 1
    first = np.array([[0.0, 0, 1]] * 4)
    seen = np.array([[-1.0, 0, 2], [0, 0, 1], [1, 0, 2], [-1, 1, 2]])  # depth 2, infinity, impossible, off
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    angle = _angle_to_locus(first, seen, relative)
    np.testing.assert_allclose(angle[:2], 0, atol=1e-12)
    assert angle[2] == pytest.approx(np.arctan(0.5))  # nearest possible place: infinity
    assert angle[3] == pytest.approx(np.arcsin(1 / np.sqrt(6)))
    np.testing.assert_allclose(_angle_to_locus(first, seen, np.eye(4))[1:3], [0, np.arctan(0.5)], atol=1e-12)


def test_every_hypothesis_has_words():
    assert candidates(np.stack(ring(3))).keys() == convention_check.HYPOTHESES.keys()
