"""Photos from disk: an upright 8-bit RGB array of any supported file, or one clear error."""

import importlib.util
import io
import math
import os
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import IO

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageCms, UnidentifiedImageError

from geometry.errors import DAMAGED, PhotoError

HEIC_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
HEIC_READABLE = importlib.util.find_spec("pillow_heif") is not None
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".tif", ".tiff", ".bmp", ".webp", ".avif"}
    | {".ppm", ".pgm", ".pnm", ".jp2", ".j2k"}
) | (HEIC_SUFFIXES if HEIC_READABLE else frozenset())
# Common photo formats that cannot be decoded (or decode to a thumbnail, as camera raw files do, or to two
# fisheye circles, as Insta360's do).
FOREIGN_SUFFIXES = (
    frozenset(
        {".cr2", ".cr3", ".nef", ".nrw", ".arw", ".dng", ".raf", ".orf", ".rw2", ".pef", ".srw", ".x3f"}
    )
    | {".3fr", ".iiq", ".erf", ".rwl", ".jxl", ".gif", ".psd", ".insp"}
    | HEIC_SUFFIXES
) - IMAGE_SUFFIXES
_LOSSY = frozenset({".jpg", ".jpeg", ".jpe", ".jfif"})
Colour = tuple[int, int, int]  # RGB, 0..255
WHITE: Colour = (255, 255, 255)
MOST_PIXELS = 400_000_000  # of one photo, 1.2 GB of RGB; phones make 200 million
_OPENING = Lock()  # while Pillow's own limit is off

_EXIF_MAKE, _EXIF_MODEL, _EXIF_ORIENTATION = 0x010F, 0x0110, 0x0112
_TIFF_WIDTH, _TIFF_HEIGHT = 0x0100, 0x0101
_EXIF_IFD, _EXIF_FOCAL, _EXIF_FOCAL_35MM = 0x8769, 0x920A, 0xA405
_EXIF_GPS, _GPS_LATITUDE, _GPS_LONGITUDE, _GPS_ALTITUDE = 0x8825, 2, 4, 6  # the tag before has the sign
_EQUATOR, _FLATTENING = 6378137.0, 1 / 298.257223563  # WGS 84, metres
# EXIF orientation -> (mirror left-right first, then quarter turns clockwise) that make the photo upright.
_UPRIGHT = {1: (0, 0), 2: (1, 0), 3: (0, 2), 4: (1, 2), 5: (1, 3), 6: (0, 1), 7: (1, 1), 8: (0, 3)}


@dataclass(frozen=True, kw_only=True)
class ImageHeader:
    """What a photo's header says, read without decoding pixels."""

    stored_size: tuple[int, int]  # (H, W) of the stored pixels
    mirrored: bool  # EXIF: mirror left-right before turning
    quarter_turns: int  # EXIF: clockwise, 0..3
    transparent: bool = False  # it has an alpha channel, or a transparent colour

    @property
    def upright_size(self) -> tuple[int, int]:
        """(H, W) as a viewer shows the photo."""
        return turned_size(self.stored_size, self.quarter_turns)


@dataclass(frozen=True, kw_only=True)
class ExifLens:
    """What EXIF says about camera and lens; photos for which it is equal may share intrinsics."""

    camera: str = ""  # maker and model
    focal_mm: float | None = None
    focal_35mm: float | None = None  # of a lens that shows as much on film 36 mm wide


def natural_key(name: str | Path) -> list[tuple[int, int, str]]:
    """Sort key in which numbers count as numbers: ``2.jpg`` before ``10.jpg``; case does not matter."""
    parts = re.split(r"(\d+)", str(name))
    key = [(0, int(p), "") if i % 2 else (1, 0, p.casefold()) for i, p in enumerate(parts) if p]
    return [*key, (2, 0, str(name))]  # equal but for case or leading zeros: still one order


def turned_size(size: tuple[int, int], quarter_turns: int) -> tuple[int, int]:
    """(H, W) after quarter turns."""
    return size if quarter_turns % 2 == 0 else (size[1], size[0])


def read_header(path: Path) -> ImageHeader:
    """Size and EXIF orientation of a photo.

    Raises:
        PhotoError: the file is missing, empty, or no image that can be decoded.
    """
    with _open(path) as image:
        mirrored, turns = _upright(image)
        size = (image.height, image.width)
        if image.format == "TIFF":  # whose size Pillow already gives as turned
            size = (image.tag_v2[_TIFF_HEIGHT], image.tag_v2[_TIFF_WIDTH])  # type: ignore[attr-defined]
        transparent = image.has_transparency_data
        return ImageHeader(stored_size=size, mirrored=mirrored, quarter_turns=turns, transparent=transparent)


def read_exif_lens(path: Path) -> ExifLens:
    """Camera and focal length of a photo, empty where EXIF is absent or damaged; no pixels are decoded.

    Raises:
        PhotoError: the file is missing, empty, or no image that can be decoded.
    """
    with _open(path) as image:
        try:
            exif = _exif(image)
            inner = exif.get_ifd(_EXIF_IFD)
            focal = (float(inner.get(tag, 0)) for tag in (_EXIF_FOCAL, _EXIF_FOCAL_35MM))
            focal_mm, focal_35mm = (f if 0 < f < float("inf") else None for f in focal)
            camera = f"{exif.get(_EXIF_MAKE, '')} {exif.get(_EXIF_MODEL, '')}".strip()
            return ExifLens(camera=camera, focal_mm=focal_mm, focal_35mm=focal_35mm)
        except DAMAGED:
            return ExifLens()


def read_exif_position(path: Path) -> Float[np.ndarray, "3"] | None:
    """Where GPS was when a photo was taken, in metres from the Earth's centre; None where EXIF is silent.

    Raises:
        PhotoError: the file is missing, empty, or no image that can be decoded.
    """
    with _open(path) as image:
        try:
            gps = _exif(image).get_ifd(_EXIF_GPS)
            angles = [
                math.radians(sum(float(part) / 60**i for i, part in enumerate(gps[tag])))
                * (-1 if str(gps.get(tag - 1)).strip("\0 ")[:1].upper() in ("S", "W") else 1)
                for tag in (_GPS_LATITUDE, _GPS_LONGITUDE)
            ]
            height = float(gps[_GPS_ALTITUDE]) * (-1 if gps.get(_GPS_ALTITUDE - 1) in (1, b"\1") else 1)
        except (*DAMAGED, KeyError, TypeError, ZeroDivisionError):
            return None
    latitude, longitude = angles
    squared = _FLATTENING * (2 - _FLATTENING)
    radius = _EQUATOR / math.sqrt(1 - squared * math.sin(latitude) ** 2)
    across = (radius + height) * math.cos(latitude)
    up = (radius * (1 - squared) + height) * math.sin(latitude)
    place = np.array([across * math.cos(longitude), across * math.sin(longitude), up])
    return place if np.isfinite(place).all() and any(angles) else None


def read_image(path: Path, *, exif: bool = True, background: Colour = WHITE) -> UInt8[np.ndarray, "H W 3"]:
    """Decode a photo to 8-bit RGB.

    16-bit greyscale keeps its high byte, so that a full-range image looks the same; CMYK and palettes become
    RGB. Colours of a wider gamut (a phone's Display P3, Adobe RGB, a press's CMYK) are brought to sRGB by
    their ICC profile.

    Args:
        exif: turn the pixels upright by EXIF; False returns them as stored.
        background: what lies behind transparent pixels; white is that of the usual synthetic sets.

    Raises:
        PhotoError: the file is missing, truncated, or no photo.
    """
    with _open(path) as image:
        return decode(image, path, exif=exif, background=background)


def read_opaque(photo: Path | Image.Image, *, exif: bool = True) -> Bool[np.ndarray, "H W"]:
    """Where nothing shines through a photo, for the pixels of `read_image` or `decode`."""
    with nullcontext(photo) if isinstance(photo, Image.Image) else _open(photo) as image:
        return _turned(image, "photo", exif, lambda image, _: np.asarray(image.convert("RGBA"))[..., 3] > 250)


def read_mask(path: Path) -> Bool[np.ndarray, "H W"]:
    """A mask as COLMAP and nerfstudio have it: True where the photo may be used, False where it is black.

    Compression changes black: in a JPEG all that is darker than half counts as that.
    """
    return read_map(path) > (127 if path.suffix.lower() in _LOSSY else 0)


def check_pixels(path: Path) -> None:
    """Read all of a photo, as small as its format allows: that of a JPEG takes half the time.

    Raises:
        PhotoError: the file is missing, truncated, or no photo.
    """
    with _open(path) as image:
        image.draft("L", (1, 1))
        _load(image, path)


def decode(
    image: Image.Image, where: Path | str, *, exif: bool = True, background: Colour = WHITE
) -> UInt8[np.ndarray, "H W 3"]:
    """As `read_image`, of an image that Pillow has opened; ``where`` names it in messages."""
    return _turned(image, where, exif, partial(_rgb, background=background))


def _turned(
    image: Image.Image, where: Path | str, exif: bool, convert: Callable[..., np.ndarray]
) -> np.ndarray:
    mirrored, turns = _upright(image)
    pixels = _stored(image, where, convert)
    if exif:
        pixels = np.rot90(pixels[:, ::-1] if mirrored else pixels, k=-turns)
    return np.ascontiguousarray(pixels)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(H, W) of what `decode` will give, without decoding."""
    size = (image.height, image.width)
    return size if image.format == "TIFF" else turned_size(size, _upright(image)[1])  # see `read_header`


def read_map(path: Path) -> np.ndarray:
    """Decode a map (mask, integer depth) as stored: [H, W], own dtype, no EXIF, the first channel."""
    with _open(path) as image:
        pixels = np.ascontiguousarray(_stored(image, path, lambda image, _: np.asarray(image)))
    return pixels if pixels.ndim == 2 else pixels[..., 0]


def _open(path: Path) -> Image.Image:
    try:
        try:
            image = _of_any_size(path)
        except UnidentifiedImageError:
            if not _register_heic():
                raise
            image = _of_any_size(path)
    except DAMAGED as error:
        reasons: dict[type[Exception], str] = {
            FileNotFoundError: "found no such file",
            IsADirectoryError: "got a folder",
            PermissionError: "got a file without read permission",
        }
        reason = reasons.get(type(error)) or f"got {_describe(Path(path))}"
        raise PhotoError(f"{path}: expected an image, {reason}") from error
    if image.width * image.height > MOST_PIXELS:
        image.close()
        raise PhotoError(
            f"{path}: expected at most {MOST_PIXELS // 10**6} million pixels, got {image.height} x "
            f"{image.width} (H x W); make it smaller first"
        )
    return image


def _of_any_size(path: Path) -> Image.Image:
    """Pillow's image; its own limit takes the photos of today's phones for attacks."""
    with _OPENING:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@lru_cache
def _register_heic() -> bool:
    """Register HEIC with Pillow, if the optional package is installed; at first use, not on import."""
    if HEIC_READABLE:
        import pillow_heif

        pillow_heif.register_heif_opener()
    return HEIC_READABLE


def _stored(image: Image.Image, path: Path | str, convert: Callable[..., np.ndarray]) -> np.ndarray:
    """Decoded pixels as they are stored: Pillow mirrors and turns those of TIFF alone, which is undone."""
    before = (False, 0)
    if image.format == "TIFF":
        image.filename = ""  # type: ignore[attr-defined]  # or Pillow memory-maps a turned photo as if it were stored upright
        before = _upright(image)
    _load(image, path)
    pixels = convert(image, path)
    if before == (False, 0) or _upright(image) == before:  # Pillow drops the tag of what it turned
        return pixels
    mirrored, turns = before
    pixels = np.rot90(pixels, k=turns)
    return pixels[:, ::-1] if mirrored else pixels


def _load(image: Image.Image, path: Path | str) -> None:
    try:
        image.load()
    except DAMAGED as error:
        raise PhotoError(
            f"{path}: expected a whole image, got a damaged or truncated one ({error})"
        ) from error


def _describe(path: Path) -> str:
    """What an unreadable file seems to be, for the error message."""
    with path.open("rb") as file:
        start = file.read(32)
    if not start:
        return "an empty file"
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim"):
        return "a damaged HEIC photo" if HEIC_READABLE else f"a HEIC photo: {remedy('.heic')}"
    if path.suffix.lower() in FOREIGN_SUFFIXES:
        return f"a {path.suffix} file, which is not supported: {remedy(path.suffix)}"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in start):
        return f"a text file starting {start[:16].decode('ascii')!r}"
    return f"something else, starting with bytes {start[:8].hex(' ')}"


def remedy(suffix: str) -> str:
    """What to do with a photo whose suffix is in `FOREIGN_SUFFIXES`."""
    convert = "convert it to JPEG or PNG first"
    if suffix.lower() not in HEIC_SUFFIXES:
        return convert
    return f"install pillow-heif (pip install pillow-heif, or this project's extra 'heic'), or {convert}"


def _upright(image: Image.Image) -> tuple[bool, int]:
    try:
        orientation = _exif(image).get(_EXIF_ORIENTATION, 1)
    except DAMAGED:
        orientation = 1  # with damaged EXIF the pixels are still read
    mirrored, turns = _UPRIGHT.get(orientation, (0, 0))
    return bool(mirrored), turns


def _exif(image: Image.Image) -> Image.Exif:
    """The EXIF, which a PNG may hold behind its pixels: those are not decoded to look for it (5 ms each)."""
    still_open = image.format == "PNG" and getattr(image, "fp", None) is not None
    if still_open and "exif" not in image.info and not _has_chunk(image.fp, b"eXIf"):  # type: ignore[attr-defined]
        return Image.Image.getexif(image)
    return image.getexif()


def _has_chunk(file: IO[bytes], wanted: bytes) -> bool:
    """Whether a PNG has a chunk of this kind; the file's position is left as it was."""
    position, found = file.tell(), False
    file.seek(8)
    while not found and len(header := file.read(8)) == 8:
        found = header[4:] == wanted
        file.seek(int.from_bytes(header[:4], "big") + 4, os.SEEK_CUR)  # the content and its checksum
    file.seek(position)
    return found


def _in_srgb(image: Image.Image) -> Image.Image:
    """The image in sRGB, where an embedded profile says that it is in another space."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    transform = _colour_transform(profile, image.mode)
    return image if transform is None else ImageCms.applyTransform(image, transform)


@lru_cache(maxsize=8)  # photos of one camera share a profile
def _colour_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB; None where it is that already, or is damaged."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode != "CMYK" and "srgb" in ImageCms.getProfileDescription(source).lower():
            return None
        out = "RGB" if mode == "CMYK" else mode
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, out)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _rgb(image: Image.Image, path: Path | str, background: Colour) -> np.ndarray:
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image).astype(np.int64)
        low, high = values.min(), values.max()
        if low < 0 or high > 65535:
            raise PhotoError(f"{path}: expected 8- or 16-bit pixels, got values {low}..{high}")
        return np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=-1)
    if image.mode == "F":
        raise PhotoError(f"{path}: expected 8- or 16-bit pixels, got a floating-point image")
    image = _in_srgb(image)
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        behind = Image.new("RGBA", colour.size, (*background, 255))
        return np.asarray(Image.alpha_composite(behind, colour).convert("RGB"))
    return np.asarray(image.convert("RGB"))
