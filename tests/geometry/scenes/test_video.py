"""Frames of a video are found by time; a phone's rotation is applied; what is no video is refused."""

import subprocess

import imageio_ffmpeg
import numpy as np
import pytest

from geometry.errors import InputError
from geometry.scenes import video


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Twenty frames, 10 per second, 64 x 48; frame k is grey 10 k with a white top-left corner."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    writer = imageio_ffmpeg.write_frames(str(path), (64, 48), fps=10, quality=9, macro_block_size=8)
    writer.send(None)
    for k in range(20):
        frame = np.full((48, 64, 3), 10 * k, np.uint8)
        frame[:16, :16] = 255
        writer.send(frame)
    writer.close()
    return path


def test_frames_are_evenly_spaced_in_time(clip):
    assert video.probe(clip)[0] == 20
    scene = video.read_scene(clip, max_frames=5)
    assert not scene.posed
    assert [f.name for f in scene.frames] == [f"clip_{i:04d}.png" for i in range(1, 6)]
    for frame, k in zip(scene.frames, (2, 6, 10, 14, 18)):
        image = frame.load()
        assert image.shape == (48, 64, 3)
        assert abs(float(image[30:, 30:].mean()) - 10 * k) <= 4  # frames are ten levels apart
        assert image[:12, :12].mean() > 240


def test_no_more_frames_than_there_are(clip):
    scene = video.read_scene(clip)
    assert len(scene) == 20
    levels = [float(f.load()[30:, 30:].mean()) for f in (scene.frames[0], scene.frames[19])]
    np.testing.assert_allclose(levels, [0, 190], atol=4)


def test_after_the_end_the_last_frames_are_found(clip):
    assert video.read_frame(clip, 2.05).mean() > 150


def test_rotation_of_a_phone_is_applied(clip, tmp_path):
    turned = tmp_path / "turned.mov"
    exe = imageio_ffmpeg.get_ffmpeg_exe()
    command = [exe, "-v", "error", "-display_rotation", "90", "-i", str(clip), "-c", "copy", str(turned)]
    subprocess.run(command, check=True)
    frame = video.read_scene(turned, max_frames=3).frames[0]
    assert frame.image_size == (64, 48)
    assert frame.load()[-12:, :12].mean() > 240  # a quarter counter-clockwise: top left goes to bottom left


def test_what_is_no_video(tmp_path):
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(InputError, match=r"a\.mp4: expected a video"):
        video.read_scene(tmp_path / "a.mp4")
    with pytest.raises(InputError, match="no such file"):
        video.probe(tmp_path / "b.mp4")
