"""This project's network, or any weights that `--model` takes elsewhere."""

import torch
from jaxtyping import Float
from torch import Tensor

from eval.methods.base import About, Splatted, Task
from geometry.console import announce, say
from geometry.device import precision
from geometry.weights.checkpoints import find_checkpoint, fingerprint
from nvs.model.prune import prune
from nvs.model.splatter import Splats, load_splatter


class Model:
    """Context to Gaussians in one pass of a checkpoint.

    Args:
        model: as ``nvs render --model``.
        reference: how the reference view of unposed photos is chosen.
        chunk: views that the dense heads take at a time.
        pruned: leave out what `nvs render` leaves out.
    """

    given_poses = "optional"

    def __init__(
        self,
        model: str,
        *,
        device: torch.device,
        reference: str = "saddle_balanced",
        chunk: int = 8,
        precision: str = "auto",
        pruned: bool = True,
    ) -> None:
        checkpoint = find_checkpoint(model)
        announce(checkpoint)
        splatter, has_head = load_splatter(checkpoint)
        if not has_head:
            say(f"{checkpoint.variant!r} has no Gaussian head: one Gaussian per pixel at its predicted depth")
        self._splatter = splatter.to(device)
        self._reference, self._chunk = reference, chunk
        self._precision, self._pruned = precision, pruned
        head = "" if has_head else ", no Gaussian head"
        self.about = About(
            name=checkpoint.variant,
            weights=f"{checkpoint.source}{head}",
            licence=checkpoint.licence,
            trained=checkpoint.trained,
            identity={
                "weights_sha256": fingerprint(checkpoint.state | checkpoint.gaussian_head),
                "reference": reference,
                "precision": precision,
                "prune": pruned,
            },
        )

    def splats(self, task: Task) -> Splats:
        """Gaussians and geometry, nothing left out."""
        with torch.no_grad(), precision(self._precision, self._splatter):
            splats = self._splatter(task.context, reference=self._reference, chunk=self._chunk)
        # Made under inference mode; optimising a pose against them needs ordinary tensors.
        return splats.map(torch.clone)

    def depth(self, task: Task) -> Float[Tensor, "1 V h w"]:
        """Depth of the context views at the network's size, in the given cameras' world if they are given."""
        return self.splats(task).geometry.depth

    def predict(self, task: Task) -> Splatted:
        splats = self.splats(task)
        gaussians = prune(splats) if self._pruned else splats.gaussians
        return Splatted(gaussians=gaussians, cameras=splats.geometry.cameras)
