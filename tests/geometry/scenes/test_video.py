"""Frames of a video are found by time; a phone's rotation is applied; what is no video is refused."""

import subprocess

import imageio_ffmpeg
import numpy as np
import pytest

from geometry.errors import InputError
from geometry.scenes import video
from geometry.scenes.photos import open_photos


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
    assert video.probe(clip) == ([pytest.approx(k / 10) for k in range(20)], False)
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


def ffmpeg(*arguments):
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)], check=True)


def levels(path):
    return [float(frame.load()[30:, 30:].mean()) for frame in video.read_scene(path).frames]


def test_every_frame_of_a_varying_rate_comes_once_and_in_order(clip, tmp_path):
    """A phone in dim light: a few fast frames, a few slow ones, a few fast ones."""
    varying = tmp_path / "varying.mp4"
    select = "select='lt(n,6)+eq(n,9)+eq(n,15)+gte(n,17)'"
    ffmpeg("-i", clip, "-vf", select, "-fps_mode", "vfr", "-bf", "2", varying)
    np.testing.assert_allclose(levels(varying), 10 * np.array([*range(6), 9, 15, 17, 18, 19]), atol=4)


@pytest.mark.extended
@pytest.mark.parametrize("suffix", ["avi", "mkv", "ts", "m2ts", "mpg", "webm"])
def test_containers(clip, tmp_path, suffix):
    other = tmp_path / f"other.{suffix}"
    codec = {"avi": "mpeg4", "mpg": "mpeg2video", "webm": "libvpx"}.get(suffix, "libx264")
    ffmpeg("-i", clip, "-r", "25", "-c:v", codec, "-g", "12", "-q:v", "2", "-b:v", "2M", other)
    found = open_photos(other)
    assert len(found) == 50
    shown = [float(f.load()[30:, 30:].mean()) for f in found.frames]
    assert (np.diff(shown) > -3).all()
    np.testing.assert_allclose(shown[::10], [0, 40, 80, 120, 160], atol=12)


def test_what_an_edit_list_cuts_is_not_shown(clip, tmp_path):
    cut = tmp_path / "cut.mp4"
    ffmpeg("-ss", "0.75", "-i", clip, "-c", "copy", cut)
    np.testing.assert_allclose(levels(cut), 10 * np.arange(8, 20), atol=4)


@pytest.mark.parametrize("curve", ["arib-std-b67", "smpte2084"])
def test_hdr_is_brought_to_the_colours_of_other_videos(tmp_path, curve):
    plain, hdr = tmp_path / "plain.mp4", tmp_path / "hdr.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=0xC04020:size=64x48:rate=5:duration=1", plain)
    to_hdr = "setparams=color_trc=bt709:colorspace=bt709:color_primaries=bt709,"
    to_hdr += "zscale=t=linear:npl=203,format=gbrpf32le,"
    to_hdr += f"zscale=p=bt2020:t={curve}:m=bt2020nc:npl=203,format=yuv420p10le"
    ffmpeg("-i", plain, "-vf", to_hdr, "-c:v", "libx265", "-x265-params", "log-level=none", hdr)
    assert not video.probe(plain)[1]
    assert video.probe(hdr)[1]
    colour = video.read_scene(hdr).frames[0].load().mean(axis=(0, 1))
    np.testing.assert_allclose(colour, [0xC0, 0x40, 0x20], atol=24)


def test_an_ffmpeg_without_the_filters_is_said(clip, monkeypatch):
    monkeypatch.setattr(video, "probe", lambda path: ([0.0, 0.1], True))
    monkeypatch.setattr(video, "can_tone_map", lambda: False)
    with pytest.warns(UserWarning, match="HDR video will be pale"):
        assert video.read_scene(clip).frames[0].load().shape == (48, 64, 3)


def test_what_is_no_video(tmp_path):
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(InputError, match=r"a\.mp4: expected a video"):
        video.read_scene(tmp_path / "a.mp4")
    with pytest.raises(InputError, match="no such file"):
        video.probe(tmp_path / "b.mp4")
