"""From encoded photos to Gaussians, with the depth that `nvs render --depth` names."""

import torch

from geometry.errors import InputError
from geometry.prediction import Geometry
from geometry.views import Views
from nvs.backbone import encode_views
from nvs.grid import resize_cameras, sample
from nvs.holdout import resize_images
from nvs.splatter import Splats, Splatter
from nvs.stereo import StereoDepth, sweep_depth

DEPTHS = ("auto", "network", "sweep")
SWEEP_SPACING = 2.0  # pixels of the network's images between swept depths
_TRUSTED, _DOUBTED = 0.8, 0.25  # factors on opacities


def choose_depth(wanted: str, *, views: Views, good_network: bool) -> str:
    """``network`` or ``sweep``, what ``auto`` means resolved.

    Args:
        good_network: its depth is worth more than a sweep's; where it is not, auto sweeps if it can.

    Raises:
        InputError: a sweep is wanted, and poses are missing.
    """
    possible = views.cameras is not None and views.images.shape[1] > 1
    if wanted == "sweep" and not possible:
        raise InputError("--depth sweep: wanted two or more photos with poses")
    if wanted == "auto":
        return "sweep" if possible and not good_network else "network"
    return wanted


def lift_network(
    splatter: Splatter, views: Views, grid: tuple[int, int] | None, *, reference: str, chunk: int
) -> Splats:
    """Gaussians at the depth that the network predicts."""
    encoding = encode_views(splatter.network, views, reference=reference, chunk=chunk)
    return splatter.splat(encoding, views, chunk=chunk, grid=grid)


def lift_sweep(
    splatter: Splatter,
    views: Views,
    stereo: StereoDepth,
    grid: tuple[int, int],
    *,
    has_head: bool,
    reference: str,
    chunk: int,
) -> Splats:
    """Gaussians at swept depth; the head, where there is one, still says how they look.

    Those whose depth is in doubt are thin: they fill what no trusted Gaussian covers, behind veils of which
    nothing would be seen.

    Args:
        has_head: without one the network has nothing to say and is not asked.
    """
    depth, trusted = sample(stereo.depth, grid), sample(stereo.trusted.float(), grid)
    weight = torch.where(trusted > 0.5, _TRUSTED, _DOUBTED)
    if has_head:
        encoding = encode_views(splatter.network, views, reference=reference, chunk=chunk)
        return splatter.splat(encoding, views, chunk=chunk, grid=grid, depth=depth, weight=weight)
    cameras = resize_cameras(views.cameras, views.image_size, grid)
    raw = depth.new_zeros(*depth.shape, splatter.adapter.raw_channels)
    images = resize_images(views.images, grid)
    geometry = Geometry(depth=depth, cameras=cameras)
    gaussians = splatter.adapter(raw, 0.9 * weight, geometry, images, given=cameras)
    return Splats(gaussians=gaussians, geometry=Geometry(depth=depth, cameras=views.cameras))


def sweep_views(views: Views) -> StereoDepth:
    """Depth of posed views at the resolution that `nvs render` sweeps."""
    H, W = views.image_size
    return sweep_depth(views, (max(8, round(H / SWEEP_SPACING)), max(8, round(W / SWEEP_SPACING))))
