"""H.264 video, written frame by frame by the ffmpeg that comes with imageio-ffmpeg."""

import subprocess
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

import imageio_ffmpeg
import numpy as np

from geometry.atomic import atomic_file
from geometry.errors import InputError
from geometry.visualize.image import Image, even_padded


class VideoWriter:
    """Write an .mp4 that browsers and phones play, one frame at a time.

    H.264, 4:2:0, BT.709; odd sizes are padded by one row or column, never stretched. The file appears when
    the ``with`` block ends without an exception.

    Args:
        crf: constant rate factor of x264: 18 is hard to tell from the original, 28 is small.

    Raises:
        InputError: at the end: ffmpeg could not write (a full disk), or there was no frame.
        ValueError: frames differ in size.
    """

    def __init__(self, path: Path | str, *, fps: int | float = 24, crf: int = 18) -> None:
        self.path, self.fps, self.crf = Path(path), fps, crf
        self._size: tuple[int, ...] | None = None
        self._process: subprocess.Popen | None = None
        self._stack = ExitStack()

    def __enter__(self) -> "VideoWriter":
        self._target = self._stack.enter_context(atomic_file(self.path))
        self._log = self._stack.enter_context(tempfile.TemporaryFile())
        return self

    def add(self, frame: Image) -> None:
        """Append one RGB frame; all frames have one size."""
        self._size = self._size or frame.shape
        if frame.shape != self._size or frame.dtype != np.uint8:
            raise ValueError(
                f"{self.path}: expected frames of {self._size} bytes, got {frame.shape} of {frame.dtype}"
            )
        frame = even_padded(frame)
        self._process = self._process or self._start(*frame.shape[:2])
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data)
        except OSError:  # ffmpeg has ended; its output gives the reason
            self._finish()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stop()
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._finish()

    def _start(self, height: int, width: int) -> subprocess.Popen:
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error"]
        command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{self.fps:g}"]
        # A third of the default preset's time for a file of the same size, at 46.3 dB instead of 47.2.
        command += ["-i", "-", "-an", "-c:v", "libx264", "-preset", "veryfast", "-crf", str(self.crf)]
        command += ["-pix_fmt", "yuv420p"]
        # Both tag and conversion: without this ffmpeg converts by BT.601 and most players show BT.709.
        command += ["-vf", "scale=out_color_matrix=bt709:out_range=tv", "-colorspace", "bt709"]
        command += ["-x264-params", "colorprim=bt709:transfer=bt709:colormatrix=bt709:log-level=error"]
        command += ["-movflags", "+faststart", str(self._target)]
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        return subprocess.Popen(command, stdin=pipe, stdout=nothing, stderr=self._log, start_new_session=True)

    def _stop(self) -> int:
        """Let ffmpeg end and return its status."""
        if self._process is None:
            return 0
        with suppress(OSError):
            self._process.stdin.close()
        return self._process.wait()

    def _finish(self) -> None:
        if self._process is None:
            raise InputError(f"{self.path}: expected at least one frame for the video, got none")
        if status := self._stop():
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").strip().splitlines()
            reason = lines[-1] if lines else f"status {status}"
            raise InputError(f"{self.path}: ffmpeg could not write the video ({reason})")
