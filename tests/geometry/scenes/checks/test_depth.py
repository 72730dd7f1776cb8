"""Every usual mistake is named; a right scene is left alone; what cannot be told is not claimed."""

from dataclasses import replace

import numpy as np
import pytest
from scenes import make_room, render, scene_of

from geometry.scenes.checks.depth import Reading, check_depth


@pytest.fixture(scope="module")
def scene():
    return scene_of(make_room(8, (60, 80)))


def with_poses(scene, poses):
    frames = (replace(f, extrinsics=E) for f, E in zip(scene.frames, poses))
    return replace(scene, frames=tuple(frames))


def with_depth(scene, change):
    frames = (replace(f, depth=lambda f=f: change(f, f.depth())) for f in scene.frames)
    return replace(scene, frames=tuple(frames))


def rays(frame):
    H, W = frame.image_size
    x, y = np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5)
    return np.stack((x, y, np.ones_like(x)), -1) @ np.linalg.inv(frame.intrinsics).T


def transposed(E):
    E = E.copy()
    E[:, :3, :3] = E[:, :3, :3].swapaxes(1, 2)
    return E


def centres(E):
    wrong = E.copy()
    wrong[:, :3, 3] = np.linalg.inv(E)[:, :3, 3]
    return wrong


FLIP = np.diag([1.0, -1, -1, 1])
MISTAKES = {
    "inverted": (lambda s: with_poses(s, np.linalg.inv(s.extrinsics)), Reading(poses="inverted")),
    "flipped": (lambda s: with_poses(s, FLIP @ s.extrinsics), Reading(poses="flipped")),
    "OpenGL camera-to-world": (
        lambda s: with_poses(s, np.linalg.inv(s.extrinsics) @ FLIP),
        Reading(poses="inverted and flipped"),
    ),
    "transposed": (lambda s: with_poses(s, transposed(s.extrinsics)), Reading(poses="transposed")),
    "centres": (lambda s: with_poses(s, centres(s.extrinsics)), Reading(poses="centres")),
    "millimetres": (lambda s: with_depth(s, lambda f, d: d * 1000), Reading(unit=1e-3)),
    "distance": (
        lambda s: with_depth(s, lambda f, d: d * np.linalg.norm(rays(f), axis=-1)),
        Reading(depth="ray"),
    ),
    "intrinsics of half the size": (
        lambda s: replace(
            s, frames=tuple(replace(f, intrinsics=np.diag([0.5, 0.5, 1]) @ f.intrinsics) for f in s.frames)
        ),
        Reading(intrinsics=2.0),
    ),
    "two at once": (
        lambda s: with_depth(with_poses(s, np.linalg.inv(s.extrinsics)), lambda f, d: d * 1000),
        Reading(poses="inverted", unit=1e-3),
    ),
}


@pytest.mark.extended
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(scene, mistake):
    make, reading = MISTAKES[mistake]
    found = check_depth(make(scene))
    assert found.verdict == "contradiction"
    assert found.better == reading
    assert found.better.changes
    assert not found.rivals


@pytest.mark.extended
def test_right_scenes_are_left_alone(scene):
    found = check_depth(scene)
    assert found.verdict == "consistent"
    assert found.agreement > 0.99
    assert not found.rivals
    noisy = with_depth(scene, lambda f, d: d * np.random.default_rng(0).normal(1, 0.01, d.shape))
    assert check_depth(noisy).verdict == "consistent"


@pytest.mark.extended
def test_depth_of_another_resolution_than_the_photo(scene):
    assert check_depth(with_depth(scene, lambda f, d: d[::2, ::2])).verdict == "consistent"


def test_poses_of_other_photos_are_not_explained_away(scene):
    order = np.random.default_rng(0).permutation(len(scene))
    found = check_depth(with_poses(scene, scene.extrinsics[order]))
    assert found.verdict == "contradiction"
    assert found.better is None


def test_a_camera_that_hardly_moves_tells_little():
    """The same view again and again agrees with itself under any pose convention: rivals are listed."""
    view = render(np.eye(4), np.array([[60.0, 0, 40], [0, 60, 30], [0, 0, 1]]), (60, 80))
    found = check_depth(scene_of([view] * 4))
    assert found.verdict == "consistent"
    assert Reading(poses="inverted") in found.rivals


def test_too_little_depth_decides_nothing(scene):
    found = check_depth(
        with_depth(scene, lambda f, d: np.where(np.arange(d.size).reshape(d.shape) < 2, d, 0))
    )
    assert found.verdict == "undecided"
    assert check_depth(with_depth(scene, lambda f, d: d * 0)).verdict == "undecided"


def test_views_of_different_places_decide_nothing():
    K = np.array([[90.0, 0, 40], [0, 90, 30], [0, 0, 1]])
    back = np.diag([-1.0, 1, -1, 1])
    scene = scene_of([render(np.eye(4), K, (60, 80)), render(back, K, (60, 80))])
    assert check_depth(scene).verdict == "undecided"
