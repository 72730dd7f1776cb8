"""This project's pipeline: any weights that `--model` takes, or no network at all."""

from dataclasses import asdict, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from eval.methods.base import About, Splatted, Task
from geometry.console import Stopwatch, announce, say
from geometry.device import precision
from geometry.ops.images import resize_images
from geometry.options import NetworkOptions
from geometry.views import Views
from geometry.weights.checkpoint import find_checkpoint
from geometry.weights.files import fingerprint
from nvs.model.pooling import resize_cameras
from nvs.model.splatter import Splatter, load_splatter, photo_colours
from nvs.options import GaussianOptions
from nvs.pipeline import Pipeline
from nvs.scene import SplatScene


class Model:
    """Context to Gaussians as `nvs render` makes them; ``about``'s identity gets what changes results."""

    def __init__(
        self, splatter: Splatter, about: About, options: GaussianOptions, network: NetworkOptions
    ) -> None:
        self._splatter, self._options, self._network = splatter, options, network
        self.given_poses = "optional" if splatter.network is not None else "needed"
        stated = asdict(self._options)
        stated.pop("backend")
        if not self._options.refines:
            stated["refine"] = 0
        if stated["refine"] is not None:  # then they decide nothing
            del stated["quality"], stated["minutes"]
        running = {"reference": self._network.reference, "precision": self._network.precision}
        self.about = replace(about, identity={**about.identity, **running, **stated})

    def predict(self, task: Task) -> Splatted:
        watch = Stopwatch()
        pipeline = Pipeline(
            splatter=self._splatter, options=self._options, network=self._network, watch=watch
        )
        scene = pipeline.splat(task.context)
        if self._options.refines:
            scene = pipeline.refine(scene, refinement_photos(task, scene))
        notes: dict[str, Any] = {f"{stage}_s": round(seconds, 2) for stage, seconds in watch.seconds.items()}
        notes |= {"depth": scene.depth_kind}
        if scene.trusted is not None:
            notes["trusted"] = round(scene.trusted, 4)
        if scene.refined is not None:
            notes["refinement"] = scene.refined.as_json()
        return Splatted(
            gaussians=scene.gaussians, cameras=scene.cameras, background=scene.background, notes=notes
        )

    @torch.no_grad()
    def depth(self, task: Task) -> Float[Tensor, "1 V h w"]:
        """The network's depth of the context views at its size, in the given cameras' world if given."""
        with precision(self._network.precision, self._splatter):
            splats = self._splatter(
                task.context, reference=self._network.reference, chunk=self._network.chunk
            )
        return splats.geometry.depth.clone()


def refinement_photos(task: Task, scene: SplatScene) -> Views:
    """The context at the scored size, with cameras in the scene's world."""
    if task.context.cameras is not None:
        return task.photos
    h, w = scene.image_size
    factor = max(task.size) / max(h, w)
    size = round(h * factor), round(w * factor)
    return Views(
        images=resize_images(scene.views.images, size),
        cameras=resize_cameras(scene.cameras, scene.image_size, size),
    )


def load_model(model: str, device: torch.device, options: GaussianOptions, network: NetworkOptions) -> Model:
    """The method of a checkpoint, named as for ``nvs render --model``."""
    checkpoint = find_checkpoint(model)
    announce(checkpoint)
    splatter = load_splatter(checkpoint).to(device)
    headless = splatter.head is None
    if headless:
        say(f"{checkpoint.variant!r} has no Gaussian head: every pixel becomes a Gaussian of its own colour")
    about = About(
        name=checkpoint.variant,
        weights=f"{checkpoint.source}{', no Gaussian head' if headless else ''}",
        licence=checkpoint.licence,
        trained=checkpoint.trained,
        identity={"weights_sha256": fingerprint(checkpoint.state | checkpoint.gaussian_head)},
    )
    return Model(splatter, about, options, network)


def optimised(options: GaussianOptions, device: torch.device) -> Model:
    """The pipeline without a network: the photos' colours at swept depth, optimised per scene."""
    name = f"3DGS per scene, plane sweep + {options.refine} steps"
    about = About(name=name, weights="no weights", licence="-")
    return Model(photo_colours().to(device), about, replace(options, depth="sweep"), NetworkOptions())
