"""The one way from views to Gaussians: depth, splatting, pruning, refinement.

`nvs render`, the Python API, fine-tuning and the benchmark call it, so all of them judge the same thing.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.capture import MAX_VIEWS
from geometry.chunks.cut import camera_features, cut, in_order
from geometry.console import Stopwatch, counted
from geometry.device import precision
from geometry.errors import InputError
from geometry.ops import se3
from geometry.options import NetworkOptions
from geometry.views import Cameras, Views
from nvs.agreement import ENOUGH, thinned_out
from nvs.colours import matched_colours
from nvs.fusion import fuse, visibility
from nvs.gaussians.capping import capped
from nvs.model.depth import KnownDepth
from nvs.model.pooling import whole_cells
from nvs.model.prune import MIN_OPACITY, worth_keeping
from nvs.model.splatter import Splats, Splatter, join_views
from nvs.options import GaussianOptions
from nvs.refine import Refined, plan_refinement, refine, step_seconds
from nvs.refine.moving import SHARE
from nvs.scene import SplatScene
from nvs.seeds import FEWEST, REFINED_SPACING, affordable, choose_seeds, sampled, spread_gaussians
from nvs.stereo import SWEEP_SPACING, StereoDepth, SweptDepth
from nvs.verdict import trust_in_words

AT_ONCE, SHARED = 100, 16  # photos that are swept together where not all are, and that the next ones share
SWEPT = {"sweep": "plane sweep", "stereo": "learned stereo"}  # kinds of depth between posed photos, in words


def choose_depth(wanted: str, views: Views, *, knows_depth: bool) -> str:
    """``network``, ``sweep`` or ``stereo``; ``auto`` is stereo unless the network ``knows_depth``."""
    possible = views.cameras is not None and _has_baseline(views.cameras)
    if wanted in SWEPT and not possible:
        raise InputError(f"--depth {wanted}: expected two or more photos with poses, from different places")
    if wanted == "auto":
        return "stereo" if possible and not knows_depth else "network"
    return wanted


def _has_baseline(cameras: Cameras) -> bool:
    """Whether the cameras stand at more than one place: views of one panorama do not."""
    centres = se3.centres(cameras.extrinsics.double())
    return bool((centres - centres[:, :1]).abs().max() > 1e-6 * centres.abs().max().clamp(min=1e-6))


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Views in, a `SplatScene` out.

    Args:
        at_a_time: photos that the network takes in one pass; None: `geometry.capture.MAX_VIEWS`.
        in_chunks: sweep `AT_ONCE` neighbouring photos at a time, which bounds memory, instead of all.
        report: takes lines of progress.
        watch: is told how long each stage took.
    """

    splatter: Splatter
    options: GaussianOptions = field(default_factory=GaussianOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    at_a_time: int | None = None
    in_chunks: bool = False
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
        return self.refine(scene, photos) if self.options.refines else scene

    @torch.no_grad()
    def splat(
        self,
        views: Views,
        *,
        background: Float[Tensor, " 3"] | None = None,
        known: Float[Tensor, "1 V H W"] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> SplatScene:
        """One feed-forward pass, posed views in groups that the network takes at a time.

        Before refinement a part of the posed views becomes Gaussians (`nvs.seeds`).

        Args:
            known: the network's depth, where it was asked before; swept depth is then taken only by name.
            seeds: views that become Gaussians; None: as `seeds` chooses.
        """
        options, splatter = self.options, self.splatter
        wanted = "network" if known is not None and options.depth == "auto" else options.depth
        kind = choose_depth(wanted, views, knows_depth=splatter.knows_depth)
        V = views.images.shape[1]
        seeds = self.seeds(views) if seeds is None else list(seeds)
        device = views.images.device if views.cameras is None else views.cameras.extrinsics.device
        behind = (views.mean_colour()[0] if background is None else background).to(device)
        least = SWEEP_SPACING if kind in SWEPT else 1.0
        spacing = options.spacing or spread_gaussians(views.image_size, len(seeds), options, least)
        splats: list[Splats] = []
        parts: list[list[int]] = []  # seeds of each
        agreed: list[Bool[Tensor, "1 own y x"]] = []
        shares: list[float] = []
        owned: list[int] = []  # seeds, as they come
        for run, own in self.runs(views, seeds):
            few = (views if len(run) == V else views[:, [seeds[i] for i in run]]).to(device)
            owned += [run[row] for row in own]
            depth: SweptDepth | KnownDepth | None = None
            if kind in SWEPT:
                with self.watch("sweep"):
                    depth = StereoDepth(learned=kind == "stereo").sweep(few)
                agreed.append(depth[:, own].trusted)
                shares.append(depth[:, own].trusted_share * len(own) / len(seeds))
            elif known is not None:
                depth = KnownDepth(depth=known[:, [seeds[i] for i in run]].to(device))
            groups = [own]
            if splatter.network is not None and views.cameras is not None:
                number = math.ceil(len(own) / (self.at_a_time or MAX_VIEWS.get(device.type, 16)))
                groups = [own[first::number] for first in range(number)]  # each spans the capture
            with self.watch("network"), precision(self.network.precision, splatter):
                for group in groups:
                    whole = len(group) == len(run)
                    done = splatter(
                        few if whole else few[:, group],
                        depth=depth if depth is None or whole else depth[:, group],
                        spacing=spacing,
                        reference=self.network.reference,
                        chunk=self.network.chunk,
                    )
                    # Tensors of an inference mode cannot take part in a gradient.
                    splats.append(done.map(torch.clone))
                    parts.append([run[row] for row in group])
        if shares:
            self.report(
                f"depth: {SWEPT[kind]} over {counted(len(seeds), 'photo')}, {trust_in_words(sum(shares))}"
                + ("" if splatter.head is not None else "; the network has no part in these Gaussians")
            )
        joined = join_views(splats, parts)
        shown = joined.gaussians.opacities[0] > 0  # not of what masks hide
        gaussians = joined.gaussians[:, worth_keeping(joined) if options.prune else shown]
        posed = replace(views, cameras=joined.geometry.cameras) if len(seeds) == V else views
        agree = options.prune and kind in SWEPT and V >= ENOUGH
        if agree:
            with self.watch("agreement"):
                gaussians = thinned_out(
                    gaussians,
                    posed,
                    photos=len(seeds),
                    keep_hidden=options.refines,  # else the sample below had fewer
                    backend=options.backend,
                )
                gaussians = gaussians[:, gaussians.opacities[0] >= MIN_OPACITY]
        if options.refines and options.spacing is None and spacing < REFINED_SPACING:
            with self.watch("sampling"):
                seen = visibility(gaussians, posed.cameras, posed.image_size, backend=options.backend)
                gaussians = gaussians[:, sampled(seen.pixels, spacing, options.seed)]
        budget = options.budget(gaussians.means.shape[1])
        if budget < gaussians.means.shape[1] and not options.refines:  # else on the way
            with self.watch("fusion"):
                seen = visibility(gaussians, posed.cameras, posed.image_size, backend=options.backend)
                gaussians = fuse(gaussians, seen, budget)
        if agree and not options.refines:
            with self.watch("colours"):
                gaussians = matched_colours(gaussians, posed, background=behind, backend=options.backend)
        of = counted(V, "photo") if len(seeds) == V else f"{len(seeds)} of {V} photos"
        rest = "; all refine them" if options.refines and len(seeds) < V else ""
        self.report(f"{gaussians.means.shape[1]:,} Gaussians from {of}{rest}")
        return SplatScene(
            gaussians=gaussians,
            views=posed,
            seeds=tuple(seeds),
            seed_depth=joined.geometry.depth,
            depth_kind=kind,
            trusted=sum(shares) if shares else None,
            background=behind,
            agreed=torch.cat(agreed, dim=1)[:, np.argsort(owned)] if agreed else None,
            backend=options.backend,
        )

    def runs(self, views: Views, seeds: Sequence[int]) -> list[tuple[list[int], list[int]]]:
        """Numbers of seeds whose depth is found together, and the rows of those that are not other runs'."""
        S = len(seeds)
        if not self.in_chunks or S <= AT_ONCE or views.cameras is None:
            return [(list(range(S)), list(range(S)))]
        order = in_order(camera_features(views.cameras[:, list(seeds)].arrays()[0]))
        runs = cut(S, AT_ONCE, SHARED)
        nearest = [min(runs, key=lambda run: abs(run.start + run.stop - 1 - 2 * place)) for place in range(S)]
        return [([order[p] for p in run], [p - run.start for p in run if nearest[p] == run]) for run in runs]

    def seeds(self, views: Views) -> list[int]:
        """The views that become Gaussians."""
        options, V = self.options, views.images.shape[1]
        most = None
        if options.minutes is not None and views.cameras is not None and V > FEWEST:
            trial = replace(
                self, report=lambda line: None, watch=Stopwatch(), options=replace(options, minutes=None)
            )
            spent = sum(self.watch.seconds.values())
            with self.watch("trial"):
                minutes = options.minutes / 2 if options.moving else options.minutes  # made twice
                most = affordable(views, minutes, spent, trial.splat)
        return choose_seeds(views, options, most)

    def refine(
        self, scene: SplatScene, photos: Views | None = None, *, move: Sequence[int] = ()
    ) -> SplatScene:
        """The scene after gradient steps on its photos; see `nvs.refine.refine`.

        Args:
            move: photos whose poses are optimised in any case.
        """
        photos = scene.views if photos is None else photos
        seeks = self.options.moving
        refined = self._refined(scene, photos, move, share=SHARE if seeks else 1.0)
        if seeks and not refined.interrupted:
            assert refined.still is not None
            self.report(f"{refined.moved:.1%} of the photos has moved: Gaussians are made anew without it")
            scene, photos = self._without(refined.still, scene), replace(photos, mask=refined.still)
            refined = replace(self._refined(scene, photos, move), moved=refined.moved)
        gaussians, too_large = capped(refined.gaussians)
        if too_large:
            self.report(f"{counted(too_large, 'Gaussian')} grew over every picture and came out smaller")
        cameras = replace(scene.cameras, extrinsics=refined.cameras.extrinsics)
        return replace(
            scene, gaussians=gaussians, views=replace(scene.views, cameras=cameras), refined=refined
        )

    def _refined(self, scene: SplatScene, photos: Views, move: Sequence[int], share: float = 1.0) -> Refined:
        """Gradient steps as the options plan them, or before them a ``share`` in which to find what moves."""
        options = self.options
        drawn: Any = {"background": scene.background, "backend": options.backend}
        spent = sum(self.watch.seconds.values())
        spent += spent if share < 1 else 0  # the Gaussians are made once more
        with self.watch("refine"):
            one = step_seconds(scene.gaussians, photos, **drawn)
            plan = plan_refinement(options, photos.images.shape[1], one, spent=spent + 10 * one).part(share)
            self.report(plan.summary)
            refined = refine(
                scene.gaussians,
                photos,
                steps=plan.steps,
                most_seconds=plan.most_seconds,
                seed=options.seed,
                move=range(1, photos.images.shape[1]) if options.refine_cameras else move,
                exposure=options.exposure,
                moving=share < 1,
                most=options.budget(scene.gaussians.means.shape[1]),
                report=self.report,
                **drawn,
            )
        self.report(refined.summary)
        return refined

    def _without(self, still: Bool[Tensor, "1 V H W"], scene: SplatScene) -> SplatScene:
        """The scene made anew, of what ``still`` leaves of its photos; a network's depth stays as it is."""
        whole = whole_cells(still, scene.image_size).to(scene.views.images.device)  # may lie on the disk
        views = replace(scene.views, mask=whole)
        known = None
        if scene.depth_kind not in SWEPT:
            known = scene.seed_depth.new_ones(1, views.images.shape[1], *scene.seed_depth.shape[2:])
            known[:, list(scene.seeds)] = scene.seed_depth
        again = self.splat(views, background=scene.background, known=known, seeds=scene.seeds)
        return replace(again, names=scene.names, origin=scene.origin)
