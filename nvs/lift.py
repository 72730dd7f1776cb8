"""From encoded photos to Gaussians, with the depth that `nvs render --depth` names."""

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.errors import InputError
from geometry.ops.images import resize_images
from geometry.prediction import Geometry
from geometry.views import Views
from geometry.weights.checkpoints import Checkpoint
from nvs.model.backbone import Encoding, encode_views
from nvs.model.parametrisation import GaussianAdapter, ReleasedAdapter
from nvs.model.pooling import resize_cameras, sample, spaced_grid
from nvs.model.splatter import Splats, Splatter
from nvs.stereo import StereoDepth, sweep_depth

DEPTHS = ("auto", "network", "sweep")
SWEEP_SPACING = 2.0  # pixels of the network's images between swept depths
REFINED_SPACING = 4.0  # between Gaussians that are to be refined: fewer learn faster and overfit less
_TRUSTED, _DOUBTED = 0.8, 0.25  # factors on opacities


def choose_depth(wanted: str, *, views: Views, trust_network: bool) -> str:
    """``network`` or ``sweep``, what ``auto`` means resolved.

    Args:
        trust_network: its depth is worth more than a sweep's; where it is not, auto sweeps if it can.

    Raises:
        InputError: a sweep is wanted, and poses are missing.
    """
    possible = views.cameras is not None and views.images.shape[1] > 1
    if wanted == "sweep" and not possible:
        raise InputError("--depth sweep: expected two or more photos with poses")
    if wanted == "auto":
        return "sweep" if possible and not trust_network else "network"
    return wanted


def knows_depth(checkpoint: Checkpoint) -> bool:
    """Whether a network's depth is worth more than a sweep's: a tiny knows less than matching does."""
    return checkpoint.trained and checkpoint.variant != "tiny"


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
    if not has_head:
        return lift_colours(splatter.adapter, views, stereo, grid)
    encoding = encode_views(splatter.network, views, reference=reference, chunk=chunk, geometry=False)
    return splat_swept(splatter, encoding, views, stereo, grid, chunk=chunk)


def lift_colours(
    adapter: GaussianAdapter | ReleasedAdapter, views: Views, stereo: StereoDepth, grid: tuple[int, int]
) -> Splats:
    """Gaussians at swept depth in the photos' own colours: what a head that has learnt nothing makes."""
    depth, weight = _on_grid(stereo, grid)
    cameras = resize_cameras(views.cameras, views.image_size, grid)
    raw = depth.new_zeros(*depth.shape, adapter.raw_channels)
    images = resize_images(views.images, grid)
    gaussians = adapter(raw, 0.9 * weight, Geometry(depth=depth, cameras=cameras), images, given=cameras)
    return Splats(gaussians=gaussians, geometry=Geometry(depth=depth, cameras=views.cameras))


def splat_swept(
    splatter: Splatter,
    encoding: Encoding,
    views: Views,
    stereo: StereoDepth,
    grid: tuple[int, int],
    *,
    chunk: int,
) -> Splats:
    """The head's part of `lift_sweep`."""
    depth, weight = _on_grid(stereo, grid)
    return splatter.splat(encoding, views, chunk=chunk, grid=grid, depth=depth, weight=weight)


def _on_grid(
    stereo: StereoDepth, grid: tuple[int, int]
) -> tuple[Float[Tensor, "1 V h w"], Float[Tensor, "1 V h w"]]:
    """Swept depth and the factor on opacities."""
    trusted = sample(stereo.trusted.float(), grid) > 0.5
    return sample(stereo.depth, grid), torch.where(trusted, _TRUSTED, _DOUBTED)


def sweep_views(views: Views) -> StereoDepth:
    """Depth of posed views at the resolution that `nvs render` sweeps."""
    return sweep_depth(views, spaced_grid(views.image_size, SWEEP_SPACING))
