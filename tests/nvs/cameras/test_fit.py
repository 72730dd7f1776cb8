import torch

from geometry.views import Cameras
from nvs.cameras.fit import default_size, fit_cameras, scaled_size


def test_sizes():
    assert default_size((504, 378)) == (480, 360)
    assert default_size((280, 504)) == (266, 480)
    assert scaled_size((100, 50), 33) == (32, 16)


def test_fit_cameras_keeps_the_centre():
    K = torch.tensor([[50.0, 0, 40], [0, 50.0, 30], [0, 0, 1]])[None, None]
    cameras = Cameras(extrinsics=torch.eye(4)[None, None], intrinsics=K)
    fitted = fit_cameras(cameras, (60, 80), (90, 90)).intrinsics[0, 0]
    torch.testing.assert_close(fitted, torch.tensor([[75.0, 0, 45], [0, 75.0, 45], [0, 0, 1]]))
