import imageio_ffmpeg
import numpy as np
import pytest

from geometry.errors import InputError
from geometry.visualize import VideoWriter


def write_video(path, frames, **options) -> None:
    with VideoWriter(path, **options) as video:
        for frame in frames:
            video.add(frame)


def read(path) -> tuple[dict, np.ndarray]:
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    w, h = meta["size"]
    return meta, np.stack([np.frombuffer(frame, np.uint8).reshape(h, w, 3) for frame in reader])


def test_frames_come_back_nearly_as_they_were(tmp_path):
    # Flat patches of strong colours: another matrix than the one in the file's header shifts them far more.
    colours = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200], [128, 128, 128]], np.uint8)
    frames = [np.tile(np.roll(colours, t, axis=0).repeat(16, axis=0), (48, 1, 1)) for t in range(12)]
    write_video(tmp_path / "v.mp4", frames, fps=12, crf=8)
    meta, back = read(tmp_path / "v.mp4")
    assert meta["codec"] == "h264"
    assert meta["pix_fmt"].startswith("yuv420p(tv, bt709")
    assert meta["fps"] == 12
    assert back.shape == (12, 48, 64, 3)
    middles = [8, 24, 40, 56]
    assert np.abs(back[:, 24, middles].astype(int) - np.stack(frames)[:, 24, middles]).max() <= 6


def test_luma_is_what_the_header_says(tmp_path):
    write_video(tmp_path / "v.mp4", [np.full((16, 16, 3), (200, 30, 30), np.uint8)] * 3, crf=5)
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "v.mp4"), pix_fmt="yuv420p", bits_per_pixel=12)
    next(reader)
    luma = np.frombuffer(next(reader), np.uint8)[: 16 * 16]
    wanted = 16 + 219 * (0.2126 * 200 + 0.7152 * 30 + 0.0722 * 30) / 255  # BT.709, limited; BT.601 gives 85
    assert np.abs(luma - wanted).max() <= 2


def test_odd_sizes_are_padded_not_stretched(tmp_path):
    frame = np.zeros((31, 45, 3), np.uint8)
    frame[:, ::6] = 255
    write_video(tmp_path / "v.mp4", [frame] * 3, crf=5)
    _, back = read(tmp_path / "v.mp4")
    assert back.shape == (3, 32, 46, 3)
    assert np.abs(back[0, :31, :45].astype(int) - frame).mean() < 12


def test_frames_are_taken_one_at_a_time(tmp_path):
    alive, most = 0, 0

    class Frame(np.ndarray):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def frames():
        nonlocal alive, most
        for _ in range(20):
            frame = np.zeros((16, 16, 3), np.uint8).view(Frame)
            alive += 1
            most = max(most, alive)
            yield frame
            del frame

    write_video(tmp_path / "v.mp4", frames())
    assert most < 8  # views of one frame are counted too


def test_a_failure_leaves_no_file_and_no_process(tmp_path):
    writer = VideoWriter(tmp_path / "v.mp4")

    def render() -> None:
        with writer as video:
            video.add(np.zeros((16, 16, 3), np.uint8))
            raise RuntimeError("the renderer failed")

    with pytest.raises(RuntimeError, match="renderer"):
        render()
    assert writer._process.poll() is not None
    assert not list(tmp_path.iterdir())


def test_ffmpeg_that_cannot_write_is_one_line(tmp_path):
    def render() -> None:
        with VideoWriter(tmp_path / "v.mp4") as video:
            video._target = tmp_path / "gone" / "v.mp4"
            for _ in range(200):
                video.add(np.zeros((64, 64, 3), np.uint8))

    with pytest.raises(InputError, match=r"v\.mp4: ffmpeg could not write") as caught:
        render()
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_no_frames_and_changing_sizes_are_refused(tmp_path):
    with pytest.raises(InputError, match="at least one frame"):
        write_video(tmp_path / "v.mp4", [])
    with pytest.raises(ValueError, match="expected frames"):
        write_video(tmp_path / "v.mp4", [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 10, 3), np.uint8)])
    assert not list(tmp_path.iterdir())
