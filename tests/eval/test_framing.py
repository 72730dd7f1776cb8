"""Photos to judged images: what is shown agrees with the cameras that say so."""

import numpy as np
import pytest
import scenes
import torch
from scenes import make_arc, write_capture

from eval.benchmarks.folder import Captures
from eval.protocols.framing import Framing, framed_cameras, framed_image, framed_views, network_size
from geometry.errors import InputError


@pytest.fixture(scope="module")
def tall(tmp_path_factory):
    """Portrait photos, of which a 16:9 image shows a band."""
    return Captures(write_capture(tmp_path_factory.mktemp("tall") / "room", make_arc(3, size=(128, 72))))


@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_image_and_camera_agree(tall, fit):
    frames = tall.read("room").frames
    framing, size = Framing(size=(36, 64), fit=fit), (36, 64)
    cameras = framed_cameras(frames, framing, size)
    for i, frame in enumerate(frames):
        shown = framed_image(frame, framing, size)[0].movedim(0, -1).numpy() * 255
        K = cameras.intrinsics[0, i].double().numpy()
        drawn = scenes.render(frame.extrinsics, K, size).image
        assert np.abs(shown - drawn).mean() < 6
        off = K + np.array([[0, 0, 3], [0, 0, 3], [0, 0, 0]])
        shifted = scenes.render(frame.extrinsics, off, size).image
        assert np.abs(shown - drawn).mean() < 0.5 * np.abs(shown - shifted).mean()
    fx, fy = cameras.intrinsics[0, 0].diagonal()[:2].tolist()
    # Windows are whole pixels of the photo: 72 x 40 stands for 72 x 40.5.
    assert fx / fy == pytest.approx(1 if fit == "crop" else (64 / 72) / (36 / 128), rel=0.02)


def test_all_sizes_show_the_same_window(tall):
    frames = tall.read("room").frames
    large, small = framed_views(frames, Framing(size=(36, 64)), (36, 64), (28, 70))
    factor = torch.tensor([[70 / 64], [28 / 36], [1.0]])
    torch.testing.assert_close(small.cameras.intrinsics, large.cameras.intrinsics * factor)
    assert small.images.shape == (1, 3, 3, 28, 70)


def test_sizes(tall, unchecked):
    frames = tall.read("room").frames
    assert Framing(size=(270, 480)).image_size(frames) == (270, 480)
    assert Framing(long_side=480).image_size(frames) == (480, 270)
    assert network_size((270, 480)) == (266, 476)
    assert network_size((8, 21)) == (14, 28)  # 21 lies in the middle: up
    for wrong in ({"fit": "pad"}, {"size": (270,)}, {"long_side": 3}):
        with pytest.raises(InputError, match="benchmark"):
            Framing(**wrong)
