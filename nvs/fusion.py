"""Fewer Gaussians that say the same: those of overlapping views are merged, in the renderer's own terms."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from geometry.ops import se3
from geometry.ops.rotations import quat_xyzw_from_matrix, wxyz_from_xyzw
from geometry.tensors import TensorRecord
from geometry.threads import in_order
from geometry.views import Cameras
from nvs.gaussians import SH_C0, Gaussians
from nvs.gaussians.transform import covariances
from nvs.rasterizer.gather import asked_views, gather

_NEIGHBOURS = 6  # that may be merged with a Gaussian
_COLOUR = 0.1  # deviation of a colour, 0..1: so much apart counts as a standard deviation apart in space
_UNSEEN = 1e-2  # pixels that a Gaussian counts for at least, times its opacity
_AT_ONCE = 0.25  # of a round's pairs, the cheapest, are merged: others may find a better partner


@dataclass(frozen=True, kw_only=True)
class Visibility(TensorRecord):
    """How much pictures show of every Gaussian of one scene."""

    pixels: Float[Tensor, " N"]  # summed blending weight over all pictures
    eye: Float[Tensor, "N 3"]  # centre of the cameras that see it, by what they see of it


@torch.no_grad()
def visibility(
    gaussians: Gaussians,
    cameras: Cameras,
    size: tuple[int, int],
    *,
    asked: Sequence[int] | None = None,
    backend: str = "auto",
) -> Visibility:
    """Blending weights of one scene's Gaussians, summed over pictures at cameras [1, V, ...].

    What nothing shows has the mean of the cameras' centres as its eye.

    Args:
        size: (H, W) to which the intrinsics refer.
        asked: cameras that have a say; None: `nvs.rasterizer.gather.asked_views`.
    """
    pixels, eye = torch.zeros_like(gaussians.opacities[0]), torch.zeros_like(gaussians.means[0])
    centres = se3.centres(cameras.extrinsics)[0]
    asked = asked_views(len(centres)) if asked is None else asked
    ones = pixels.new_ones(3, *size)

    def weights(v: int) -> Float[Tensor, " N"]:
        return gather(gaussians, cameras[:, v : v + 1], ones, size, backend=backend)[0]

    for v, weight in zip(asked, in_order(weights, asked, pixels.device)):
        pixels, eye = pixels + weight, eye + weight[:, None] * centres[v]
    seen = pixels > 0
    eye = torch.where(seen[:, None], eye / pixels.clamp(min=1e-20)[:, None], centres.mean(dim=0))
    return Visibility(pixels=pixels, eye=eye)


@torch.no_grad()
def fuse(gaussians: Gaussians, seen: Visibility, count: int) -> Gaussians:
    """At most ``count`` of one scene's N Gaussians: the least visible are left out, the others merged.

    Those that are seen on the fewest pixels go until sqrt(count N) are left; of these the pairs that lose
    least are merged, round by round.

    What a merger loses is Runnalls' bound on the divergence between a mixture of Gaussians before and after
    it, in space and colour, each Gaussian weighing as many pixels as it is seen on. Mean, covariance and
    colour are the pair's weighted moments. Opacity is that of the pair's optical depth, -log(1 - opacity),
    spread over the area that the merged one covers where it is seen from: two that lie on each other let
    through what they let through before, two side by side keep their opacity.

    Source: Runnalls 2007 (cost); moments in 3D Gaussian Splatting's terms are ours.
    """
    if gaussians.means.shape[1] <= count:
        return gaussians
    left = math.ceil(math.sqrt(count * gaussians.means.shape[1]))
    most = seen.pixels.topk(left).indices.sort().values
    return _merged(gaussians[:, most], seen[most], count)


def _merged(gaussians: Gaussians, seen: Visibility, count: int) -> Gaussians:
    unit = gaussians.scales.median()  # else determinants might leave float32
    parts = _Mixture.of(
        replace(gaussians, means=gaussians.means / unit, scales=gaussians.scales / unit),
        replace(seen, eye=seen.eye / unit),
    )
    while (excess := len(parts.weight) - count) > 0:
        first, second = parts.pairs(excess)
        parts = parts.merged(first, second)
    return parts.gaussians(gaussians, unit)


@dataclass(frozen=True, kw_only=True)
class _Mixture(TensorRecord):
    """One scene's Gaussians by their moments."""

    weight: Float[Tensor, " N"]  # pixels
    mean: Float[Tensor, "N 3"]
    covariance: Float[Tensor, "N 3 3"]
    sh: Float[Tensor, "N K 3"]
    mass: Float[Tensor, " N"]  # optical depth times area
    eye: Float[Tensor, "N 3"]
    source: Int[Tensor, " N"]  # the Gaussian that it still is; -1: merged

    @staticmethod
    def of(gaussians: Gaussians, seen: Visibility) -> "_Mixture":
        covariance = covariances(gaussians)
        mean, eye = gaussians.means[0], seen.eye
        return _Mixture(
            weight=seen.pixels + _UNSEEN * gaussians.opacities[0],
            mean=mean,
            covariance=covariance,
            sh=gaussians.sh[0],
            mass=-torch.log1p(-gaussians.opacities[0].clamp(1e-6, 0.999)) * _area(covariance, mean - eye),
            eye=eye,
            source=torch.arange(len(mean), device=mean.device),
        )

    def pairs(self, most: int) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
        """Pairs to be merged: those that are each other's cheapest, and the cheapest of these."""
        points = self.mean.cpu().numpy()
        N, k = len(points), min(_NEIGHBOURS + 1, len(points))
        near = torch.from_numpy(cKDTree(points).query(points, k, workers=-1)[1]).to(self.source)
        own = torch.arange(N, device=near.device)
        cost = torch.stack([self.cost(own, near[:, i]) for i in range(k)], dim=1)
        cost = torch.where((near == own[:, None]) | cost.isnan(), torch.inf, cost)
        best = cost.min(dim=1)
        partner = near[own, best.indices]
        mutual = ((partner[partner] == own) & (own < partner)).nonzero()[:, 0]
        if len(mutual) == 0:  # ties in a ring
            mutual = best.values.argmin()[None]
        most = min(most, max(1, round(_AT_ONCE * len(mutual))))
        first = mutual[best.values[mutual].argsort(stable=True)[:most]]
        return first, partner[first]

    def cost(self, i: Int[Tensor, " n"], j: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """What is lost where i and j become one."""
        wi, wj = self.weight[i], self.weight[j]
        both = wi + wj
        apart = self.mean[i] - self.mean[j]
        spread = (wi * wj / both.square())[:, None]
        merged = _mixed(self.covariance[i], self.covariance[j], wi / both) + (
            spread[..., None] * apart[:, :, None] * apart[:, None, :]
        )
        log = torch.log1p(spread * ((self.sh[i, 0] - self.sh[j, 0]) * SH_C0 / _COLOUR).square()).sum(-1)
        return 0.5 * (
            both * (_log_det(merged) + log)
            - wi * _log_det(self.covariance[i])
            - wj * _log_det(self.covariance[j])
        )

    def merged(self, first: Int[Tensor, " n"], second: Int[Tensor, " n"]) -> "_Mixture":
        wi, wj = self.weight[first], self.weight[second]
        share = wi / (wi + wj)
        apart = self.mean[first] - self.mean[second]
        outer = (share * (1 - share))[:, None, None] * apart[:, :, None] * apart[:, None, :]
        new = {
            "weight": wi + wj,
            "mean": _mixed(self.mean[first], self.mean[second], share),
            "covariance": _mixed(self.covariance[first], self.covariance[second], share) + outer,
            "sh": _mixed(self.sh[first], self.sh[second], share),
            "mass": self.mass[first] + self.mass[second],
            "eye": _mixed(self.eye[first], self.eye[second], share),
            "source": torch.full_like(first, -1),
        }
        keep = torch.ones_like(self.source, dtype=torch.bool)
        keep[first] = keep[second] = False
        return _Mixture(**{name: torch.cat((getattr(self, name)[keep], new[name])) for name in new})

    def gaussians(self, given: Gaussians, unit: Tensor) -> Gaussians:
        """Those that were merged with nothing are as given."""
        axes, turned = torch.linalg.eigh(self.covariance.double())
        turned[..., 0] *= torch.linalg.det(turned).sign()[:, None]  # a rotation, not a reflection
        quats = wxyz_from_xyzw(quat_xyzw_from_matrix(turned)).to(self.mean)
        scales = axes.clamp(min=0).sqrt().to(self.mean)
        depth = self.mass / _area(self.covariance, self.mean - self.eye)
        made = {
            "means": self.mean * unit,
            "quats": quats,
            "scales": scales * unit,
            "opacities": -torch.expm1(-depth),
            "sh": self.sh,
        }
        old, at = self.source >= 0, self.source.clamp(min=0)

        def chosen(name: str) -> Tensor:
            own = getattr(given, name)[0, at]
            return torch.where(old.view(-1, *[1] * (own.ndim - 1)), own, made[name])[None]

        return replace(given, **{name: chosen(name) for name in made})


def _mixed(a: Tensor, b: Tensor, share: Float[Tensor, " n"]) -> Tensor:
    share = share.view(-1, *[1] * (a.ndim - 1))
    return share * a + (1 - share) * b


def _log_det(covariance: Float[Tensor, "n 3 3"]) -> Float[Tensor, " n"]:
    return _det(covariance.double()).clamp(min=1e-300).log()


def _det(m: Float[Tensor, "n 3 3"]) -> Float[Tensor, " n"]:
    a, b, c = m.unbind(-2)
    return (a * torch.linalg.cross(b, c)).sum(-1)


def _area(covariance: Float[Tensor, "n 3 3"], direction: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
    """Over pi, of the ellipse of one standard deviation as it is seen from a direction.

    Its square is det(S) n' S^-1 n, which is n' adj(S) n.
    """
    n = torch.nn.functional.normalize(direction, dim=-1)
    a, b, c = covariance.unbind(-2)
    adjugate = torch.stack(
        (torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)), dim=-1
    )
    return torch.einsum("ni,nij,nj->n", n, adjugate, n).clamp(min=1e-37).sqrt()
