"""3D Gaussians optimised for one scene from a plane sweep: what hours of research are measured against."""

import time
from dataclasses import dataclass, replace

import torch

from eval.methods.base import Splatted, Task
from eval.methods.references import surface_gaussians
from eval.methods.sweep import Sweep, filled_depth
from geometry.errors import InputError
from geometry.views import Cameras, Views
from nvs.gaussians import Gaussians
from nvs.gaussians.files import select
from nvs.metrics import ssim
from nvs.plane_sweep import SweptDepth
from nvs.rasterizer import rasterize


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Adam's learning rates; that of the means is in median depths and falls to a tenth."""

    means: float = 3e-4
    scales: float = 1e-2  # of the logarithm
    quats: float = 2e-3
    opacities: float = 3e-2  # of the logit
    colours: float = 5e-3  # of degree-0 coefficients


class Optimised:
    """Plane-sweep depth, one Gaussian per pixel of its grid, then gradient steps on the context photos.

    Given poses, no network. No Gaussian is added or taken away on the way.

    Args:
        steps: each on one context photo, all photos in turn in an order drawn once a round.
        seed: of that order.
    """

    given_poses = "needed"

    def __init__(self, sweep: Sweep, *, steps: int = 600, seed: int = 0, backend: str = "auto") -> None:
        if steps < 0:
            raise InputError(f"optimise.steps: expected at least 0, got {steps}")
        self._sweep, self._steps, self._seed, self._backend = sweep, steps, seed, backend
        self.about = replace(
            sweep.about,
            name=f"3DGS per scene, plane sweep + {steps} steps",
            identity={**sweep.about.identity, "steps": steps, "seed": seed},
        )

    def predict(self, task: Task) -> Splatted:
        start = time.perf_counter()
        views, swept = self._sweep.swept(task)
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
    """One Gaussian for every pixel, firm where its depth is trusted, thin at the depth around it elsewhere.

    Trusted pixels alone leave holes where there is no texture (walls, sky) that no optimisation closes.
    """
    gaussians = surface_gaussians(views, filled_depth(swept))
    firm = torch.where(swept.trusted.flatten(1), 0.7, 0.2)
    return replace(gaussians, opacities=firm.to(gaussians.opacities))


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
