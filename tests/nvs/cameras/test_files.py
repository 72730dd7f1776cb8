import json
import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.testing import assert_close

from geometry.errors import InputError
from geometry.ops import se3
from geometry.scenes.transforms_json import write_scene
from nvs.cameras import cameras_and_size, cameras_from_file

SIZE = (80, 100)


def write(path, count: int = 3) -> tuple[np.ndarray, np.ndarray]:
    extrinsics = np.tile(np.eye(4), (count, 1, 1))
    extrinsics[:, :3, :3] = Rotation.random(count, random_state=0).as_matrix()
    extrinsics[:, :3, 3] = np.arange(3 * count).reshape(count, 3)
    intrinsics = np.tile(np.array([[90.0, 0, 48], [0, 95, 41], [0, 0, 1]]), (count, 1, 1))
    names = [f"frame_{i}.png" for i in range(count)]  # none of them exists
    write_scene(path, names, extrinsics, intrinsics, [SIZE] * count)
    return extrinsics, intrinsics


def test_transforms_json_without_its_photos(tmp_path):
    extrinsics, intrinsics = write(tmp_path / "transforms.json")
    cameras = cameras_from_file(tmp_path / "transforms.json")
    assert_close(cameras.extrinsics[0], torch.from_numpy(extrinsics).float())
    assert_close(cameras.intrinsics[0], torch.from_numpy(intrinsics).float())


def test_another_size_covers_and_cuts_evenly(tmp_path):
    _, K = write(tmp_path / "transforms.json")
    cameras = cameras_from_file(tmp_path / "transforms.json", (160, 160))
    # Twice the size is 160 x 200; 20 columns go at either side.
    wanted = torch.tensor([[180.0, 0, 76], [0, 190, 82], [0, 0, 1]])
    assert_close(cameras.intrinsics[0], wanted.expand(3, 3, 3))


def test_the_path_of_a_viewer(tmp_path):
    pose = np.diag([1.0, -1, -1, 1])  # OpenGL axes of the identity
    pose[:3, 3] = (1, 2, 3)
    content = {
        "render_height": 200,
        "render_width": 400,
        "camera_path": [{"camera_to_world": pose.flatten().tolist(), "fov": 90, "aspect": 2}],
    }
    (tmp_path / "path.json").write_text(json.dumps(content))
    cameras = cameras_from_file(tmp_path / "path.json", (100, 200))
    assert_close(cameras.extrinsics[0, 0, :3, 3], torch.tensor([-1.0, -2, -3]))
    assert math.isclose(float(cameras.intrinsics[0, 0, 0, 0]), 50, rel_tol=1e-6)
    assert_close(cameras.intrinsics[0, 0, :2, 2], torch.tensor([100.0, 50.0]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON"),
        ("[]", "found neither"),
        ('{"frames": []}', "found neither"),
        ('{"fl_x": 9, "w": 8, "h": 8, "frames": [{"transform_matrix": [[1, 2]]}]}', "4x4"),
        ('{"fl_x": 9, "w": 8, "h": 8, "frames": [[]]}', "frames 0: expected a pose"),
        (
            '{"fl_x": 9, "w": 8, "h": 8, "frames": [{"transform_matrix": [[2,0,0,0],[0,1,0,0],[0,0,1,0]]}]}',
            "one whose rotation is not orthonormal",
        ),
        ('{"frames": [{"transform_matrix": [[1,0,0,0],[0,1,0,0],[0,0,1,0]]}]}', "frames 0: expected"),
    ],
)
def test_bad_files_give_one_line_that_names_them(tmp_path, text, message):
    (tmp_path / "path.json").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        cameras_from_file(tmp_path / "path.json")
    assert "path.json" in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        cameras_from_file(tmp_path / "absent.json")


def test_one_size_for_all(tmp_path):
    write(tmp_path / "transforms.json")
    cameras, size = cameras_and_size(tmp_path / "transforms.json")
    assert size == SIZE
    assert_close(cameras.intrinsics, cameras_from_file(tmp_path / "transforms.json").intrinsics)
    content = json.loads((tmp_path / "transforms.json").read_text())
    content["frames"][2] |= {"w": 200, "h": 160}  # twice the size, at the same focal length
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    cameras, size = cameras_and_size(tmp_path / "transforms.json")
    assert size == SIZE
    assert_close(cameras.intrinsics[0, 2, 0, 0], torch.tensor(45.0))


def test_a_path_of_a_moved_world_moves_along(tmp_path):
    origin = np.array([5e5, 4.6e6, 300.0])
    for place in ([1.0, 2, 3], origin + np.array([1, 2, 3])):
        pose = np.eye(4)
        pose[:3, 3] = place
        content = {"frames": [{"transform_matrix": pose.tolist()}], "fl_x": 50, "w": 80, "h": 60}
        (tmp_path / "path.json").write_text(json.dumps(content))
        cameras = cameras_from_file(tmp_path / "path.json", None, origin)
        np.testing.assert_allclose(se3.centres(cameras.extrinsics)[0, 0], [1, 2, 3], atol=1e-5)
