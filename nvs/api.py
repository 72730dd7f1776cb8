"""The Python API: `load`, `Model.predict` from photos to a `SplatScene`, `render` from photos to a folder."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from geometry.capture import find_cameras, open_given
from geometry.console import announce, say, told
from geometry.device import pick_device
from geometry.options import NetworkOptions, PhotoOptions, override
from geometry.views import Cameras
from geometry.weights.checkpoint import Checkpoint, find_checkpoint
from nvs.cameras.fit import default_size, window_size
from nvs.model.splatter import Splatter, load_splatter
from nvs.options import GaussianOptions, ViewOptions
from nvs.pipeline import Pipeline
from nvs.rendering import (
    Rendered,
    RenderOptions,
    in_metres,
    placed_views,
    prepare,
    refinement_photos,
    render_photos,
)
from nvs.scene import SplatScene


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A splatter with its weights; what `load` gives."""

    splatter: Splatter  # in evaluation mode, on its device
    checkpoint: Checkpoint  # where the weights came from, without the tensors
    options: NetworkOptions

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
        """What the model is, in a line or two."""
        return "; ".join(
            t for t in (self.checkpoint.summary, self.checkpoint.metadata.get("description")) if t
        )

    @property
    def has_head(self) -> bool:
        """Whether the weights hold a Gaussian head; without one a Gaussian has its pixel's colour."""
        return self.splatter.head is not None

    @property
    def device(self) -> torch.device:
        return next(self.splatter.parameters()).device

    def predict(
        self,
        photos: Any,
        cameras: Cameras | str | Path | bool | None = None,
        *,
        verbose: bool = False,
        **more: Any,
    ) -> SplatScene:
        """Gaussians of photos of one place, posed where cameras are found, else in the network's world.

        Args:
            photos: a folder, a video, a list of paths, or images in memory (see `geometry.open_photos`).
            cameras: None takes those found beside the photos; a `Cameras` record, a transforms.json, a COLMAP
                folder; False is the network's own; ``"sfm"`` is structure from motion.
            verbose: tell on standard error what is done.
            more: fields of `PhotoOptions` (``all_photos=True`` lets the network place any number, in chunks)
                and `GaussianOptions` (``quality="draft"`` is one pass, ``refine=150`` so many steps), and
                ``reference``, ``precision`` and ``chunk`` of `NetworkOptions`.

        Raises:
            InputError: photos or cameras that cannot be used; the message names them.
            TypeError: an unknown keyword.
        """
        taken, gaussians, network = override((PhotoOptions(), GaussianOptions(), self.options), more)
        with torch.no_grad(), told(verbose):
            capture, taken = open_given(photos, cameras, taken, self.device, every_photo=True)
            capture = find_cameras(
                capture, taken.camera_source, trust_network=self.splatter.knows_depth, seed=gaussians.seed
            )
            pipeline = Pipeline(
                splatter=self.splatter,
                options=gaussians,
                network=network,
                at_a_time=taken.max_views,
                report=say,
                in_chunks=capture.store is not None,
            )
            prepared = prepare(capture, pipeline, taken, self.device)
            capture, views, maps = prepared.capture, prepared.views, prepared.maps
            scene = pipeline.splat(views, known=prepared.depth)
            scene = replace(scene, names=tuple(capture.names), origin=tuple(capture.origin))
            if gaussians.refines:
                size = default_size(window_size(maps))
                photos = refinement_photos(capture, maps, views, scene.cameras, size)
                scene = pipeline.refine(scene, photos, move=placed_views(capture))
            return in_metres(capture, taken, self.splatter, scene, maps)


def load(name_or_path: str | Path = "tiny", *, verbose: bool = False, **more: Any) -> Model:
    """A model that makes Gaussians of photos.

    Args:
        name_or_path: as for `geometry.load`; monocular models place no cameras and cannot serve.
        verbose: tell on standard error what was loaded.
        more: fields of `NetworkOptions`: ``device``, ``precision``, ``reference``, ``chunk``.

    Raises:
        InputError: no such model, weights that cannot be fetched or read, or no such device.
        TypeError: an unknown keyword.
    """
    (options,) = override((NetworkOptions(),), more)
    checkpoint = find_checkpoint(str(name_or_path))
    with told(verbose):
        announce(checkpoint)
    return Model(
        splatter=load_splatter(checkpoint).to(pick_device(options.device)),
        checkpoint=replace(checkpoint, state={}, gaussian_head={}),
        options=options,
    )


def render(
    photos: str | Path | list[str | Path],
    out: str | Path,
    *,
    model: str | Path = "tiny",
    verbose: bool = False,
    **more: Any,
) -> Rendered:
    """What the command `nvs render` does: Gaussians, a video and frames of novel views, depth and cameras.

    Args:
        photos: a folder, a video, or paths of photos.
        out: the folder to write.
        model: weights, as for `load`.
        verbose: tell on standard error what is done.
        more: fields of `PhotoOptions`, `GaussianOptions`, `ViewOptions` and `NetworkOptions`.

    Returns:
        The scene, and with ``holdout=N`` the metrics of the held-out photos.

    Raises:
        InputError: photos, weights or options that cannot be used, or an output folder of others.
        TypeError: an unknown keyword.
    """
    records = (PhotoOptions(), GaussianOptions(), ViewOptions(), NetworkOptions())
    taken, gaussians, views, network = override(records, more)
    options = RenderOptions(model=str(model), photos=taken, gaussians=gaussians, views=views, network=network)
    with told(verbose):
        return render_photos(photos, out, options)
