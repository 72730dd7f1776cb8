"""What a method is given for a scene, and the two kinds of result that it can return."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from geometry.views import Cameras, Views
from nvs.gaussians import Gaussians


@dataclass(frozen=True, kw_only=True)
class Task:
    """One scene as a method sees it; tensors are on the run's device, batch size one."""

    scene: str
    context: Views  # at the network's size; cameras only where the context is posed
    photos: Views  # the same photos at the size of the targets, always with their given cameras
    targets: Cameras  # given cameras of the targets, for images of ``size``
    renders: tuple[str, ...]  # file names of the targets' renderings, as the split has them
    size: tuple[int, int]  # (H, W) of targets


@dataclass(frozen=True, kw_only=True)
class Splatted:
    """Gaussians, which the benchmark renders at the targets."""

    gaussians: Gaussians
    cameras: Cameras | None = None  # the context's, in the Gaussians' world; None: the given world
    background: Float[Tensor, " 3"] | None = None  # colour where no Gaussian is; None: black
    notes: dict[str, object] = field(default_factory=dict)  # what is worth keeping, ready for JSON


@dataclass(frozen=True, kw_only=True)
class Pictured:
    """Images at the targets, requested one by one: (rgb [3, H, W] in 0..1, z-depth [H, W] or None)."""

    render: Callable[[int], tuple[Float[Tensor, "3 H W"], Float[Tensor, "H W"] | None]]
    notes: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class About:
    """A method in a table. ``identity`` is all that changes results; a run resumes only with the same."""

    name: str
    weights: str  # file or description
    licence: str
    trained: bool = True
    identity: dict[str, object] = field(default_factory=dict)


@runtime_checkable
class Method(Protocol):
    """Anything that produces a scene's novel views.

    ``given_poses`` says whether it needs the context's cameras, or cannot do without: ``needed``,
    ``optional`` (used where they are given) or ``unused`` (places no camera: pose modes make no difference).
    """

    about: About
    given_poses: str

    def predict(self, task: Task) -> Splatted | Pictured: ...
