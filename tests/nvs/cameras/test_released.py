import numpy as np
import pytest
import torch
from torch.testing import assert_close

from geometry.errors import InputError
from geometry.ops import se3
from geometry.ops.pinhole import resize_intrinsics
from geometry.views import Cameras
from nvs.cameras import RELEASED_MODES, released

SIZE = (140, 196)


@pytest.fixture(scope="module")
def golden(golden_dir):
    return np.load(golden_dir / "trajectories.npz")


@pytest.fixture
def cameras() -> Cameras:
    """Five cameras in a row, looking the same way: the case with no pivot."""
    extrinsics = torch.eye(4, dtype=torch.float64).repeat(1, 5, 1, 1)
    extrinsics[0, :, 0, 3] = -torch.arange(5.0)
    K = torch.tensor([[100.0, 0, 98], [0, 100, 70], [0, 0, 1]], dtype=torch.float64)
    return Cameras(extrinsics=extrinsics, intrinsics=K.repeat(1, 5, 1, 1))


@pytest.mark.parametrize("mode", RELEASED_MODES)
def test_equals_the_released_path(golden, mode):
    cameras = Cameras(extrinsics=torch.from_numpy(golden["ext"]), intrinsics=torch.from_numpy(golden["K"]))
    path = released(mode, cameras, SIZE)
    normed = resize_intrinsics(path.intrinsics, SIZE, (1, 1))
    assert_close(path.extrinsics[0], torch.from_numpy(golden[f"{mode}/w2c"]), atol=1e-5, rtol=1e-5)
    assert_close(normed[0], torch.from_numpy(golden[f"{mode}/K_normed"]), atol=1e-5, rtol=1e-5)


def test_all_golden_modes_are_ours(golden):
    assert {name.split("/")[0] for name in golden.files if "/" in name} == set(RELEASED_MODES)


def test_parallel_cameras_slide_along_the_line_between_them(cameras):
    path = released("interpolate", cameras, SIZE)
    centres = se3.centres(path.extrinsics[0])
    assert len(centres) == 4 * 12 - 3  # 48 frames asked for over four pairs, shared ends once
    assert_close(centres[:, 1:], torch.zeros_like(centres[:, 1:]), atol=1e-9, rtol=0)
    assert (centres[:, 0].diff() > 0).all()
    assert_close(centres[[0, 11, 22, 33, 44], 0], torch.arange(5.0, dtype=torch.float64))
    rotation = path.extrinsics[0, :, :3, :3]
    assert_close(rotation, torch.eye(3, dtype=torch.float64).expand_as(rotation))


def test_every_scene_of_a_batch_as_alone(golden):
    one = Cameras(extrinsics=torch.from_numpy(golden["ext"]), intrinsics=torch.from_numpy(golden["K"]))
    other = one[:, [3, 4, 5, 0, 1, 2]]
    both = Cameras(
        extrinsics=torch.cat((one.extrinsics, other.extrinsics)),
        intrinsics=torch.cat((one.intrinsics, other.intrinsics)),
    )
    for mode in RELEASED_MODES:
        path = released(mode, both, SIZE)
        assert_close(path.extrinsics[1:], released(mode, other, SIZE).extrinsics)


def test_one_view_is_enough_for_three_modes_and_the_others_say_so(cameras):
    for mode, (_, needed) in RELEASED_MODES.items():
        if needed == 1:
            assert released(mode, cameras[:, :1], SIZE).extrinsics.isfinite().all()
        else:
            with pytest.raises(InputError, match=f"{mode}.*got 1"):
                released(mode, cameras[:, :1], SIZE)


def test_an_unknown_mode_lists_the_known(cameras):
    with pytest.raises(InputError, match="dolly_zoom"):
        released("spiral", cameras, SIZE)
