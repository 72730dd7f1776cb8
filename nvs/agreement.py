"""How far photos agree with Gaussians made of them: what they disagree with floats, or has moved."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.ops.pinhole import project
from geometry.threads import in_order
from geometry.views import Views
from nvs.gaussians import Gaussians, sh_to_rgb
from nvs.rasterizer.gather import asked_views, gather

ENOUGH = 6  # photos from which on their agreement is worth asking for
_STRICT, _STRICTEST, _LAYERS = 2.0, 4.0, 8.0  # exponents, and the layers up to which the first one holds
_OPAQUE, _MOST = 0.99, 20.0  # alpha above which nothing is missed; times that optical depth grows again
_HIDDEN = 0.25  # pixels, summed over photos: PSNR of others is the same without, within 0.01 dB
_FAINT = 0.25  # pixels: a Gaussian that weighs so much in a photo has half a vote
_LUMINANCE, _RED_LESS_BLUE = (0.299, 0.587, 0.114), (0.5, 0.0, -0.5)


@torch.no_grad()
def thinned_out(
    gaussians: Gaussians,
    views: Views,
    *,
    photos: int | None = None,
    keep_hidden: bool = False,
    backend: str = "auto",
) -> Gaussians:
    """One scene's Gaussians, each as opaque as photos from all over the capture bear out.

    A photo disagrees with a Gaussian by the squared difference of their colours where it would show it; the
    mean over photos counts, as the ratio R to the same mean over all that is drawn at the same pixels. So a
    floater before a surface that photos agree on becomes transparent. Optical depth, -log(1 - opacity), is
    multiplied by 2 / (1 + 2 R)^p, and by as much again as pictures would otherwise lose of theirs there: what
    nothing better stands behind stays. The more photos show the same, the stricter: p is 2, 3, 4 at 8, 18, 32
    photos whose Gaussians lie in one picture. What all photos together then show less than `_HIDDEN` pixels
    of is transparent, if all were asked.

    Args:
        views: with cameras in the Gaussians' world; what their masks hide says nothing.
        photos: that the Gaussians were made from; None: all of them.
        keep_hidden: what photos show next to nothing of stays as well.
    """
    differences = _disagreement(gaussians, views, backend)
    around, alphas = _around(gaussians, views, differences, backend)
    ratio = differences / around.clamp(min=1e-8)
    layers = _in_picture(gaussians, views) * (photos or views.images.shape[1])
    strict = min(max(_STRICT * math.sqrt(layers / _LAYERS), _STRICT), _STRICTEST)
    depth = 2 * _optical_depth(gaussians.opacities, 0.999) / (1 + 2 * ratio) ** strict
    thinned = replace(gaussians, opacities=-torch.expm1(-depth))
    lost, pixels = _lost(thinned, views, alphas, backend)
    opacities = -torch.expm1(-depth * lost)
    if not keep_hidden and len(alphas) == views.images.shape[1]:
        opacities = torch.where(pixels < _HIDDEN, 0.0, opacities)
    return replace(gaussians, opacities=opacities)


def _in_picture(gaussians: Gaussians, views: Views) -> float:
    """The share of the Gaussians that lie in a photo's frustum, hidden or not; mean over photos."""
    H, W = views.image_size
    shares = []
    for v in asked_views(views.images.shape[1]):
        (x, y), z = (
            t[0, 0].movedim(-1, 0) for t in project(gaussians.means[:, None], views.cameras[:, v : v + 1])
        )
        inside = (z > 0) & (x > 0) & (x < W) & (y > 0) & (y < H)
        shares.append(inside.float().mean())
    return float(torch.stack(shares).mean())


def _disagreement(gaussians: Gaussians, views: Views, backend: str) -> Float[Tensor, " N"]:
    """Mean over photos of the squared difference in colour; of what none shows, 0."""
    channels = gaussians.means.new_tensor((_LUMINANCE, _RED_LESS_BLUE))
    own = channels @ sh_to_rgb(gaussians.sh[0, :, 0]).mT
    total, votes = own.new_zeros(len(own[0])), own.new_zeros(len(own[0]))

    def said(v: int) -> Float[Tensor, "3 N"]:
        photo = torch.einsum("ij,jhw->ihw", channels, views.images[0, v].to(channels))
        picture = torch.cat((torch.ones_like(photo[:1]), photo))
        if views.mask is not None:
            picture = picture * views.mask[0, v].to(picture)
        return gather(gaussians, views.cameras[:, v : v + 1], picture, views.image_size, backend=backend)

    for weight, *seen in in_order(said, asked_views(views.images.shape[1]), own.device):
        vote = weight / (weight + _FAINT)
        total += vote * (torch.stack(seen) / weight.clamp(min=1e-6) - own).square().mean(dim=0)
        votes += vote
    return total / votes.clamp(min=1e-6)


def _around(
    gaussians: Gaussians, views: Views, values: Float[Tensor, " N"], backend: str
) -> tuple[Float[Tensor, " N"], dict[int, Float[Tensor, "H W"]]]:
    """The mean of all Gaussians' values where each is seen, by blending weight; and alpha by picture.

    Of what no picture shows the mean is 0.
    """
    alphas: dict[int, Float[Tensor, "H W"]] = {}
    colors = torch.stack((values, torch.ones_like(values), torch.zeros_like(values)), dim=-1)
    total, weights = torch.zeros_like(values), torch.zeros_like(values)

    def mean_of(v: int) -> Float[Tensor, "3 N"]:
        def blended(drawn: Float[Tensor, "3 H W"]) -> Float[Tensor, "3 H W"]:
            alphas[v] = drawn[1]
            mean = drawn[0] / drawn[1].clamp(min=1e-3)
            return torch.stack((mean, torch.ones_like(mean), torch.zeros_like(mean)))

        return gather(
            gaussians,
            views.cameras[:, v : v + 1],
            blended,
            views.image_size,
            colors=colors,
            backend=backend,
        )

    for found, weight, _ in in_order(mean_of, asked_views(views.images.shape[1]), values.device):
        total, weights = total + found, weights + weight
    return total / weights.clamp(min=1e-6), alphas


def _lost(
    thinned: Gaussians, views: Views, alphas: dict[int, Float[Tensor, "H W"]], backend: str
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """From 1: how many times more optical depth these alphas mean than pictures have where each is seen.

    And on how many pixels of all pictures together it is seen.
    """
    total = thinned.opacities.new_zeros(3, thinned.opacities.shape[1])

    def depths_of(v: int) -> Float[Tensor, "3 N"]:
        def depths(drawn: Float[Tensor, "3 H W"]) -> Float[Tensor, "3 H W"]:
            depth = _optical_depth(torch.stack((alphas[v], drawn[0])), _OPAQUE)
            return torch.cat((depth, torch.ones_like(depth[:1])))

        return gather(thinned, views.cameras[:, v : v + 1], depths, views.image_size, backend=backend)

    for sums in in_order(depths_of, asked_views(views.images.shape[1]), total.device):
        total += sums
    before, after, pixels = total
    lost = torch.where(after > 0, before / after.clamp(min=1e-6), 1.0).clamp(1, _MOST)
    return lost, pixels


def _optical_depth(opacity: Tensor, most: float) -> Tensor:
    return -torch.log1p(-opacity.clamp(max=most))
