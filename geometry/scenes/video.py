"""Frames of a video, decoded one at a time by the ffmpeg that comes with imageio-ffmpeg."""

import io
import subprocess
from functools import partial
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from geometry.errors import InputError
from geometry.scenes.scene import Frame, Scene

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".3gp"})


def probe(path: Path) -> tuple[int, float]:
    """Number of frames and duration in seconds, by reading the container without decoding.

    Raises:
        InputError: no such file, or no video that ffmpeg can read.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a video, found no such file")
    try:
        count, seconds = imageio_ffmpeg.count_frames_and_secs(path)
    except (RuntimeError, OSError, ValueError) as error:
        raise InputError(f"{path}: expected a video, got a file that ffmpeg cannot read") from error
    if count < 1:
        raise InputError(f"{path}: expected a video, got one without frames")
    return count, seconds


def read_frame(path: Path, seconds: float) -> UInt8[np.ndarray, "H W 3"]:
    """The first frame at or after a time, 8-bit RGB; rotation stored by phones is applied.

    Containers with a varying frame rate can state a duration beyond their last frame; after the end
    the search goes back in growing steps, up to two seconds.

    Raises:
        InputError: there is no frame, or it is damaged.
    """
    for back in (0.0, 0.2, 0.5, 2.0):
        seek = f"-v error -nostdin -ss {max(0.0, seconds - back):.6f} -i".split()
        out = ["-frames:v", "1", "-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "-"]
        command = [imageio_ffmpeg.get_ffmpeg_exe(), *seek, str(path), *out]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.stdout or done.stderr:
            break
    try:
        return np.array(Image.open(io.BytesIO(done.stdout)).convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
        raise InputError(
            f"{path}: expected a frame at {seconds:.3f} s, ffmpeg gave none ({reason})"
        ) from error


def read_scene(path: Path, max_frames: int = 300) -> Scene:
    """Unposed scene of at most ``max_frames`` frames, evenly spaced, the middle of each span.

    Frames are found again by time when loaded, so nothing is kept in memory or on disk.
    """
    total, seconds = probe(path)
    count = min(max_frames, total)
    chosen = [(2 * i + 1) * total // (2 * count) for i in range(count)]
    # Half a frame early: ffmpeg gives the first frame at or after the time asked for.
    times = [max(0.0, (k - 0.5) * seconds / total) for k in chosen]
    H, W = read_frame(path, times[0]).shape[:2]
    digits = max(4, len(str(count)))
    frames = tuple(
        Frame(
            name=f"{path.stem}_{i:0{digits}d}.png", image=partial(read_frame, path, time), image_size=(H, W)
        )
        for i, time in enumerate(times, start=1)
    )
    return Scene(name=path.stem, frames=frames, folder=path.parent)
