"""Which frames of a video are taken: sharp ones, a small step of the picture apart."""

import math
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
from jaxtyping import Float, UInt8

STEP = 0.03  # of the picture's width that it moves between two keyframes
LEAST = 24  # frames that are taken however little moves, where there are so many
_WIDTH = 320  # at which frames are judged
_JUDGED = 3000  # frames at most that are judged, evenly spaced
_STILL = 0.02  # widths moved in all, below which nothing moves: frames are then even in time


def choose_keyframes(path: Path, total: int, most: int) -> tuple[list[int], str]:
    """Frames of a video, and in words how they were chosen.

    The motion of the picture, the median of the optical flow, divides the video into as many steps as it is
    wide in `STEP`s; of each step the sharpest frame is taken (the variance of its Laplacian).

    Args:
        total: frames that it has.
        most: frames at most.

    Returns:
        Numbers of frames, rising, from 0 on.
    """
    if total <= min(LEAST, most):
        return list(range(total)), f"all {total} frames"
    stride = math.ceil(total / _JUDGED)
    moved, sharpness = _judged(path, stride)
    if len(moved) == 0 or moved.sum() < _STILL:
        count = min(most, total)
        even = [(2 * i + 1) * total // (2 * count) for i in range(count)]
        return even, f"{count} of {total} frames, evenly spaced"
    way = np.cumsum(moved)
    count = min(most, max(LEAST, round(way[-1] / STEP)))
    if count >= total:
        return list(range(total)), f"all {total} frames"
    step = np.minimum((way / way[-1] * count).astype(int), count - 1)
    best = [
        int(rows[np.argmax(sharpness[rows])]) for s in range(count) if len(rows := np.flatnonzero(step == s))
    ]
    # ffmpeg may decode fewer frames than the container counts: then they lie evenly.
    each = stride if len(way) == math.ceil(total / stride) else total / len(way)
    chosen = sorted({min(total - 1, int(i * each)) for i in best})
    share = 100 * way[-1] / len(chosen)
    return chosen, (
        f"{len(chosen)} of {total} frames, the sharpest of each step of {share:.0f} % of the picture's width"
    )


def _judged(path: Path, stride: int) -> tuple[Float[np.ndarray, " F"], Float[np.ndarray, " F"]]:
    """Of every ``stride``-th frame: widths that it moved since the one before, and its sharpness."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    moved, sharpness, before = [], [], None
    for frame in _small_frames(path, stride):
        field = None if before is None else flow.calc(before, frame, None)
        moved.append(0.0 if field is None else float(np.median(np.linalg.norm(field, axis=-1))) / _WIDTH)
        sharpness.append(float(cv2.Laplacian(frame, cv2.CV_32F).var()))
        before = frame
    return np.array(moved), np.array(sharpness)


def _small_frames(path: Path, stride: int) -> Iterator[UInt8[np.ndarray, "h w"]]:
    """Every ``stride``-th frame, grey and upright, `_WIDTH` wide."""
    picked = f"select=not(mod(n\\,{stride})),scale={_WIDTH}:-2:flags=area,format=gray"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-i", str(path)]
    command += ["-vf", picked, "-fps_mode", "passthrough", "-f", "image2pipe", "-c:v", "pgm", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            while process.stdout.readline() == b"P5\n":
                w, h = map(int, process.stdout.readline().split())
                process.stdout.readline()
                yield np.frombuffer(process.stdout.read(w * h), np.uint8).reshape(h, w)
        finally:
            process.kill()
