"""Two DPT heads that share nothing: the ablation of Dual-DPT."""

from collections.abc import Sequence

from torch import Tensor

from geometry.models.dpt import Reassemble
from geometry.models.dual_dpt import DualDpt


class SeparateDpt(DualDpt):
    """`DualDpt` whose ray branch has a reassembly of its own; fusion and output are separate anyway.

    Source: DA3 (arXiv:2511.10647), ablation of the Dual-DPT head.
    """

    def __init__(self, in_width: int, channels: Sequence[int], features: int) -> None:
        super().__init__(in_width, channels, features)
        self.ray_reassemble = Reassemble(in_width, channels, features, pre_norm=True, uv=True)

    def _ray_maps(
        self, maps: list[Tensor], patches: list[Tensor], grid: tuple[int, int], aspect: float
    ) -> list[Tensor]:
        return self.ray_reassemble(patches, grid, aspect)
