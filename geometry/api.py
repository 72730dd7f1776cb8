"""The Python API: `load` gives a `Model`, and `Model.predict` takes photos to a `Prediction`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geometry.capture import Capture, find_cameras, find_scale, load_views, open_given, place_by_network
from geometry.capture.place import networks_world
from geometry.capture.scale import METRIC_MODEL
from geometry.chunks import place_in_chunks, too_many, working_in
from geometry.console import Stopwatch, announce, say, told
from geometry.device import pick_device, precision
from geometry.errors import InputError
from geometry.models.da3 import MonocularDepth
from geometry.models.zoo import VARIANTS
from geometry.ops.metric import metric_depth
from geometry.options import NetworkOptions, PhotoOptions, override
from geometry.outputs import Prediction
from geometry.predict import Network, predict_geometry
from geometry.prediction import Geometry, scaled
from geometry.sampling.preprocess import PixelMap
from geometry.verdict import judge_prediction
from geometry.views import Cameras
from geometry.weights.checkpoint import Checkpoint, find_checkpoint, load_network


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Model:
    """A geometry network with its weights; what `load` gives."""

    network: Network  # in evaluation mode, on ``device``
    checkpoint: Checkpoint  # where the weights came from; the weights themselves are in the network
    has_head: bool  # the file holds a Gaussian head too; `nvs.load` uses it
    options: NetworkOptions

    def __repr__(self) -> str:
        return f"Model({self.variant!r}, {self.checkpoint.source}, {self.licence}, on {self.device})"

    @property
    def variant(self) -> str:
        """The size: a key of `geometry.models.zoo.VARIANTS`."""
        return self.checkpoint.variant

    @property
    def trained(self) -> bool:
        """False for random weights, whose predictions mean nothing."""
        return self.checkpoint.trained

    @property
    def licence(self) -> str:
        """Of the weights."""
        return self.checkpoint.licence

    @property
    def description(self) -> str:
        """What the model is, in a line."""
        return self.checkpoint.summary

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def knows_cameras(self) -> bool:
        """Whether its cameras are worth more than those of structure from motion on few photos."""
        return self.trained and not VARIANTS[self.variant].weak

    def predict(
        self,
        photos: Any,
        cameras: Cameras | str | Path | bool | None = None,
        options: PhotoOptions | None = None,
        *,
        ray_pose: bool = False,
        rays: bool = True,
        seed: int = 0,
        verbose: bool = False,
        watch: Stopwatch | None = None,
        work: str | Path | None = None,
        **more: Any,
    ) -> Prediction:
        """Depth, confidence, cameras and points of photos of one place.

        Photos come out in the order given; those of a folder in natural order. The network takes at most
        ``max_views`` of them (16 on CPU, 64 on CUDA): `Prediction.names` says which. With ``all_photos=True``
        it takes all of them, in overlapping chunks of so many (`geometry.chunks`); depth and images of the
        result then lie on the disk.

        Args:
            photos: a folder, a video, a list of paths, images in memory (see `open_photos`), or what
                `open_photos` or `open_capture` gave.
            cameras: None takes those found beside the photos, as `geometry infer` does; a `Cameras` record
                holds one for each photo as given, in pixels of the photo; a path names a transforms.json or
                a COLMAP model's folder; False is ``"network"``: its own; ``"sfm"`` is structure from motion.
            options: other choices than the defaults, which keywords override.
            ray_pose: cameras from the ray maps instead of the camera decoder.
            rays: keep the ray maps in `Prediction.geometry`.
            seed: of structure from motion, and of the robust fit of cameras to rays.
            verbose: tell on standard error what is done.
            watch: is told how long each stage took.
            work: with ``all_photos`` a folder in which finished chunks stay, and from which the next call
                takes them; None is a temporary one.
            more: fields of `PhotoOptions`, and ``reference``, ``precision``, ``chunk`` of `NetworkOptions`.

        Raises:
            InputError: photos or cameras that cannot be used; the message names them.
            TypeError: an unknown keyword.
        """
        options, running = override((options or PhotoOptions(), self.options), more)
        if running.device != self.options.device:
            raise TypeError(
                f"device: the model is on {self.device}; it is chosen by geometry.load(device=...)"
            )
        watch = watch or Stopwatch()
        with torch.no_grad(), told(verbose):
            if not isinstance(photos, Capture):
                with watch("photos"):
                    photos, options = open_given(
                        photos, cameras, options, self.device, every_photo=options.all_photos
                    )
            elif cameras is not None:
                raise InputError("cameras: expected none beside an opened capture, which has its own")
            asked = len(photos.context) + len(photos.targets)
            with watch("cameras"):
                trusted = self.knows_cameras or ray_pose
                capture = find_cameras(photos, options.camera_source, trust_network=trusted, seed=seed)
                guessed, problems = not capture.scene.posed, ()
                chunked = too_many(capture, options, self.device)
                if guessed and trusted and not chunked and not isinstance(self.network, MonocularDepth):
                    capture = place_by_network(capture, self.network, options, running, self.device)
            choices: dict[str, Any] = {"ray_pose": ray_pose, "seed": seed}
            if chunked:
                folder = None if work is None else Path(work)
                with watch("network"), working_in(folder) as at:
                    only = replace(capture, targets=[])
                    args = (only, self.network, options, running, self.device, at)
                    placed = place_in_chunks(*args, **choices)
                capture, views, maps = placed.capture, placed.views, placed.maps
                geometry, problems = placed.whole.geometry, placed.whole.problems
            else:
                with watch("photos"):
                    views, maps = load_views(capture, capture.context, options, self.device)
                    views = views.to(self.device)
                with watch("network"), precision(running.precision, self.network):
                    choices |= {"reference": running.reference, "chunk": running.chunk, "rays": rays}
                    geometry = predict_geometry(self.network, views, **choices)
                # Features are large; tensors of an inference mode cannot take part in a gradient.
                geometry = replace(geometry, features=None).map(Tensor.clone)
            geometry, metric = self._in_metres(geometry, capture, maps)
            scale = find_scale(
                capture,
                options,
                replace(views, cameras=geometry.cameras),
                maps,
                geometry.depth,
                model=self.variant if metric else None,
            )
            if scale.factor != 1:
                geometry = scaled(geometry, scale.factor, in_place=True)
            verdict = judge_prediction(
                model=self.variant,
                trained=self.trained,
                weak=VARIANTS[self.variant].weak,
                guessed_cameras=guessed and geometry.cameras is not None,
                asked=asked,
                placed=len(capture.scene) if capture.scene.estimated else asked,
            )
            verdict = replace(verdict, problems=(*verdict.problems, *problems))
        return Prediction(
            geometry=geometry,
            views=replace(views, cameras=geometry.cameras),
            maps=maps,
            names=tuple(capture.names),
            metric=scale.metric,
            verdict=verdict,
            about={
                "model": self.variant,
                "weights": self.checkpoint.source,
                "trained": self.trained,
                "licence": self.licence,
                "poses": capture.scene.source,
                "photos": len(capture.scene),
                **scale.as_json(),
                "world": capture.world,
                "origin": capture.origin,
                **verdict.as_json(),
            },
            sources=tuple(frame.image for frame in capture.scene.frames if isinstance(frame.image, Path)),
        )

    def _in_metres(
        self, geometry: Geometry, capture: Capture, maps: Sequence[PixelMap]
    ) -> tuple[Geometry, bool]:
        """The geometry, in metres if the model can, and whether it is."""
        if self.variant != METRIC_MODEL:
            return geometry, geometry.scale_factor is not None and networks_world(capture)
        frames = [capture.scene.frames[i] for i in capture.context]
        if any(frame.intrinsics is None for frame in frames):
            say(f"{METRIC_MODEL} needs focal lengths for metres (--focal exif): its depth is relative")
            return geometry, False
        K = np.stack([m.network_intrinsics(f.intrinsics) for f, m in zip(frames, maps)])
        intrinsics = torch.from_numpy(K)[None].to(geometry.depth)
        for v in range(len(frames)):
            one = slice(v, v + 1)
            geometry.depth[:, one] = metric_depth(geometry.depth[:, one], intrinsics[:, one])
        return geometry, True


def load(
    name_or_path: str | Path = "tiny",
    options: NetworkOptions | None = None,
    *,
    verbose: bool = False,
    **more: Any,
) -> Model:
    """A geometry model, ready to predict.

    Args:
        name_or_path: ``tiny`` (bundled), ``small``, ``base``, ``large``, ``giant``, ``mono-large``,
            ``metric-large``, ``nested-giant-large`` (released weights, fetched once), a hub id (owner/name),
            a folder, a .safetensors file, or ``untrained:SIZE`` for random weights.
        options: how it runs, which keywords override.
        verbose: tell on standard error what was loaded.
        more: fields of `NetworkOptions`: ``device``, ``precision``, ``reference``, ``chunk``.

    Raises:
        InputError: no such model, weights that cannot be fetched or read, or no such device.
        TypeError: an unknown keyword.
    """
    (options,) = override((options or NetworkOptions(),), more)
    device = pick_device(options.device)
    checkpoint = find_checkpoint(str(name_or_path))
    with told(verbose):
        announce(checkpoint)
    network = load_network(checkpoint).to(device)
    return Model(
        network=network,  # type: ignore[arg-type]
        checkpoint=replace(checkpoint, state={}, gaussian_head={}),
        has_head=bool(checkpoint.gaussian_head),
        options=options,
    )
