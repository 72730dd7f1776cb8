"""Depth of posed photos, the steps in order."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from geometry.errors import InputError
from geometry.ops.images import resize_images
from geometry.ops.pinhole import resize_intrinsics
from geometry.tensors import TensorRecord
from geometry.threads import evenly, share
from geometry.views import Cameras, Views
from nvs.model.backbone import Encoding
from nvs.model.pooling import spaced_grid, whole_cells
from nvs.stereo.limits import FEATURES_FROM, depth_limits
from nvs.stereo.network import Estimate, Evidence, bundled_network
from nvs.stereo.pixel_maps import pixel_maps
from nvs.stereo.sky import distant, sky_of
from nvs.stereo.sources import source_views
from nvs.stereo.volume import matching_volume

_GREY = (0.299, 0.587, 0.114)
_JUDGES = 8  # views whose depth is held against a view's own
SWEEP_SPACING = 2.0  # pixels of the images between swept depths
_TRUSTED, _DOUBTED = 0.8, 0.25  # factors on opacities; of the learned step's at least
_BYTES_PER_CELL = 12  # of a plane: matching volume, costs and smoothed costs in float32


@dataclass(frozen=True, kw_only=True)
class SweptDepth(TensorRecord):
    """Depth of every view on the swept grid, and how far to trust it; a `DepthSource` of these views."""

    from_network: ClassVar[bool] = False

    depth: Float[Tensor, "1 V h w"]  # z-depth, scene units; defined everywhere, by smoothness if nothing else
    score: Float[
        Tensor, "1 V h w"
    ]  # NCC on the chosen plane, -1..1; or the probability that the depth is right
    trusted: Bool[Tensor, "1 V h w"]  # the photos agree there, and so does another view's depth
    floating: Bool[Tensor, "1 V h w"]  # more views look through the point than see it
    limits: Float[Tensor, "1 V 2"] | None = None  # z-depth of the nearest and the farthest plane
    doubted: Float[Tensor, "1 V h w"] | None = None  # factor on opacities where not trusted; None: 0.25
    mask: Bool[Tensor, "1 V h w"] | None = None  # False where a photo is not to be used

    def __call__(
        self, views: Views, encoding: Encoding | None
    ) -> tuple[Float[Tensor, "1 V h w"], Float[Tensor, "1 V h w"]]:
        """The depth; Gaussians at doubtful depth are thin: they fill what no trusted one covers."""
        doubted = torch.tensor(_DOUBTED) if self.doubted is None else self.doubted
        return self.depth, torch.where(self.trusted, _TRUSTED, doubted.to(self.depth))

    @property
    def trusted_share(self) -> float:
        """Share of the used pixels whose depth is trusted, 0..1."""
        trusted = self.trusted if self.mask is None else self.trusted[self.mask]
        return float(trusted.float().mean())


class StereoDepth:
    """A `DepthSource` that sweeps posed views, a depth every ``spacing`` pixels.

    Args:
        learned: the bundled network reads the sweep (`nvs.stereo.network`).
        settings: of `sweep_depth`.
    """

    from_network = False

    def __init__(self, *, spacing: float = SWEEP_SPACING, learned: bool = False, **settings: float) -> None:
        self.spacing, self.settings = spacing, settings
        self.network = bundled_network() if learned else None

    def sweep(self, views: Views) -> SweptDepth:
        """Depth of all views.

        Raises:
            InputError: fewer than two views, or views without cameras.
        """
        grid = spaced_grid(views.image_size, self.spacing)
        return sweep_depth(views, grid, network=self.network, **self.settings)  # type: ignore[arg-type]

    def __call__(
        self, views: Views, encoding: Encoding | None
    ) -> tuple[Float[Tensor, "1 V h w"], Float[Tensor, "1 V h w"]]:
        return self.sweep(views)(views, encoding)


@torch.no_grad()
def sweep_depth(
    views: Views,
    grid: tuple[int, int],
    *,
    planes: int = 80,
    sources: int = 4,
    window: int = 5,
    min_score: float = 0.5,
    rounds: int = 2,
    memory_gb: float = 0.75,
    network: Callable[[Evidence], Estimate] | None = None,
) -> SweptDepth:
    """z-depth of posed views by a plane sweep, semi-global smoothing, and agreement between views.

    Planes are even in inverse depth, between limits that triangulated features set for each view. The first
    round smooths the matching volume and keeps what views agree on. Further rounds start again from the
    matching volume, with what was agreed on before as evidence: planes on a surface that another view
    trusts cost less, planes in front of one more. That fills walls without texture from the views that
    know better, and takes floaters away. Depth that is not trusted lies at `FEATURES_FROM` near limits or
    farther.

    It runs on the CPU, wherever the views are. Where the volumes of all views do not fit into ``memory_gb``,
    views are swept in blocks, and matched anew in each round: the same numbers in bounded memory.

    Args:
        grid: (h, w) on which depth is sought; half of the image is enough for a Gaussian every second pixel.
        sources: views that each is matched with.
        window: side of the matched windows, cells, odd.
        min_score: NCC below which a depth is not trusted.
        memory_gb: for volumes, 1e9 bytes.
        network: reads depth, confidence and sky off the last round's volumes, view by view; None takes the
            bottom of the smoothed volume.

    Raises:
        InputError: fewer than two views, views without cameras, or planes that the network cannot halve.
    """
    # Here, so that `import nvs` and its names do not wait for numba.
    from nvs.stereo.agreement import add_evidence
    from nvs.stereo.semi_global import semi_global

    if views.cameras is None or views.images.shape[1] < 2:
        raise InputError("depth by plane sweep: expected two or more photos with poses")
    if network is not None and planes % 16:
        raise InputError(f"planes: expected a multiple of 16 where a network reads them, got {planes}")
    device = views.images.device
    views = views.to("cpu")
    limits = torch.tensor(depth_limits(views))
    near, far = limits.T
    cameras = Cameras(
        extrinsics=views.cameras.extrinsics.float(),
        intrinsics=resize_intrinsics(views.cameras.intrinsics, views.image_size, grid).float(),
    )
    images = resize_images(views.images, grid)[0]
    grey = (images * images.new_tensor(_GREY)[:, None, None]).sum(dim=1).numpy()
    mask = None if views.mask is None else whole_cells(views.mask, grid)
    middle = 2 / (1 / near + 1 / far)
    inverse = 1 / far[:, None] + torch.linspace(0, 1, planes) * (1 / near - 1 / far)[:, None]

    matched = source_views(cameras, grid, middle, sources).numpy()
    judges = source_views(cameras, grid, middle, _JUDGES).numpy()
    maps = pixel_maps(cameras, judges)
    V, cells = len(grey), grid[0] * grid[1] * planes
    parts = math.ceil(V * cells * _BYTES_PER_CELL / (memory_gb * 1e9))
    if parts > 1:  # then smaller ones, as long as all threads have work
        parts = min(V, max(parts, min(3 * parts, V // (2 * torch.get_num_threads()))))
    blocks = np.array_split(np.arange(V), parts)
    kept: np.ndarray | None = None  # the matching volume, where all of it fits
    found: SweptDepth | None = None

    def sweep(block: np.ndarray, last: bool) -> tuple[Tensor, ...]:
        """Depth and score of some views, or what the network says; memory is freed before the next ones."""
        nonlocal kept
        volume = kept
        if volume is None:
            to_sources = pixel_maps(cameras, matched, block)
            volume = matching_volume(
                grey,
                to_sources,
                matched[block],
                inverse[block].numpy(),
                window=window,
                views=block,
                mask=None if mask is None else mask[0].numpy(),
            )
            kept = volume if len(blocks) == 1 else None
        cost = volume.clip(min=0)  # anticorrelation is no stronger evidence than no correlation
        np.subtract(1, cost, out=cost)
        if found is not None:
            known = found.depth[0].numpy(), found.trusted[0].numpy()
            add_evidence(cost, inverse[block].numpy(), *known, maps[block], judges[block])
        smooth = torch.from_numpy(semi_global(cost, grey[block]))
        if last and network is not None:
            cost[:] = 0
            if found is not None:
                seen = maps[block], judges[block]
                add_evidence(cost, inverse[block].numpy(), *known, *seen, reward=1, penalty=1)
            planes = (torch.from_numpy(volume), smooth, torch.from_numpy(cost))
            return _read(network, images[block], *planes, inverse[block])
        best = smooth.argmin(dim=-1, keepdim=True)
        score = torch.from_numpy(volume).gather(-1, best)[..., 0]
        return 1 / _between_planes(smooth, best, inverse[block]), score

    for done in range(rounds):
        last = done == rounds - 1
        depth, score, *sky = (torch.cat(p) for p in zip(*(sweep(b, last) for b in blocks)))
        good = (score > 0.5) & (sky[0] < 0.5) if sky else score > min_score
        found = _judged(depth, score, good if mask is None else good & mask[0], maps, judges)
    if sky:
        behind = sky_of(sky[0], cameras)
        floating = found.floating & ~behind
        found = replace(
            found,
            depth=distant(found.depth, behind, cameras, float(far.max())),
            trusted=found.trusted | behind,
            floating=floating,
            doubted=torch.where(floating, 0.0, (0.5 * found.score).clamp(min=_DOUBTED)),
        )
    # Nearer than features only what is trusted: a guess there would hide what lies behind.
    guess = found.depth.clamp(min=(FEATURES_FROM * near)[:, None, None])
    depth = torch.where(found.trusted, found.depth, guess)
    return replace(found, depth=depth, limits=limits[None], mask=mask).to(device)


def _read(
    network: Callable[[Evidence], Estimate],
    images: Float[Tensor, "V 3 h w"],
    volume: Float[Tensor, "V h w P"],
    smooth: Float[Tensor, "V h w P"],
    others: Float[Tensor, "V h w P"],
    inverse: Float[Tensor, "V P"],
) -> tuple[Float[Tensor, "V h w"], Float[Tensor, "V h w"], Float[Tensor, "V h w"]]:
    """Depth, the probability that it is right, and that of sky; a thread has one view at a time."""
    first, step = inverse[:, 0, None, None], (inverse[:, 1] - inverse[:, 0])[:, None, None]
    said: dict[int, Estimate] = {}

    def read(v: int) -> None:
        planes = (t[v : v + 1].movedim(-1, 1).contiguous() for t in (volume, smooth, others))
        names = ("matching", "smoothed", "others")
        said[v] = network(Evidence(colours=images[v : v + 1], **dict(zip(names, planes))))

    if evenly(len(images)):
        share(read, range(len(images)))
    else:
        for v in range(len(images)):
            read(v)
    plane, confidence, sky = (
        torch.cat([getattr(said[v], n) for v in range(len(images))]) for n in ("plane", "confidence", "sky")
    )
    return 1 / (first + plane * step), confidence.sigmoid(), sky.sigmoid()


def _judged(
    depth: Float[Tensor, "V h w"],
    score: Float[Tensor, "V h w"],
    matched: Bool[Tensor, "V h w"],
    maps: Float[np.ndarray, "V S 2 3 3"],
    judges: Int[np.ndarray, "V S"],
) -> SweptDepth:
    """Depth with the views' agreement on it."""
    from nvs.stereo.agreement import count_agreement

    same, _ = count_agreement(depth.numpy(), matched.numpy(), maps, judges)
    trusted = matched & torch.from_numpy(same > 0)
    same, through = count_agreement(depth.numpy(), trusted.numpy(), maps, judges)
    floating = torch.from_numpy(through > same)
    return SweptDepth(
        depth=depth[None], score=score[None], trusted=(trusted & ~floating)[None], floating=floating[None]
    )


def _between_planes(
    cost: Float[Tensor, "V h w P"], best: Int[Tensor, "V h w 1"], inverse: Float[Tensor, "V P"]
) -> Float[Tensor, "V h w"]:
    """Inverse depth at the bottom of the parabola through the best plane and its neighbours."""
    inner = best.clamp(1, cost.shape[-1] - 2)
    below, at, above = (cost.gather(-1, inner + s) for s in (-1, 0, 1))
    bend = (below - 2 * at + above).clamp(min=1e-6)
    shift = (0.5 * (below - above) / bend).clamp(-0.5, 0.5)
    shift = torch.where(best == inner, shift, torch.zeros_like(shift))
    step = inverse[:, 1] - inverse[:, 0]
    return inverse[:, 0, None, None] + (best + shift)[..., 0] * step[:, None, None]
