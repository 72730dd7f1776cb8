"""The one way from views to Gaussians: depth, splatting, pruning, refinement.

`nvs render`, the Python API, fine-tuning and the benchmark call it, so all of them judge the same thing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.console import Stopwatch, counted
from geometry.device import precision
from geometry.errors import InputError
from geometry.options import NetworkOptions
from geometry.views import Views
from nvs.model.depth import DepthSource, NetworkDepth
from nvs.model.prune import worth_keeping
from nvs.model.splatter import Splatter
from nvs.options import GaussianOptions
from nvs.refine import refine
from nvs.scene import SplatScene
from nvs.stereo import SWEEP_SPACING, StereoDepth
from nvs.verdict import trust_in_words

REFINED_SPACING = 4.0  # pixels between Gaussians that are to be refined: fewer converge faster, overfit less


def choose_depth(wanted: str, views: Views, *, knows_depth: bool) -> str:
    """``network`` or ``sweep``, with ``auto`` resolved.

    Args:
        knows_depth: the network's depth is worth more than a sweep's; where it is not, auto sweeps if it can.

    Raises:
        InputError: a sweep is asked for, and cameras are missing.
    """
    possible = views.cameras is not None and views.images.shape[1] > 1
    if wanted == "sweep" and not possible:
        raise InputError("--depth sweep: expected two or more photos with poses")
    if wanted == "auto":
        return "sweep" if possible and not knows_depth else "network"
    return wanted


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Views in, a `SplatScene` out.

    Args:
        report: takes lines of progress.
        watch: is told how long each stage took.
    """

    splatter: Splatter
    options: GaussianOptions = field(default_factory=GaussianOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    report: Callable[[str], None] = lambda line: None
    watch: Stopwatch = field(default_factory=Stopwatch)

    def __call__(
        self, views: Views, photos: Views | None = None, *, background: Float[Tensor, " 3"] | None = None
    ) -> SplatScene:
        """Gaussians of one scene's views, refined where the options say so.

        Args:
            views: images at the network's size, with cameras where they are known.
            photos: the same views for refinement, at the size to be rendered and with cameras in the
                Gaussians' world; None refines on ``views``.
            background: colour where no Gaussian is; None is the views' mean.

        Raises:
            InputError: swept depth is asked for and the views have no cameras.
        """
        scene = self.splat(views, background=background)
        return self.refine(scene, photos) if self.options.refine else scene

    @torch.no_grad()
    def splat(self, views: Views, *, background: Float[Tensor, " 3"] | None = None) -> SplatScene:
        """One feed-forward pass."""
        options, splatter = self.options, self.splatter
        kind = choose_depth(options.depth, views, knows_depth=splatter.knows_depth)
        depth: DepthSource = NetworkDepth()
        trusted = None
        if kind == "sweep":
            with self.watch("sweep"):
                depth = StereoDepth().sweep(views)
            trusted = depth.trusted_share
            self.report(
                f"depth: plane sweep over the photos' poses, {trust_in_words(trusted)}"
                + ("" if splatter.head is not None else "; the network has no part in these Gaussians")
            )
        coarse = REFINED_SPACING if options.refine else SWEEP_SPACING if kind == "sweep" else 1.0
        with self.watch("network"), precision(self.network.precision, splatter):
            splats = splatter(
                views,
                depth=depth,
                spacing=options.spacing or coarse,
                reference=self.network.reference,
                chunk=self.network.chunk,
            )
        splats = splats.map(torch.clone)  # tensors of an inference mode cannot take part in a gradient
        keep = worth_keeping(splats) if options.prune else torch.ones_like(splats.owners, dtype=torch.bool)
        self.report(f"{int(keep.sum()):,} Gaussians from {counted(views.images.shape[1], 'photo')}")
        return SplatScene(
            gaussians=splats.gaussians[:, keep],
            owners=splats.owners[keep],
            views=replace(views, cameras=splats.geometry.cameras),
            depth=splats.geometry.depth,
            depth_kind=kind,
            trusted=trusted,
            background=views.images.mean(dim=(0, 1, 3, 4)) if background is None else background,
            backend=options.backend,
        )

    def refine(self, scene: SplatScene, photos: Views | None = None) -> SplatScene:
        """The scene after gradient steps on its photos; see `nvs.refine.refine`."""
        options = self.options
        with self.watch("refine"):
            refined = refine(
                scene.gaussians,
                scene.views if photos is None else photos,
                steps=options.refine,
                seed=options.seed,
                owners=scene.owners,
                optimise_cameras=options.refine_cameras,
                background=scene.background,
                backend=options.backend,
                report=self.report,
            )
        self.report(refined.summary)
        cameras = replace(scene.cameras, extrinsics=refined.cameras.extrinsics)
        return replace(
            scene,
            gaussians=refined.gaussians,
            owners=None,
            views=replace(scene.views, cameras=cameras),
            refined=refined,
        )
