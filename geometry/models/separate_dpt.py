"""Two DPT heads that share nothing: the ablation of Dual-DPT."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from geometry.models.dpt import Reassemble, map_bytes, over_views
from geometry.models.dual_dpt import DualDpt
from geometry.prediction import Features


class SeparateDpt(DualDpt):
    """`DualDpt` whose ray branch has a reassembly of its own; fusion and output are separate anyway.

    Source: DA3 (arXiv:2511.10647), ablation of the Dual-DPT head.
    """

    def __init__(self, in_width: int, channels: Sequence[int], features: int) -> None:
        super().__init__(in_width, channels, features)
        self.ray_reassemble = Reassemble(in_width, channels, features, pre_norm=True, uv=True)

    def forward(
        self, features: Features, chunk: int = 8, *, rays: bool = True
    ) -> tuple[
        Float[Tensor, "B V H W"],
        Float[Tensor, "B V H W"],
        Float[Tensor, "B V h w 6"] | None,
        Float[Tensor, "B V h w"] | None,
    ]:
        """As `DualDpt.forward`."""
        B, V = features.patches[0].shape[:2]
        H, W = features.image_size

        def run(patches: list[Tensor]) -> tuple[Tensor, ...]:
            depth = self._depth(self.reassemble(patches, features.grid, W / H), (H, W))
            if not rays:
                return depth
            return depth + self._rays(self.ray_reassemble(patches, features.grid, W / H), W / H)

        patches = [p.flatten(0, 1).float() for p in features.patches]
        outputs = over_views(run, chunk, map_bytes(self.features, features.grid), patches)
        outputs = tuple(o.unflatten(0, (B, V)) for o in outputs)
        return outputs if rays else (*outputs, None, None)
