"""3D Gaussians optimised for one scene from a plane sweep: what hours of research are measured against."""

import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from eval.methods.base import About, Splatted, Task
from eval.methods.plane_sweep import SweptDepth, plane_sweep
from eval.methods.references import surface_gaussians
from geometry.errors import InputError
from geometry.ops.pinhole import resize_intrinsics
from geometry.views import Cameras, Views
from nvs.gaussians import Gaussians
from nvs.holdout import resize_images
from nvs.metrics import ssim
from nvs.rasterize import rasterize
from nvs.splat_files import select


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Adam's learning rates; that of the means is in median depths and falls to a tenth."""

    means: float = 3e-4
    scales: float = 1e-2  # of the logarithm
    quats: float = 2e-3
    opacities: float = 3e-2  # of the logit
    colours: float = 5e-3  # of degree-0 coefficients


class Optimised:
    """Plane-sweep depth, one Gaussian per pixel of a grid, then gradient steps on the context photos.

    Given poses, no network. No Gaussian is added or taken away on the way.

    Args:
        sweep: arguments of `plane_sweep`, and ``factor``: the sweep and the Gaussians' grid have the photos'
            size over this.
        steps: each on one context photo, all photos in turn in an order drawn once a round.
        seed: of that order.
    """

    given_poses = "needed"

    def __init__(
        self, *, sweep: dict[str, object], steps: int = 600, seed: int = 0, backend: str = "auto"
    ) -> None:
        if steps < 0:
            raise InputError(f"optimise.steps: wanted at least 0, came {steps}")
        self._sweep = dict(sweep)
        self._factor = float(self._sweep.pop("factor"))
        if self._factor < 1:
            raise InputError(f"sweep.factor: wanted at least 1, came {self._factor}")
        self._steps, self._seed, self._backend = steps, seed, backend
        self.about = About(
            name=f"3DGS per scene, plane sweep + {steps} steps",
            weights="no weights",
            licence="-",
            identity={"sweep": sweep, "steps": steps, "seed": seed},
        )

    def predict(self, task: Task) -> Splatted:
        start = time.perf_counter()
        H, W = task.size
        size = max(8, round(H / self._factor)), max(8, round(W / self._factor))
        cameras = Cameras(
            extrinsics=task.photos.cameras.extrinsics,
            intrinsics=resize_intrinsics(task.photos.cameras.intrinsics, task.size, size),
        )
        views = Views(images=resize_images(task.photos.images, size), cameras=cameras)
        swept = plane_sweep(views, **self._sweep)
        gaussians = initial_gaussians(views, swept)
        swept_s = time.perf_counter() - start
        gaussians = optimise_gaussians(
            gaussians, task.photos, steps=self._steps, seed=self._seed, backend=self._backend
        )
        notes = {
            "sweep_s": round(swept_s, 2),
            "optimise_s": round(time.perf_counter() - start - swept_s, 2),
            "trusted": round(float(swept.trusted.float().mean()), 4),
        }
        return Splatted(gaussians=gaussians, notes=notes)


def initial_gaussians(views: Views, swept: SweptDepth) -> Gaussians:
    """One Gaussian for every pixel whose depth is trusted; the rest, thinly, at the depth around them.

    Trusted pixels alone leave holes where there is no texture (walls, sky) that no optimisation closes.
    """
    depth = _filled(swept.depth, swept.trusted, swept.score)
    gaussians = surface_gaussians(views, depth)
    trusted = swept.trusted.flatten(1)
    opacities = torch.where(trusted, 0.7, 0.2).to(gaussians.opacities)
    return Gaussians(
        means=gaussians.means,
        quats=gaussians.quats,
        scales=gaussians.scales,
        opacities=opacities,
        sh=gaussians.sh,
    )


def _filled(depth: Tensor, trusted: Tensor, score: Tensor) -> Float[Tensor, "1 V H W"]:
    """Depth, and where it is not trusted the weighted mean inverse depth of trusted pixels around.

    Averages over windows that double: near pixels decide where there are some, far ones else.
    """
    inverse = (1 / depth).flatten(0, 1)[:, None]
    weight = trusted.flatten(0, 1)[:, None].to(inverse) * score.flatten(0, 1)[:, None].clamp(min=0.01)
    total, norm = inverse * weight, weight.clone()
    filled, known = torch.where(weight > 0, inverse, torch.zeros_like(inverse)), weight > 0
    window = 5
    while not known.all() and window < 4 * max(depth.shape[-2:]):
        pad = window // 2
        values = F.avg_pool2d(F.pad(total, [pad] * 4), window, stride=1)
        norms = F.avg_pool2d(F.pad(norm, [pad] * 4), window, stride=1)
        reached = ~known & (norms > 0.02 * 1 / window)
        filled = torch.where(reached, values / norms.clamp(min=1e-12), filled)
        known |= reached
        window = 2 * window + 1
    filled = torch.where(known, filled, inverse)  # a view in which nothing is trusted keeps its best guess
    return (1 / filled.clamp(min=1e-9))[:, 0].unflatten(0, depth.shape[:2])


def optimise_gaussians(
    gaussians: Gaussians,
    photos: Views,
    *,
    steps: int,
    seed: int = 0,
    rates: Rates | None = None,
    dissimilarity: float = 0.2,
    backend: str = "auto",
) -> Gaussians:
    """Gaussians after gradient steps on photos: (1 - w) L1 + w (1 - SSIM), as in 3D Gaussian Splatting.

    Args:
        dissimilarity: the weight w.
    """
    if steps == 0:
        return gaussians
    rates = rates or Rates()
    size, V = photos.image_size, photos.images.shape[1]
    depth = _median_depth(gaussians, photos.cameras)
    leaves = {
        "means": gaussians.means.detach().clone(),
        "scales": gaussians.scales.detach().log(),
        "quats": gaussians.quats.detach().clone(),
        "opacities": torch.logit(gaussians.opacities.detach(), eps=1e-4),
        "colours": gaussians.sh.detach().clone(),
    }
    for leaf in leaves.values():
        leaf.requires_grad_(True)
    groups = [{"params": [leaf], "lr": getattr(rates, name), "name": name} for name, leaf in leaves.items()]
    groups[0]["lr"] = rates.means * depth
    optimizer = torch.optim.Adam(groups, eps=1e-15, foreach=True)
    start_rate = groups[0]["lr"]

    def assembled() -> Gaussians:
        return Gaussians(
            means=leaves["means"],
            quats=leaves["quats"],
            scales=leaves["scales"].exp(),
            opacities=leaves["opacities"].sigmoid(),
            sh=leaves["colours"],
        )

    generator = torch.Generator().manual_seed(seed)
    order: list[int] = []
    with torch.enable_grad():
        for step in range(steps):
            order = order or torch.randperm(V, generator=generator).tolist()
            view = order.pop()
            optimizer.param_groups[0]["lr"] = start_rate * 0.1 ** (step / steps)
            rendered = rasterize(assembled(), photos.cameras[:, view : view + 1], size, backend=backend)
            photo = photos.images[:, view]
            loss = (1 - dissimilarity) * (rendered.rgb[0] - photo).abs().mean()
            if dissimilarity > 0:
                loss = loss + dissimilarity * (1 - ssim(rendered.rgb[0], photo).mean())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        done = assembled().detach()
        return select(done, done.opacities[0] > 1 / 255)


def _median_depth(gaussians: Gaussians, cameras: Cameras) -> float:
    """Median z-depth of the Gaussians in front of the first camera: the scene's scale."""
    z = gaussians.means[0] @ cameras.extrinsics[0, 0, 2, :3] + cameras.extrinsics[0, 0, 2, 3]
    z = z[z > 0]
    return float(z.median()) if len(z) else 1.0
