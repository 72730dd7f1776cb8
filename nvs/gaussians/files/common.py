"""What the formats share: which Gaussians are written, in which order and pieces, and quantised numbers."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from geometry.errors import InputError, reading
from nvs.gaussians.record import Gaussians

_CHUNK = 1 << 16  # Gaussians converted at a time
MOST = 1 << 26  # Gaussians of a file: 16 GB as they are drawn
LEAST_OPACITY = 1e-6  # keeps the logit finite: +-13.8
AXES_FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # our axes, y down, to those of formats with y up
COLOUR_SPACE = "srgb_rec709_display"  # glTF's name of what all our colours are
_OTHERS = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])


def drawable(gaussians: Gaussians) -> Gaussians:
    """On the CPU, one scene, and only what has finite numbers, positive scales and a rotation."""
    if len(gaussians.means) != 1:
        raise ValueError(f"a file holds one scene: expected batch size 1, got {len(gaussians.means)}")
    g = gaussians.detach().to("cpu")
    good = (g.scales > 0).all(-1) & (g.quats.norm(dim=-1) > 1e-12)
    for field in (g.means, g.quats, g.scales, g.opacities[..., None], g.sh.flatten(2)):
        good &= field.isfinite().all(-1)
    return g if bool(good.all()) else g[:, good[0]]


def parts(gaussians: Gaussians) -> Iterator[Gaussians]:
    """Consecutive pieces, so that what is converted at a time stays small."""
    for start in range(0, gaussians.means.shape[1], _CHUNK):
        yield gaussians[:, start : start + _CHUNK]


def read_bytes(path: Path | str) -> bytes:
    with reading(path, "a file of Gaussians"):
        return Path(path).read_bytes()


def require_count(count: int, path: Path | str) -> None:
    """Refuse a number that no file of Gaussians has, before memory is taken for so many."""
    if not 0 <= count <= MOST:
        raise InputError(f"{path}: expected at most {MOST:,} Gaussians, got {count:,}")


def quantised(values: Tensor) -> np.ndarray:
    """Rounded to bytes."""
    return values.round().clamp(0, 255).to(torch.uint8).numpy()


def floats(data: np.ndarray) -> Float[Tensor, "1 N c"]:
    """Bytes [N, c] as numbers, with the batch axis."""
    return torch.from_numpy(data.astype(np.float32))[None]


def logits(opacities: Tensor) -> Tensor:
    """Finite logits: opacities are clamped just inside 0..1."""
    return opacities.clamp(LEAST_OPACITY, 1 - LEAST_OPACITY).logit()


def smallest_three(
    quats: Float[np.ndarray, "N 4"],
) -> tuple[Int[np.ndarray, " N"], Float[np.ndarray, "N 3"]]:
    """Which component of each quaternion is largest, and the others of a unit one where it is positive."""
    q = quats / np.linalg.norm(quats, axis=-1, keepdims=True)
    largest = np.abs(q).argmax(axis=-1)
    q = q * np.where(np.take_along_axis(q, largest[:, None], axis=-1) < 0, -1, 1)
    return largest, np.take_along_axis(q, _OTHERS[largest], axis=-1)


def from_smallest_three(
    largest: Integer[np.ndarray, " N"], others: Float[np.ndarray, "N 3"]
) -> Float[np.ndarray, "N 4"]:
    """The quaternions of `smallest_three`."""
    largest = largest.astype(np.int64)
    q = np.empty((len(largest), 4), np.float32)
    np.put_along_axis(q, _OTHERS[largest], others.astype(np.float32), axis=-1)
    rest = np.sqrt(np.clip(1 - (others**2).sum(axis=-1), 0, None)).astype(np.float32)
    np.put_along_axis(q, largest[:, None], rest[:, None], axis=-1)
    return q


def morton_order(means: Float[np.ndarray, "N 3"]) -> Int[np.ndarray, " N"]:
    """An order in which neighbours in the list are so in space: along a Z curve of 2^21 steps a side."""
    if len(means) == 0:
        return np.zeros(0, np.int64)
    low, high = means.min(axis=0), means.max(axis=0)
    cells = ((means - low) / np.maximum(high - low, 1e-30).max() * (2**21 - 1)).astype(np.uint64)
    code = np.zeros(len(means), np.uint64)
    for axis in range(3):
        bits = cells[:, axis]
        for shift, mask in (
            (32, 0x1F00000000FFFF),
            (16, 0x1F0000FF0000FF),
            (8, 0x100F00F00F00F00F),
            (4, 0x10C30C30C30C30C3),
            (2, 0x1249249249249249),
        ):
            bits = (bits | bits << np.uint64(shift)) & np.uint64(mask)
        code |= bits << np.uint64(axis)
    return code.argsort(kind="stable")


def ply_comments(gaussians: Gaussians) -> list[str]:
    """What a PLY says beside its numbers: antialiasing in Brush's words, the colour space in glTF's."""
    return [
        f"SplatRenderMode: {'mip' if gaussians.antialiased else 'default'}",
        f"ColorSpace: {COLOUR_SPACE}",
    ]


def antialiased_by(comments: Iterable[str]) -> bool:
    """Whether a PLY's comments say so in Brush's words or Postshot's (``antialiased 1``); the last counts."""
    modes = {"splatrendermode: mip": True, "splatrendermode: default": False}
    modes |= {"antialiased 1": True, "antialiased 0": False}
    said = [modes[text.lower()] for text in comments if text.lower() in modes]
    return bool(said) and said[-1]
