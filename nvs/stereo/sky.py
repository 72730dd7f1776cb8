"""Which pixels are sky: where the network is sure, in parts that are large and that other photos bear out."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from geometry.ops.pinhole import unproject
from geometry.views import Cameras

_SURE, _LEAST = 0.8, 0.02  # probability of sky; share of a photo that a part of it takes
_LIKELY, _BORNE_OUT = 0.5, 0.3  # probability with which another photo says sky; share that has to say so
_ASKED, _ANSWERS = 256, 0.5  # pixels of a part; answers for each of them, below which there is no telling
_DISTANCE = 3.0  # of the sky, in that of the farthest plane


def sky_of(probability: Float[Tensor, "V h w"], cameras: Cameras) -> Bool[Tensor, "V h w"]:
    """Connected parts of a photo that are sky.

    Pale patches of a wall look like sky, but are small. Doors and white walls are large, but what lies behind
    everything is seen in the same direction by every photo: a part is sky if enough of the photos that look
    into its direction say so; the others may see what stands before it. Where none looks, a part has to touch
    the upper edge.

    Args:
        cameras: [1, V, ...], with intrinsics of this grid.
    """
    sky = torch.zeros(probability.shape, dtype=torch.bool)
    for v, sure in enumerate((probability >= _SURE).numpy()):
        numbers, count = ndimage.label(sure)
        sizes = np.bincount(numbers.ravel(), minlength=count + 1)
        for part in range(1, count + 1):
            if sizes[part] >= _LEAST * sure.size:
                mask = torch.from_numpy(numbers == part)
                if _is_borne_out(mask, v, probability, cameras):
                    sky[v] |= mask
    return sky


def _is_borne_out(
    part: Bool[Tensor, "h w"], view: int, probability: Float[Tensor, "V h w"], cameras: Cameras
) -> bool:
    h, w = part.shape
    y, x = part.nonzero()[torch.linspace(0, int(part.sum()) - 1, _ASKED).long()].T
    to_cameras = cameras.extrinsics[0, :, :3, :3].float()
    K = cameras.intrinsics[0].float()
    pixels = torch.stack((x + 0.5, y + 0.5, torch.ones(_ASKED)))
    directions = to_cameras[view].mT @ torch.linalg.solve(K[view], pixels)
    others = torch.arange(len(K)) != view
    a, b, z = (K @ to_cameras @ directions)[others].unbind(dim=1)
    column, row = (a / z).floor().long(), (b / z).floor().long()
    inside = (z > 0) & (column >= 0) & (column < w) & (row >= 0) & (row < h)
    if inside.sum() < _ANSWERS * _ASKED:
        return bool(part[0].any())
    photo = torch.arange(len(K))[others, None].expand_as(row)
    said = probability[photo[inside], row[inside], column[inside]] >= _LIKELY
    return float(said.float().mean()) >= _BORNE_OUT


def distant(
    depth: Float[Tensor, "1 V h w"], sky: Bool[Tensor, "V h w"], cameras: Cameras, far: float
) -> Float[Tensor, "1 V h w"]:
    """The z-depth, with sky on a sphere around every camera, behind everything.

    Args:
        far: z-depth of the farthest plane.
    """
    upright = replace(cameras, extrinsics=torch.eye(4).expand_as(cameras.extrinsics))
    rays = unproject(torch.ones_like(depth), upright)
    return torch.where(sky[None], _DISTANCE * far / rays.norm(dim=-1), depth)
