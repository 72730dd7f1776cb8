"""Frames of a video that are taken: each sharp, and a step of the picture from the next."""

import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from geometry.console import listening
from geometry.scenes import keyframes, video
from geometry.scenes.keyframes import LEAST, choose_keyframes

H, W = 72, 128


@pytest.fixture(scope="module")
def wall():
    rng = np.random.default_rng(0)
    noise = sum(
        cv2.resize(rng.uniform(0, 60, (H // s, 2400 // s)).astype(np.float32), (2400, H)) for s in (4, 8, 24)
    )
    return np.repeat(np.clip(noise, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)


def film(path, wall, shifts, blurred=()):
    """A pan over a wall: frame k shows it from column ``shifts[k]`` on."""
    writer = imageio_ffmpeg.write_frames(str(path), (W, H), fps=30, quality=9, macro_block_size=8)
    writer.send(None)
    for k, x in enumerate(shifts):
        frame = wall[:, x : x + W]
        writer.send(np.ascontiguousarray(cv2.blur(frame, (15, 15)) if k in blurred else frame))
    writer.close()
    return path


@pytest.mark.extended
def test_steps_are_even_in_what_the_picture_moves_and_blurred_frames_are_avoided(tmp_path, wall):
    shifts = [0] * 60 + list(range(120)) + [120] * 60 + list(range(120, 240))
    blurred = {k for k in range(60, 360) if k % 3}
    path = film(tmp_path / "pan.mp4", wall, shifts, blurred)
    chosen, how = choose_keyframes(path, len(shifts), 300)
    columns = np.array(shifts)[chosen]
    moving = sum(60 < k < 180 or 240 < k < 360 for k in chosen)
    assert LEAST <= len(chosen) <= 120
    assert moving > 0.75 * len(chosen)  # little of what stands still
    assert np.diff(columns).max() <= 0.12 * W
    assert sum(k in blurred for k in chosen) <= 0.1 * len(chosen)
    assert f"{len(chosen)} of 360 frames, the sharpest of each step of" in how


def test_fewer_are_spread_over_the_motion(tmp_path, wall):
    path = film(tmp_path / "pan.mp4", wall, [3 * k for k in range(120)])
    chosen, _ = choose_keyframes(path, 120, 10)
    assert len(chosen) == 10
    assert max(np.diff(chosen)) <= 24


def test_a_short_video_is_taken_whole_and_a_still_one_evenly(tmp_path, wall):
    short = film(tmp_path / "short.mp4", wall, [3 * k for k in range(20)])
    assert choose_keyframes(short, 20, 300) == (list(range(20)), "all 20 frames")
    still = film(tmp_path / "still.mp4", wall, [0] * 50)
    chosen, how = choose_keyframes(still, 50, 30)
    assert (len(chosen), how) == (30, "30 of 50 frames, evenly spaced")


def test_what_was_taken_is_said(tmp_path, wall):
    path = film(tmp_path / "pan.mp4", wall, list(range(100)))
    lines = []
    with listening(lines.append):
        scene = video.read_scene(path)
    assert any(line.startswith(f"video: {len(scene)} of 100 frames, the sharpest") for line in lines)


def test_of_long_videos_the_very_frames_that_were_judged_are_taken(tmp_path, wall, monkeypatch):
    """Every third frame is judged, all others are blurred."""
    monkeypatch.setattr(keyframes, "_JUDGED", 40)
    blurred = {k for k in range(119) if k % 3}
    path = film(tmp_path / "long.mp4", wall, [3 * k for k in range(119)], blurred)
    chosen, _ = choose_keyframes(path, 119, 30)
    assert not blurred & {*chosen}
