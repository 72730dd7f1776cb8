"""`Frame` and `Scene`: the one form in which every reader hands over photos and cameras.

Readers (folders, videos, COLMAP models, transforms.json, data sets) convert to the conventions of
`geometry.views` and nothing converts afterwards. Records are lazy: they hold paths, sizes and cameras;
pixels are decoded by `Frame.load` and not cached.
"""

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from geometry.console import some
from geometry.errors import InputError, PhotoError
from geometry.formats.distortion import Lens, pinhole_intrinsics, undistort
from geometry.formats.images import (
    WHITE,
    Colour,
    check_pixels,
    decode,
    natural_key,
    read_header,
    read_image,
    read_mask,
    read_opaque,
    turned_size,
)

_FARTHEST = 1e15  # scene units along an axis: squares of single precision end at 1e19
_SHORTEST = 0.1  # focal length in long sides: half of what a fisheye of 220 degrees has


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One photo, upright and pinhole once loaded, with its camera if known.

    ``image_size``, ``extrinsics`` and ``intrinsics`` describe what `load` returns, not the stored
    file: `photo_frame` works out the difference (EXIF, distortion, another resolution).
    """

    name: str  # as the capture names it; unique in a scene
    image: Path | Image.Image | Callable[[], UInt8[np.ndarray, "H W 3"]]  # a decoder of a video, an archive
    image_size: tuple[int, int]  # (H, W)
    extrinsics: Float[np.ndarray, "4 4"] | None = None  # world-to-camera, float64
    intrinsics: Float[np.ndarray, "3 3"] | None = None  # pixels, float64
    exif: bool = True  # turn the stored pixels as EXIF says; False if the camera refers to stored pixels
    lens: Lens | None = None  # distortion still in the decoded pixels; `load` undoes it
    quarter_turns: int = 0  # clockwise turns after undistortion, already in the camera above
    rig: str = (
        ""  # the panorama whose view this is: views of one differ by the turn in ``lens``, known exactly
    )
    depth: Callable[[], Float[np.ndarray, "h w"]] | None = None  # z-depth as stored, 0 = unknown
    mask: Path | None = None  # as stored; black = ignore
    transparent: bool = False  # it has an alpha channel
    background: Colour | None = None  # behind it; None: white, and what shines through is ignored
    placed: bool = False  # its camera was found from the photos, though others in the scene were given
    sky: Callable[[], Bool[np.ndarray, "h w"]] | None = None  # True on sky, as stored; None where unlabelled
    objects: Callable[[], Bool[np.ndarray, "h w"]] | None = None  # True on the foreground object, as stored

    def __post_init__(self) -> None:
        if self.extrinsics is not None:
            check_pose(self.extrinsics, self.name)
        K = self.intrinsics
        if K is not None and (K.shape != (3, 3) or not np.isfinite(K).all() or min(K[0, 0], K[1, 1]) <= 0):
            raise InputError(
                f"{self.name}: expected finite intrinsics [3, 3] with positive focal lengths, got "
                f"{K.tolist()}"
            )

    def load(self) -> UInt8[np.ndarray, "H W 3"]:
        """Decode the photo: RGB, upright, undistorted, matching `intrinsics`. Nothing is cached.

        Raises:
            InputError: the file is damaged or not the size its header said.
        """
        if isinstance(self.image, Path):
            pixels = read_image(self.image, exif=self.exif, background=self.background or WHITE)
        elif isinstance(self.image, Image.Image):
            pixels = decode(self.image, self.name, exif=self.exif, background=self.background or WHITE)
        else:
            pixels = self.image()
        pixels = self._straighten(pixels, nearest=False)
        if pixels.shape[:2] != tuple(self.image_size):
            raise InputError(f"{self.name}: expected size (H, W) {self.image_size}, got {pixels.shape[:2]}")
        return pixels

    def load_depth(self) -> Float[np.ndarray, "h w"] | None:
        """Stored z-depth in the geometry of `load`, at its own resolution, 0 where unknown; None without."""
        if self.depth is None:
            return None
        depth = np.asarray(self.depth(), dtype=np.float32)
        return self._straighten(np.where(np.isfinite(depth) & (depth > 0), depth, 0), nearest=True)

    def load_mask(self, *, compared: bool = False) -> Bool[np.ndarray, "H W"] | None:
        """True where the photo may be used, in the geometry and size of `load`; None where all of it may.

        Args:
            compared: for comparing pictures, in which a stated ``background`` counts: that nothing is before
                it is known. Else there is nothing to take where the photo is transparent.

        Raises:
            InputError: the mask cannot be read, or hides the whole photo.
        """
        keep = np.ones(self.image_size, bool)
        if self.mask is not None:
            stored = self._straighten_label(self._mask_as_stored(self.mask)).astype(np.uint8)
            keep = cv2.resize(stored, self.image_size[::-1], interpolation=cv2.INTER_NEAREST) > 0
            if not keep.any():
                raise InputError(
                    f"{self.mask}: expected a mask that shows some of the photo (white keeps, black hides), "
                    "got one that hides all of it; --masks none ignores masks"
                )
        counts = self.transparent and not (compared and self.background)
        if counts and isinstance(self.image, (Path, Image.Image)):
            opaque = self._straighten_label(read_opaque(self.image, exif=self.exif))
            keep &= opaque | (not opaque.any())  # some programs leave alpha at 0
        return None if keep.all() else keep

    def _mask_as_stored(self, path: Path) -> Bool[np.ndarray, "h w"]:
        """The mask for the pixels that `_straighten` takes: masks may be made of stored or upright photos."""
        keep = read_mask(path)
        if self.exif and isinstance(self.image, Path):
            header = read_header(self.image)
            if _same_shape(keep.shape, header.stored_size):
                keep = np.rot90(keep[:, ::-1] if header.mirrored else keep, k=-header.quarter_turns)
        elif self.quarter_turns % 2 and _same_shape(keep.shape, self.image_size):
            keep = np.rot90(keep, k=self.quarter_turns)
        return keep

    def load_sky(self) -> Bool[np.ndarray, "h w"] | None:
        """True on sky, in the geometry of `load`, at its own resolution; None where the set labels none."""
        return None if self.sky is None else self._straighten_label(self.sky())

    def load_objects(self) -> Bool[np.ndarray, "h w"] | None:
        """True on the foreground object, in the geometry of `load`, at its own resolution; None without."""
        return None if self.objects is None else self._straighten_label(self.objects())

    def _straighten_label(self, label: np.ndarray) -> np.ndarray:
        return self._straighten(np.asarray(label).astype(np.uint8), nearest=True) > 0

    def _straighten(self, pixels: np.ndarray, *, nearest: bool) -> np.ndarray:
        """Decoded pixels to the pinhole, upright image."""
        if self.lens is not None:
            # Depth and masks often have their own resolution; a photo's was settled by its header.
            lens, size = self.lens.resized(pixels.shape[:2]) if nearest else self.lens, pixels.shape[:2]
            if size != tuple(lens.image_size):
                raise InputError(f"{self.name}: expected size (H, W) {lens.image_size}, got {size}")
            pixels = undistort(pixels, lens, nearest=nearest)
        return np.ascontiguousarray(np.rot90(pixels, k=-self.quarter_turns))


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Photos of one place, in capture order."""

    name: str
    frames: tuple[Frame, ...]
    source: str = "unposed"  # where the cameras came from, a file or a folder where it is one
    estimated: bool = False  # the cameras were computed from these photos, not given with them
    points: Float[np.ndarray, "N 3"] | None = None  # sparse points, world frame
    visibility: tuple[np.ndarray, ...] | None = None  # per frame: indices into points that it observed
    # What two frames see of each other, of both directions the lesser, in 255ths (`sampling.overlap`).
    overlap: UInt8[np.ndarray, "V V"] | None = None
    metric: bool = False  # poses, points and depth are in metres
    origin: Float[np.ndarray, " 3"] | None = None  # taken off the given world: add it to be there again
    folder: Path | None = field(default=None)

    def __post_init__(self) -> None:
        if self.visibility is not None and (self.points is None or len(self.visibility) != len(self.frames)):
            raise ValueError("visibility needs points and one entry per frame")

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def known(self) -> list[int]:
        """The frames that have a whole camera."""
        cameras = ((f.extrinsics, f.intrinsics) for f in self.frames)
        return [i for i, camera in enumerate(cameras) if all(x is not None for x in camera)]

    @property
    def posed(self) -> bool:
        """Whether every frame has extrinsics and intrinsics."""
        return bool(self.frames) and len(self.known) == len(self.frames)

    @property
    def partly_posed(self) -> bool:
        """Whether some frames have a whole camera and others have none."""
        return 0 < len(self.known) < len(self.frames)

    @property
    def extrinsics(self) -> Float[np.ndarray, "V 4 4"]:
        """World-to-camera poses of all frames; every frame must have one."""
        return np.stack([f.extrinsics for f in self.frames])

    @property
    def intrinsics(self) -> Float[np.ndarray, "V 3 3"]:
        """Pixel intrinsics of all frames, each for its own ``image_size``; every frame must have some."""
        return np.stack([f.intrinsics for f in self.frames])

    def select(self, indices: Iterable[int]) -> "Scene":
        """The scene with these frames, in this order; points stay."""
        indices = [int(i) for i in indices]
        visibility = None if self.visibility is None else tuple(self.visibility[i] for i in indices)
        overlap = None if self.overlap is None else self.overlap[np.ix_(indices, indices)]
        frames = tuple(self.frames[i] for i in indices)
        return replace(self, frames=frames, visibility=visibility, overlap=overlap)

    def without_cameras(self) -> "Scene":
        """The same photos, still undistorted by `Frame.load`, with poses and intrinsics dropped."""
        frames = tuple(replace(f, extrinsics=None, intrinsics=None) for f in self.frames)
        none: dict[str, Any] = dict.fromkeys(("points", "visibility", "overlap", "origin"))
        return replace(self, frames=frames, source="unposed", metric=False, **none)


def photo_frame(
    path: Path,
    *,
    name: str,
    extrinsics: Float[np.ndarray, "4 4"] | None = None,
    lens: Lens | None = None,
    where: str = "",
    **fields: Any,
) -> Frame:
    """A frame for a photo on disk and a camera as some file states it.

    - Resolution: if the photo is a resized copy of what ``lens`` describes, the lens is rescaled.
    - EXIF: COLMAP, nerfstudio and instant-ngp ignore it, so a camera refers to stored pixels unless its size
      fits only the upright photo. Pixels come out upright all the same, the camera turned with them.
    - Distortion: ``intrinsics`` become those of the undistorted image.

    Args:
        extrinsics: world-to-camera, as stated.
        lens: as stated; None leaves the frame without intrinsics.
        where: the camera's place in its file, for messages.
        fields: further fields of `Frame` (depth, mask).

    Raises:
        InputError: the photo cannot be read, or has another shape than the camera, whose numbers may be no
            pixels.
    """
    header = read_header(path)
    if lens is None and extrinsics is None:
        return Frame(
            name=name,
            image=path,
            image_size=header.upright_size,
            transparent=header.transparent,
            **fields,
        )
    stored_fits = lens is None or _same_shape(lens.image_size, header.stored_size)
    upright_fits = lens is not None and _same_shape(lens.image_size, header.upright_size)
    if not (stored_fits or upright_fits):
        raise InputError(
            f"{path}: expected a photo shaped like its camera, (H, W) {lens.image_size}, got "
            f"{header.stored_size}; if it was cut, take what is gone left and above off cx and cy, and state "
            "its own w and h; else these cameras belong to other photos"
        )
    size = header.stored_size if stored_fits else header.upright_size
    # A mirrored photo cannot be turned upright by any camera, so it stays as stored.
    turns = header.quarter_turns if stored_fits and not header.mirrored else 0
    intrinsics = None
    if lens is not None:
        lens = lens.resized(size)
        if max(lens.focal) < _SHORTEST * max(size):
            (fx, fy), (H, W) = lens.focal, size
            raise InputError(
                f"{where or path}: expected focal lengths in pixels, got {fx:.4g} and {fy:.4g} for a photo "
                f"of {H} x {W}: multiply normalised ones by width and height, divide millimetres by the "
                "size of a pixel"
            )
        try:
            pinhole = pinhole_intrinsics(lens)
        except InputError as error:
            raise InputError(f"{where or path}: {error}") from None
        intrinsics = turn_intrinsics(pinhole, size, turns)
        lens = None if lens.is_pinhole else lens
    return Frame(
        name=name,
        image=path,
        image_size=turned_size(lens.pinhole_size if lens is not None else size, turns),
        extrinsics=None if extrinsics is None else turn_extrinsics(extrinsics, turns),
        intrinsics=intrinsics,
        exif=not stored_fits,
        lens=lens,
        quarter_turns=turns,
        transparent=header.transparent,
        **fields,
    )


def photos_present(
    paths: Mapping[str, Path | None], only: set[str] | None, source: Path, folder: Path
) -> list[str]:
    """Names of cameras whose photo is there, in natural order; those missing are counted in one warning.

    Args:
        paths: photo of each name, None where there is none.
        only: resolved paths to keep, when the caller chose some of the photos.

    Raises:
        InputError: none is there.
    """
    chosen = {n for n, p in paths.items() if p is not None and (only is None or str(p.resolve()) in only)}
    missing = [name for name, path in paths.items() if path is None]
    if not chosen:
        raise InputError(
            f"{source}: expected cameras of the photos in {folder}, got those of other photos: none of its "
            f"{len(paths)} names ({next(iter(paths))}, ...) fits one of them"
        )
    if missing and only is None:
        warnings.warn(
            f"{source}: {len(missing)} of {len(paths)} listed photos are missing in {folder} ({missing[0]}, "
            "...); they are skipped",
            stacklevel=3,
        )
    return sorted(chosen, key=natural_key)


def readable_frames(names: Iterable[str], frame_of: Callable[[str], Frame]) -> list[Frame]:
    """A frame of each name; photos that cannot be read are left out and named in one warning.

    Raises:
        InputError: as `photo_frame`; photos that cannot be read leave fewer than two.
    """

    def attempt(name: str) -> Frame | PhotoError:
        try:
            return frame_of(name)
        except PhotoError as error:
            return error

    return _without_faults([attempt(name) for name in names])


def decodable(scene: Scene) -> Scene:
    """The scene without the photos whose files are damaged behind their header, named in one warning.

    Raises:
        InputError: they leave fewer than two.
    """

    def attempt(frame: Frame) -> Frame | PhotoError:
        try:
            if isinstance(frame.image, Path):
                check_pixels(frame.image)
            return frame
        except PhotoError as error:
            return error

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        kept = {id(frame) for frame in _without_faults(list(threads.map(attempt, scene.frames)))}
    return scene.select(i for i, frame in enumerate(scene.frames) if id(frame) in kept)


def _without_faults(attempts: list[Frame | PhotoError]) -> list[Frame]:
    frames = [a for a in attempts if isinstance(a, Frame)]
    faults = [a for a in attempts if isinstance(a, PhotoError)]
    if faults and len(frames) < 2:
        raise faults[0]
    if faults:
        warnings.warn(
            f"{len(faults)} of {len(attempts)} photos cannot be read and are left out: "
            f"{some([str(fault) for fault in faults])}",
            stacklevel=4,
        )
    return frames


def check_pose(pose: np.ndarray, where: str) -> None:
    """Refuse a pose that is no rigid transform.

    Raises:
        InputError: wrong shape, not finite, mirrored (determinant -1), scaled or sheared.
    """
    if fault := _fault(np.asarray(pose)):
        raise InputError(f"{where}: expected a rigid 4x4 pose, got {fault}")


def _fault(pose: np.ndarray) -> str | None:
    if pose.shape != (4, 4):
        return f"a matrix of shape {list(pose.shape)}"
    if not np.isfinite(pose).all():
        return "one with NaN or infinite entries"
    if np.abs(pose[:3, 3]).max() > _FARTHEST:
        return f"one that stands at more than {_FARTHEST:g} from the origin"
    if not np.abs(pose[3] - (0, 0, 0, 1)).max() < 1e-6:
        return f"one whose last row is {pose[3].tolist()}; is it transposed?"
    rotation = pose[:3, :3]
    with np.errstate(over="ignore", invalid="ignore"):  # of absurd numbers, which the next line refuses
        determinant = np.linalg.det(rotation)
        size = np.cbrt(abs(determinant))
        shear = np.abs(rotation @ rotation.T / (size**2 or 1.0) - np.eye(3)).max()
    if not (size > 0 and shear < 1e-2):
        return f"one whose rotation is not orthonormal (determinant {determinant:.3g})"
    if determinant < 0:
        return f"a mirrored one (determinant {determinant:.3g}); one axis has the wrong sign"
    return (
        f"one that also scales by {size:.4g}; divide its rotation by that" if abs(size - 1) > 1e-2 else None
    )


def turn_intrinsics(
    intrinsics: Float[np.ndarray, "3 3"], image_size: tuple[int, int], quarter_turns: int
) -> Float[np.ndarray, "3 3"]:
    """Intrinsics after turning the (H, W) image clockwise by quarter turns."""
    (H, W), K = image_size, intrinsics
    for _ in range(quarter_turns % 4):  # pixel (x, y) goes to (H - y, x)
        K = np.array([[K[1, 1], 0.0, H - K[1, 2]], [0.0, K[0, 0], K[0, 2]], [0.0, 0.0, 1.0]])
        H, W = W, H
    return K


def turn_extrinsics(extrinsics: Float[np.ndarray, "4 4"], quarter_turns: int) -> Float[np.ndarray, "4 4"]:
    """World-to-camera pose of the camera whose image was turned clockwise by quarter turns."""
    quarter = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])  # (x, y) -> (-y, x)
    return np.linalg.matrix_power(quarter, quarter_turns % 4) @ extrinsics


def _same_shape(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Whether one size is a resized copy of the other: a pixel of rounding on the smaller is allowed."""
    (h, w), (H, W) = first, second
    return abs(w / W - h / H) <= 1.01 * max(1 / min(W, w), 1 / min(H, h)) * max(w / W, h / H)
