"""transforms.json: conventions by hand, every way of stating intrinsics, photos that are not there."""

import json
import math

import cv2
import numpy as np
import pytest
from PIL import Image
from scenes import save_grey

from geometry.errors import InputError
from geometry.scenes import transforms_json
from geometry.scenes.transforms_json import read_scene, write_scene

# A camera at (1, 2, 3) looking along world -z with y up: the identity in OpenGL.
POSE = [[1.0, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]
SHARED = {"fl_x": 50.0, "fl_y": 60.0, "cx": 41.0, "cy": 29.0, "w": 80, "h": 60}


def capture(folder, names=("images/0.png",), keys=SHARED, frame_keys=None, size=(60, 80), save=True):
    for name in names if save else ():
        save_grey(folder / name, size)
    frames = [{"file_path": n, "transform_matrix": POSE, **(frame_keys or {})} for n in names]
    (folder / "transforms.json").write_text(json.dumps({**keys, "frames": frames}))
    return folder / "transforms.json"


def test_opengl_camera_to_world_becomes_opencv_world_to_camera(tmp_path):
    frame = read_scene(capture(tmp_path)).frames[0]
    # The point one unit ahead (z = 2), a little up: OpenCV z = 1, y negative.
    local = frame.extrinsics @ [1, 2.5, 2, 1]
    np.testing.assert_allclose(local, [0, -0.5, 1, 1])
    np.testing.assert_allclose(frame.intrinsics, [[50, 0, 41], [0, 60, 29], [0, 0, 1]])
    assert frame.image_size == (60, 80)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"camera_angle_x": 2 * math.atan(0.8), "w": 80, "h": 60}, (50, 50, 40, 30)),
        ({"camera_angle_x": 2 * math.atan(0.8)}, (50, 50, 40, 30)),
        ({"fl_x": 50.0, "w": 80.0, "h": 60.0}, (50, 50, 40, 30)),
        (
            {"x_fov": math.degrees(2 * math.atan(0.8)), "y_fov": 2 * math.degrees(math.atan(0.5))},
            (50, 60, 40, 30),
        ),
        ({**SHARED, "camera_angle_x": 1.0, "camera_angle_y": 1.0}, (50, 60, 41, 29)),
        (
            {"camera_angle_x": 2 * math.atan(0.8), "camera_angle_y": 2 * math.atan(0.5)},
            (50, 60, 40, 30),
        ),
    ],
)
def test_intrinsics_however_they_are_stated(tmp_path, keys, expected):
    K = read_scene(capture(tmp_path, keys=keys)).frames[0].intrinsics
    np.testing.assert_allclose((K[0, 0], K[1, 1], K[0, 2], K[1, 2]), expected)


def test_a_frames_own_intrinsics_come_first(tmp_path):
    scene = read_scene(capture(tmp_path, frame_keys={"fl_x": 99.0}))
    assert scene.frames[0].intrinsics[0, 0] == 99.0


def test_intrinsics_of_another_resolution_are_rescaled(tmp_path):
    """DL3DV: the file says images/ and full size, the folder at hand is an eighth of it."""
    keys = {k: v * 8 for k, v in SHARED.items()}
    path = capture(tmp_path, names=["images/frame_00001.png"], keys=keys, save=False)
    save_grey(tmp_path / "images_8/frame_00001.png")
    frame = read_scene(path, tmp_path / "images_8").frames[0]
    np.testing.assert_allclose(frame.intrinsics, [[50, 0, 41], [0, 60, 29], [0, 0, 1]])


def test_distortion_and_fisheye(tmp_path):
    keys = {**SHARED, "k1": -0.1, "k2": 0.02, "p1": 0.001, "p2": 0.002}
    lens = read_scene(capture(tmp_path, keys=keys)).frames[0].lens
    assert (lens.family, lens.coefficients) == ("opencv", (-0.1, 0.02, 0.001, 0.002, 0, 0))
    keys = {**SHARED, "camera_model": "OPENCV_FISHEYE", "k1": 0.1, "k2": 0.01, "k3": 0.001, "k4": 0.0001}
    lens = read_scene(capture(tmp_path, keys=keys)).frames[0].lens
    assert (lens.family, lens.coefficients) == ("fisheye", (0.1, 0.01, 0.001, 0.0001))


def test_nerfstudios_list_of_distortion(tmp_path):
    """In the file or in a frame; a frame's own keys come first."""
    listed = [-0.1, 0.02, 0.003, 0, 0.001, 0.002]  # k1 k2 k3 k4 p1 p2
    expected = (-0.1, 0.02, 0.001, 0.002, 0.003, 0)
    for keys, own in (
        ({**SHARED, "distortion_params": listed}, {}),
        ({**SHARED, "k1": 9}, {"distortion_params": listed}),
        ({**SHARED, "distortion_params": [9, *listed[1:]]}, {"k1": -0.1}),
    ):
        path = capture(tmp_path, keys=keys, frame_keys=own)
        assert read_scene(path).frames[0].lens.coefficients == expected


@pytest.mark.parametrize("factor", [2, 4, 0.5])
def test_without_a_size_the_principal_point_tells_the_resolution(tmp_path, factor):
    """Photos were made smaller, and their w and h are not stated: the camera goes along."""
    keys = {k: v * factor for k, v in SHARED.items() if k not in "wh"}
    K = read_scene(capture(tmp_path, keys=keys)).frames[0].intrinsics
    np.testing.assert_allclose(K, [[50, 0, 41], [0, 60, 29], [0, 0, 1]])


@pytest.mark.parametrize("principal", [(60, 45), (90, 29), (41, -1)])
def test_without_a_size_a_contradiction_is_refused(tmp_path, principal):
    keys = {"fl_x": 50, "cx": principal[0], "cy": principal[1]}
    with pytest.raises(InputError, match=r"0\.png: expected w and h"):
        read_scene(capture(tmp_path, keys=keys))


def test_without_a_size_a_cut_photo_keeps_its_principal_point(tmp_path):
    K = read_scene(capture(tmp_path, keys={"fl_x": 50, "cx": 70, "cy": 29})).frames[0].intrinsics
    assert K[0, 2] == 70


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_of_windows_programs(tmp_path, encoding):
    path = capture(tmp_path)
    path.write_bytes(path.read_text().encode(encoding))
    assert read_scene(path).posed


def test_a_homogeneous_matrix_may_be_scaled(tmp_path):
    path = capture(tmp_path, frame_keys={"transform_matrix": (0.5 * np.array(POSE)).tolist()})
    np.testing.assert_allclose(read_scene(path).extrinsics, read_scene(capture(tmp_path)).extrinsics)


def test_missing_files_are_counted_in_one_warning_and_extensions_may_be_missing(tmp_path):
    path = capture(tmp_path, ["images/10", "images/2", "images/3", "images/4"], save=False)
    save_grey(tmp_path / "images/10.png")
    save_grey(tmp_path / "images/2.PNG")
    with pytest.warns(UserWarning, match="2 of 4 listed photos are missing") as caught:
        scene = read_scene(path)
    assert len(caught) == 1
    assert [f.name for f in scene.frames] == ["images/2", "images/10"]


def test_depth_and_mask_follow(tmp_path):
    save_grey(tmp_path / "images/0.png")
    Image.fromarray(np.full((60, 80), 1500, np.uint16)).save(tmp_path / "depth.png")
    mask = np.zeros((60, 80), np.uint8)
    mask[:30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    frame_keys = {"depth_file_path": "depth.png", "mask_path": "mask.png"}
    frame = read_scene(capture(tmp_path, frame_keys=frame_keys)).frames[0]
    np.testing.assert_allclose(frame.load_depth(), 1.5)
    np.testing.assert_array_equal(frame.load_mask(), mask > 0)


def bad(tmp_path, kind):
    path = tmp_path / "transforms.json"
    if kind == "not json":
        path.write_text("{frames: ")
    elif kind == "a list":
        path.write_text("[1, 2]")
    elif kind == "no frames":
        path.write_text("{}")
    elif kind == "no focal":
        capture(tmp_path, keys={"w": 80, "h": 60})
    elif kind == "no pose":
        capture(tmp_path, frame_keys={"transform_matrix": "x"})
    elif kind == "nan":
        capture(tmp_path, frame_keys={"transform_matrix": [[math.nan] * 4] * 4})
    elif kind == "mirrored":
        capture(tmp_path, frame_keys={"transform_matrix": np.diag([1, -1, 1, 1]).tolist()})
    elif kind == "scaled":
        capture(tmp_path, frame_keys={"transform_matrix": np.diag([2, 2, 2, 1]).tolist()})
    elif kind == "sheared":
        capture(tmp_path, frame_keys={"transform_matrix": [[1, 1, 0, 0], *np.eye(4)[1:].tolist()]})
    elif kind == "transposed":
        capture(tmp_path, frame_keys={"transform_matrix": np.array(POSE).T.tolist()})
    elif kind == "other photos":
        capture(tmp_path, ["images/7.png"], save=False)
    elif kind == "other shape":
        capture(tmp_path, size=(70, 71))
    elif kind == "normalised":
        capture(tmp_path, keys={"fl_x": 0.9, "fl_y": 1.2, "cx": 0.5, "cy": 0.5, "w": 80, "h": 60, "k1": 0.1})
    elif kind == "millimetres":
        capture(tmp_path, keys={**SHARED, "fl_x": 4.2, "fl_y": 4.2})
    elif kind == "negative":
        capture(tmp_path, keys={**SHARED, "fl_x": -50.0})
    elif kind == "degrees":
        capture(tmp_path, keys={"camera_angle_x": 77.3, "w": 80, "h": 60})
    elif kind == "k5":
        capture(tmp_path, keys={**SHARED, "k5": 0.1})
    elif kind == "long distortion":
        capture(tmp_path, keys={**SHARED, "distortion_params": [0.1] * 8})
    elif kind == "unknown model":
        capture(tmp_path, keys={**SHARED, "camera_model": "ORTHOPHOTO"})
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("not json", "expected JSON"),
        ("a list", "got list"),
        ("no frames", "found none"),
        ("no focal", "expected fl_x"),
        ("no pose", "expected a transform_matrix"),
        ("nan", "NaN"),
        ("mirrored", "mirrored"),
        ("scaled", "scales by 2"),
        ("sheared", "not orthonormal"),
        ("transposed", "transposed"),
        ("other photos", "other photos"),
        ("other shape", "shaped like its camera"),
        ("unknown model", "ORTHOPHOTO"),
        ("normalised", "frame images/0.png: expected focal lengths in pixels, got 0.9 and 1.2 .*60 x 80"),
        ("millimetres", "frame images/0.png: expected focal lengths in pixels"),
        ("negative", "frame images/0.png: expected a camera with finite numbers, positive focal"),
        ("degrees", "frame images/0.png: expected camera_angle_x in radians, between 0 and pi, got 77.3"),
        ("k5", "frame images/0.png: expected no further distortion, got k5 = 0.1"),
        ("long distortion", "expected distortion_params k1, k2"),
    ],
)
def test_bad_files_are_one_line(tmp_path, kind, message):
    path = bad(tmp_path, kind)
    with pytest.raises(InputError, match=message) as error:
        read_scene(path)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("same", [True, False])
def test_round_trip(tmp_path, same):
    rng = np.random.default_rng(0)
    poses = np.tile(np.eye(4), (3, 1, 1))
    for pose in poses:
        pose[:3, :3] = cv2.Rodrigues(rng.normal(size=3))[0]
        pose[:3, 3] = rng.normal(size=3)
    K = np.tile([[50.0, 0, 41], [0, 60, 29], [0, 0, 1]], (3, 1, 1))
    K[2, 0, 0] += 0 if same else 5
    names = [f"images/{i}.png" for i in range(3)]
    for name in names:
        save_grey(tmp_path / name)
    write_scene(tmp_path / "transforms.json", names, poses, K, [(60, 80)] * 3)
    scene = read_scene(tmp_path / "transforms.json")
    np.testing.assert_allclose(scene.extrinsics, poses, atol=1e-14)
    np.testing.assert_allclose(scene.intrinsics, K)
    assert ("fl_x" in json.loads((tmp_path / "transforms.json").read_text())) == same


def test_real_capture_matches_between_photos(captures_dir):
    """Matched features of two undistorted photos satisfy the epipolar constraint of the poses as read."""
    with pytest.warns(UserWarning, match="17 of 67 listed photos are missing"):
        scene = transforms_json.read_scene(captures_dir / "fox_phone/transforms.json")
    assert len(scene) == 50
    assert scene.posed
    a, b = scene.frames[0], scene.frames[2]
    sift = cv2.SIFT_create(1500)
    (ka, da), (kb, db) = (sift.detectAndCompute(f.load(), None) for f in (a, b))
    pairs = cv2.BFMatcher().knnMatch(da, db, k=2)
    good = [m for m, n in pairs if m.distance < 0.7 * n.distance]
    pa = np.array([ka[m.queryIdx].pt for m in good]) + 0.5
    pb = np.array([kb[m.trainIdx].pt for m in good]) + 0.5
    T = b.extrinsics @ np.linalg.inv(a.extrinsics)
    tx = np.cross(np.eye(3), T[:3, 3])
    F = np.linalg.inv(b.intrinsics).T @ (-tx) @ T[:3, :3] @ np.linalg.inv(a.intrinsics)
    lines = np.c_[pa, np.ones(len(pa))] @ F.T
    distance = np.abs((lines * np.c_[pb, np.ones(len(pb))]).sum(1)) / np.hypot(lines[:, 0], lines[:, 1])
    assert len(good) > 50
    assert np.median(distance) < 1.0
