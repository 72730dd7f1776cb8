"""Frames of a video, decoded one at a time by the ffmpeg that comes with imageio-ffmpeg."""

import io
import subprocess
import warnings
from fractions import Fraction
from functools import partial
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from geometry.console import say
from geometry.errors import InputError
from geometry.scenes.keyframes import choose_keyframes
from geometry.scenes.scene import Frame, Scene

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts", ".3gp", ".3g2"}
    | {".wmv", ".flv", ".ogv"}
)
# Streams in which ffmpeg finds no key frame: it is let start early and drops frames until the wanted one.
_WITHOUT_INDEX = frozenset({".mpg", ".mpeg", ".mts", ".m2ts", ".ts"})
_LONGEST_GOP = 10.0  # seconds between key frames
_HDR = ("arib-std-b67", "smpte2084")  # transfer curves: HLG, which phones film in, and PQ
# To BT.709, with the white that HDR video has at 203 nits (ITU-R BT.2408) as white; lights above it are
# compressed.
_TO_SDR = (
    "zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt709,tonemap=mobius:desat=0,"
    "zscale=t=bt709:m=bt709:r=full"
)


def probe(path: Path) -> tuple[list[float], bool]:
    """Times of the frames in seconds, in order, and whether they are HDR, read without decoding.

    Raises:
        InputError: no such file, or no video that ffmpeg can read.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a video, found no such file")
    packets = ("-an", "-sn", "-dn", "-c", "copy", "-f", "framecrc", "-")
    done = _ffmpeg("-hide_banner", "-nostats", "-nostdin", "-i", str(path), *packets)
    lines = [line for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]
    unit = next((line.split()[-1] for line in lines if line.startswith("#tb 0:")), None)
    if done.returncode or unit is None:
        raise InputError(f"{path}: expected a video, got a file that ffmpeg cannot read")
    fields = [line.split(",") for line in lines if not line.startswith("#")]
    decoded, shown = ([int(field[i]) for field in fields] for i in (1, 2))
    if min(shown, default=0) < -(1 << 62):  # AVI and MPEG-PS know only when a frame is decoded
        shown = [time - min(decoded) for time in decoded]
    seconds = Fraction(unit)
    # Negative times are cut away by an edit list: they are decoded, and not shown.
    times = sorted({float(time * seconds) for time in shown if time >= 0})
    if not times:
        raise InputError(f"{path}: expected a video, got one without frames")
    _, _, output = done.stderr.decode(errors="replace").partition("Output #0")
    return times, any(curve in output for curve in _HDR)


def can_tone_map() -> bool:
    """Whether this ffmpeg has the filters that bring HDR video to 8 bits."""
    filters = _ffmpeg("-hide_banner", "-filters").stdout.decode(errors="replace")
    return all(f" {name} " in filters for name in ("zscale", "tonemap"))


def read_frame(path: Path, seconds: float, *, hdr: bool = False) -> UInt8[np.ndarray, "H W 3"]:
    """The first frame at or after a time, 8-bit RGB, upright; ``hdr`` is brought to BT.709.

    Containers with a varying frame rate can state a duration beyond their last frame; after the end
    the search goes back in growing steps, up to two seconds.

    Raises:
        InputError: there is no frame, or it is damaged.
    """
    for back in (0.0, 0.2, 0.5, 2.0):
        start = max(0.0, seconds - back)
        sought = start if path.suffix.lower() not in _WITHOUT_INDEX else max(0.0, start - _LONGEST_GOP)
        out = ["-frames:v", "1", "-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "-"]
        done = _ffmpeg(
            *("-v", "error", "-nostdin"),
            *(("-ss", f"{sought:.6f}") if sought else ()),
            *("-i", str(path)),
            *(("-ss", f"{start - sought:.6f}") if start > sought else ()),
            *(("-vf", _TO_SDR) if hdr else ()),
            *out,
        )
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
    """Unposed scene of at most ``max_frames`` frames: sharp ones, spread over the motion (`keyframes`).

    Frames are found again by time when loaded, so nothing is kept in memory or on disk. Those of HDR videos
    are brought to BT.709.
    """
    times, hdr = probe(path)
    if hdr and not can_tone_map():
        hdr = False
        warnings.warn(
            f"{path}: colours of this HDR video will be pale: this ffmpeg has no zscale and tonemap",
            stacklevel=2,
        )
    chosen, how = choose_keyframes(path, len(times), max_frames)
    say(f"video: {how}")
    # Between a frame and the one before: ffmpeg gives the first frame at or after the time asked for.
    starts = [(times[max(0, k - 1)] + times[k]) / 2 if k else 0.0 for k in chosen]
    H, W = read_frame(path, starts[0]).shape[:2]
    digits = max(4, len(str(len(chosen))))
    frames = tuple(
        Frame(
            name=f"{path.stem}_{i:0{digits}d}.png",
            image=partial(read_frame, path, start, hdr=hdr),
            image_size=(H, W),
        )
        for i, start in enumerate(starts, start=1)
    )
    return Scene(name=path.stem, frames=frames, folder=path.parent)


def _ffmpeg(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), *arguments], capture_output=True, check=False)
