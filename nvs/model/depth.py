"""Where Gaussians lie: the depth of the context views, from the network or from elsewhere."""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from geometry.tensors import TensorRecord
from geometry.views import Views
from nvs.model.backbone import Encoding


@runtime_checkable
class DepthSource(Protocol):
    """Depth of context views, and how far to trust it.

    ``from_network`` says in whose world the depth is: True, the network's own and under its cameras; False,
    the given cameras', which the views then must have.
    """

    @property
    def from_network(self) -> bool: ...

    def __call__(
        self, views: Views, encoding: Encoding | None
    ) -> tuple[Float[Tensor, "B V h w"], Float[Tensor, "B V h w"] | None]:
        """z-depth on a grid of the source's choice, and factors 0..1 on opacities; None trusts all alike.

        Args:
            encoding: what the network made of the views; None where it was not asked.
        """
        ...


class NetworkDepth:
    """The depth that the network predicts."""

    from_network = True

    def __call__(
        self, views: Views, encoding: Encoding | None
    ) -> tuple[Float[Tensor, "B V H W"], Float[Tensor, "B V H W"] | None]:
        if encoding is None or encoding.geometry is None:
            raise ValueError("network depth: expected an encoding with geometry, got none")
        return encoding.geometry.depth, None


@dataclass(frozen=True, kw_only=True)
class KnownDepth(TensorRecord):
    """Depth that a network predicted earlier, in the world of the views' cameras."""

    from_network: ClassVar[bool] = False

    depth: Float[Tensor, "B V H W"]

    def __call__(
        self, views: Views, encoding: Encoding | None
    ) -> tuple[Float[Tensor, "B V H W"], Float[Tensor, "B V H W"] | None]:
        return self.depth, None
