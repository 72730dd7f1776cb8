"""Where Gaussians lie: the depth of the context views, from the network or from elsewhere."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

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
