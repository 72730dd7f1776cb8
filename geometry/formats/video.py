"""Frames of a video, decoded one at a time by the ffmpeg that comes with imageio-ffmpeg."""

import io
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from geometry.data.scene import Frame, Scene
from geometry.errors import InputError

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".3gp"})


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a video's container says."""

    frame_count: int
    duration: float  # seconds


def probe(path: Path) -> VideoInfo:
    """Number of frames and duration, by reading the container without decoding.

    Raises:
        InputError: no such file, or no video that ffmpeg can read.
    """
    if not path.is_file():
        raise InputError(f"{path}: wanted a video, found no such file")
    try:
        count, seconds = imageio_ffmpeg.count_frames_and_secs(path)
    except (RuntimeError, OSError, ValueError) as error:
        raise InputError(f"{path}: wanted a video, came a file that ffmpeg cannot read") from error
    if count < 1:
        raise InputError(f"{path}: wanted a video, came one without frames")
    return VideoInfo(frame_count=count, duration=seconds)


def read_frame(path: Path, seconds: float) -> UInt8[np.ndarray, "H W 3"]:
    """The frame shown at a time, 8-bit RGB; rotation stored by phones is applied.

    Raises:
        InputError: there is no frame, or it is damaged.
    """
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-ss", f"{seconds:.6f}"]
    command += [
        "-i",
        str(path),
        "-frames:v",
        "1",
        "-f",
        "image2pipe",
        "-c:v",
        "ppm",
        "-pix_fmt",
        "rgb24",
        "-",
    ]
    done = subprocess.run(command, capture_output=True, check=False)
    try:
        return np.array(Image.open(io.BytesIO(done.stdout)).convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
        raise InputError(f"{path}: wanted a frame at {seconds:.3f} s, ffmpeg gave none ({reason})") from error


def read_scene(path: Path, max_frames: int = 300) -> Scene:
    """Unposed scene of at most ``max_frames`` frames, evenly spaced in time, the middle of each span.

    Frames are found again by time when loaded, so nothing is kept in memory or on disk.
    """
    info = probe(path)
    count = min(max_frames, info.frame_count)
    times = [(i + 0.5) * info.duration / count for i in range(count)]
    H, W = read_frame(path, times[0]).shape[:2]
    digits = max(4, len(str(count)))
    frames = tuple(
        Frame(
            name=f"{path.stem}_{i + 1:0{digits}d}.png",
            image=partial(read_frame, path, time),
            image_size=(H, W),
            timestamp=time,
        )
        for i, time in enumerate(times)
    )
    return Scene(name=path.stem, frames=frames, folder=path.parent)
