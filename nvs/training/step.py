"""One training step of the Gaussian head: context views in, target views rendered, compared."""

import itertools
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geometry.engine import ParameterGroup, Validation, ValidationRun
from geometry.engine.distributed import weighted_means
from geometry.engine.seeding import derive_seed
from geometry.errors import InputError
from geometry.models.nested import NestedDepthAnything3
from geometry.ops import se3
from geometry.ops.align import DegenerateAlignment
from geometry.training.validation import batches_of
from geometry.views import Cameras, Views
from nvs.cameras.transform import carry_cameras
from nvs.data.example import NovelViewExample
from nvs.losses import GaussianObjective
from nvs.metrics import load_lpips, psnr, unmasked
from nvs.model.backbone import Encoding, encode_views
from nvs.model.depth import DepthSource, NetworkDepth
from nvs.model.splatter import Splats
from nvs.rasterizer import rasterize
from nvs.rasterizer.backends import choose_backend
from nvs.stereo import SWEEP_SPACING, StereoDepth
from nvs.training.cache import RecordCache
from nvs.training.cases import Case, score_case
from nvs.training.model import TrainableSplatter
from nvs.training.samples import RecurringExample

SWEEPS_GB = 1.0  # swept depth kept for context views that come again; one photo's is some 0.1 MB


@dataclass(eq=False)
class GaussianHeadStep:
    """What the engine trains: encode, splat, render the targets, compare.

    Raises:
        InputError: LPIPS has a weight and its trunk's weights are not on this machine, or the depth term has
            one and nothing that it could train, or depth is of an unknown kind.

    Source: DA3 (arXiv:2511.10647) section 5.
    """

    model: TrainableSplatter
    objective: GaussianObjective
    _: KW_ONLY
    # Share of steps in which the network sees the given cameras. In the others it places the context itself,
    # and the targets are carried into its world (pose-adaptive training); on all processes alike.
    posed: float = 1.0
    reference: str = "saddle_balanced"  # how the reference view is chosen where no cameras are given
    chunk: int = 4  # views that the dense heads take at a time
    cache_gb: float = 0.0  # features kept of context views that come again; for a frozen backbone only
    # Where Gaussians lie: by the network's depth, or by that of a plane sweep wherever cameras are given, as
    # `nvs render` does for a tiny model (`nvs.pipeline`).
    depth: Literal["network", "sweep", "stereo"] = "network"
    validation: Sequence[Case] | None = None
    backend: str = "auto"  # of the rasterizer
    seed: int = 0  # decides which steps are posed

    def __post_init__(self) -> None:
        model, objective = self.model, self.objective
        self.lpips = load_lpips("vgg") if objective.on("lpips") else None
        if self.depth not in ("network", "sweep", "stereo"):
            raise InputError(f"step: expected a depth of network, sweep or stereo, got {self.depth!r}")
        if objective.on("depth") and self.depth != "network":
            raise InputError("loss: the depth term trains nothing where depth is swept; set its weight to 0")
        if objective.on("depth") and model.adapter.flavour == "rgb" and model.backbone_frozen:
            raise InputError(
                "loss: the depth term trains nothing, since the rgb flavour moves no depth and the backbone "
                "is frozen; set its weight to 0, take the sh flavour, or unfreeze the backbone"
            )
        self.posed_now = True
        self.stereo = None if self.depth == "network" else StereoDepth(learned=self.depth == "stereo")
        self.sweeps = RecordCache(SWEEPS_GB)
        self.cache = RecordCache(self.cache_gb) if self.cache_gb > 0 and model.backbone_frozen else None
        self.cases = list(self.validation or ())
        self.sheet_names = numbered([case.name for case in self.cases])
        self.placed: dict[int, Any] = {}  # targets of cases, placed by a frozen backbone

    # ------------------------------------------------------------------ what the engine calls

    def trainable_parameters(self) -> list[ParameterGroup]:
        return self.model.trainable_parameters()

    def to(self, device: torch.device) -> None:
        choose_backend(self.backend, device)  # here for its error or warning: before any step
        self.model.to(device)
        if self.lpips is not None:
            self.lpips.to(device)

    def blocks(self) -> list[nn.Module]:
        """The backbone's blocks, where all processes call them equally often."""
        if self.cache is not None:
            return []  # a process that finds features in its cache does not call the backbone
        network = self.model.network
        any_view = network.any_view if isinstance(network, NestedDepthAnything3) else network
        return [*getattr(getattr(any_view, "backbone", None), "blocks", ())]  # others' networks may have none

    def heads(self) -> list[nn.Module]:
        return [self.model.head]

    def count_items(self, batch: NovelViewExample) -> dict[str, float]:
        B, V, _, H, W = batch.context.views.images.shape
        images = B * (V + batch.target.views.images.shape[1])
        return {"images": images, "tokens": B * V * H * W / 14**2}

    def begin_step(self, index: int, steps: int) -> None:
        self.posed_now = derive_seed(self.seed, "posed", index) / 2**63 < self.posed

    def training_loss(
        self, batch: NovelViewExample, generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The weighted sum, and its terms with the PSNR over the target views."""
        views, target = batch.context.views, batch.target
        if not self.posed_now:
            views = replace(views, cameras=None)
        keys = batch.keys if isinstance(batch, RecurringExample) else None
        encoding = self.encode(views, keys)
        with torch.autocast(views.images.device.type, enabled=False):
            splats = self.splat(encoding, views, keys)
            cameras = target.truth.cameras
            if views.cameras is None:
                cameras = into_predicted_world(cameras, batch.context.truth.cameras, splats.geometry.cameras)
            images = target.views.images
            size, background = target.views.image_size, views.mean_colour()[:, None]  # as `nvs render`
            rgb = rasterize(splats.gaussians, cameras, size, background=background, backend=self.backend).rgb
            mask = target.views.mask
            kept = None if mask is None else mask.flatten(0, 1)
            reached = psnr(rgb.detach().flatten(0, 1), images.flatten(0, 1), kept)
            rgb = unmasked(rgb, images, mask)
            terms = self.objective(
                rgb,
                images,
                lpips_model=self.lpips,
                depth=gaussian_depth(splats) if self.objective.on("depth") else None,
                label=batch.context.truth.depth,
                label_valid=batch.context.truth.valid,
                opacities=splats.gaussians.opacities,
                sizes=gaussian_sizes(splats) if self.objective.on("size") else None,
            )
            loss = self.objective.total(terms)
        return loss, {**terms, "psnr": reached.mean()}

    def validate(self, run: ValidationRun) -> Validation:
        """Mean metrics over target photos of this process's share of the cases, and contact sheets."""
        scores, sheets = [], {}
        for (index,), counted in batches_of(len(self.cases), 1, run.rank, run.world_size):
            metrics, sheet, placed = score_case(
                self.model,
                self.cases[index].to(run.device),
                lambda views, index=index: self.lift(views, ("validation", str(index))),  # type: ignore[misc]
                placed=self.placed.get(index),
                reference=self.reference,
                chunk=self.chunk,
                backend=self.backend,
            )
            if self.model.backbone_frozen:
                self.placed[index] = placed
            if counted:
                scores.append((metrics, len(placed.names)))
                sheets[self.sheet_names[index]] = sheet
        targets = sum(weight for _, weight in scores)
        return Validation(metrics=weighted_means(scores), weight=targets, images=sheets)

    # ------------------------------------------------------------------ parts

    def lift(self, views: Views, keys: tuple[object, ...] | None) -> Splats:
        """Gaussians of context views."""
        return self.splat(self.encode(views, keys), views, keys)

    def encode(self, views: Views, keys: tuple[object, ...] | None) -> Encoding:
        """The backbone's part; from the cache where the views come again."""

        def compute() -> Encoding:
            # A frozen backbone would record nothing anyway; told so, it also computes in place.
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.model.backbone_frozen):
                encoding = encode_views(self.model.network, views, reference=self.reference, chunk=self.chunk)
            return replace(encoding, geometry=replace(encoding.geometry, features=None))  # no head reads them

        if self.cache is None or keys is None:
            return compute()
        return self.cache.fetch((keys, views.cameras is not None), compute)

    def depth_of(self, views: Views, keys: tuple[object, ...] | None) -> DepthSource:
        """Where the Gaussians of these views lie; swept depth comes from the cache where it can."""
        if self.stereo is None or views.cameras is None or views.images.shape[1] < 2:
            return NetworkDepth()
        if keys is None:
            return self.stereo
        return self.sweeps.fetch(keys, lambda: self.stereo.sweep(views))

    def splat(self, encoding: Encoding, views: Views, keys: tuple[object, ...] | None) -> Splats:
        """The head's part."""
        depth = self.depth_of(views, keys)
        spacing = 1.0 if depth.from_network else SWEEP_SPACING
        return self.model.splat(encoding, views, depth=depth, spacing=spacing, chunk=self.chunk)


def numbered(names: Sequence[str]) -> list[str]:
    """The names, equal ones made distinct: ``images`` and ``images_2``."""
    found: list[str] = []
    for name in names:
        ways = (name if n == 1 else f"{name}_{n}" for n in itertools.count(1))
        found.append(next(way for way in ways if way not in found))
    return found


def into_predicted_world(cameras: Cameras, context: Cameras, predicted: Cameras) -> Cameras:
    """Cameras of the given world where the network, which saw no poses, put that world.

    By the similarity of context centres; if they coincide (one view, a panorama) nothing tells the scale, and
    the first context view alone carries them over.
    """
    try:
        return carry_cameras(cameras, context, predicted)
    except DegenerateAlignment:
        first_to_there = se3.invert(context.extrinsics[:, :1]) @ predicted.extrinsics[:, :1]
        return Cameras(extrinsics=cameras.extrinsics @ first_to_there, intrinsics=cameras.intrinsics)


def gaussian_sizes(splats: Splats) -> Float[Tensor, "B N"]:
    """Mean standard deviation of every Gaussian over its axes, in pixels of its own context view."""
    focal = splats.geometry.cameras.intrinsics.diagonal(dim1=-2, dim2=-1)[..., :2].mean(-1)  # [B, V]
    per_unit = focal[..., None, None] / gaussian_depth(splats).clamp(min=1e-6)
    return splats.gaussians.scales.mean(-1) * per_unit.flatten(1)


def gaussian_depth(splats: Splats) -> Float[Tensor, "B V H W"]:
    """z-depth of every pixel's Gaussian in its own context view: the head's depth, offsets included."""
    B, V, H, W = splats.geometry.depth.shape
    pose = splats.geometry.cameras.extrinsics
    means = splats.gaussians.means.view(B, V, H, W, 3)
    return torch.einsum("bvi,bvhwi->bvhw", pose[:, :, 2, :3], means) + pose[:, :, None, None, 2, 3]
