"""Sky is in one direction for every photo; a white door is not."""

import torch

from geometry.ops.pinhole import project
from geometry.views import Cameras
from nvs.stereo.sky import distant, sky_of

H, W = 20, 30
FOCAL = 20.0


def cameras(*shifts: float, turn: float = 0.0) -> Cameras:
    """Side by side, x to the right; each turned by so many radians more than the one before."""
    extrinsics, intrinsics = torch.eye(4).repeat(len(shifts), 1, 1), torch.eye(3).repeat(len(shifts), 1, 1)
    for i, (pose, shift) in enumerate(zip(extrinsics, shifts)):
        angle = torch.tensor(float(i * turn))
        c, s = angle.cos(), angle.sin()
        pose[:3, :3] = torch.tensor([[c, 0, -s], [0, 1, 0], [s, 0, c]])
        pose[:3, 3] = -pose[:3, :3] @ torch.tensor([float(shift), 0, 0])
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = FOCAL
    intrinsics[:, 0, 2], intrinsics[:, 1, 2] = W / 2, H / 2
    return Cameras(extrinsics=extrinsics[None], intrinsics=intrinsics[None])


def test_small_pale_patches_are_no_sky():
    sky = torch.zeros(2, H, W)
    sky[:, :5] = 0.9
    sky[:, 10:12, 10:14] = 0.9  # 8 of 600 cells
    kept = sky_of(sky, cameras(0, 1))
    assert kept[:, :5].all()
    assert not kept[:, 5:].any()


def test_a_door_moves_past_the_sky():
    """A door two units away, five cells wide, seen from three places; a band of sky above it."""
    shifts = (0.0, 1.0, -1.0)
    probability = torch.zeros(3, H, W)
    probability[:, :4] = 0.9
    doors = [round(W / 2 - FOCAL * shift / 2) for shift in shifts]
    for photo, at in zip(probability, doors):
        photo[8:18, at - 3 : at + 3] = 0.9
    kept = sky_of(probability, cameras(*shifts))
    assert kept[:, :4].all()
    assert not kept[:, 4:].any()
    # What stays where it is, however far the photos are apart, is behind everything.
    probability[:, 8:18, 12:18] = 0.9
    assert sky_of(probability, cameras(*shifts))[:, 8:18, 12:18].all()


def test_turned_photos_are_asked_in_the_same_direction():
    views = cameras(0, 3, turn=0.2)
    centre = torch.tensor([0.0, 0.0, 1e6]).view(1, 1, 1, 3)
    (x, _), _ = (t.flatten() for t in project(centre, views[:, 1:]))
    probability = torch.zeros(2, H, W)
    probability[0, 8:12, 13:17] = 0.9
    probability[1, 8:12, int(x) - 2 : int(x) + 2] = 0.6  # likely enough to bear out, not to be sky
    kept = sky_of(probability, views)
    assert kept[0, 8:12, 13:17].all()
    assert not kept[1].any()
    probability[1] = probability[1].flip(-1)
    assert not sky_of(probability, views).any()


def test_where_no_other_photo_looks_sky_is_at_the_top():
    probability = torch.zeros(2, H, W)
    probability[:, 2:6] = 0.9
    away = cameras(0, 0, turn=torch.pi)
    assert not sky_of(probability, away).any()
    probability[:, :2] = 0.9
    assert sky_of(probability, away)[:, :6].all()


def test_sky_is_on_a_sphere_around_the_camera():
    sky = torch.zeros(1, H, W, dtype=torch.bool)
    sky[:, :5] = True
    depth = distant(torch.ones(1, 1, H, W), sky, cameras(7.0), 10.0)
    assert (depth[0, ~sky] == 1).all()
    y, x = (torch.arange(5) + 0.5 - H / 2)[:, None] / FOCAL, (torch.arange(W) + 0.5 - W / 2) / FOCAL
    torch.testing.assert_close(depth[0, 0, :5] * (1 + x**2 + y**2).sqrt(), torch.full((5, W), 30.0))
