"""The Gaussians that flow from the head to rasterizers, files and viewers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from geometry.tensors import TensorRecord
from geometry.views import Cameras

SH_C0 = 0.28209479177387814  # the constant basis function, 1 / (2 sqrt(pi))


@dataclass(frozen=True, kw_only=True)
class Gaussians(TensorRecord):
    """3D Gaussians in the world frame, activated: ready to rasterize.

    Words and layouts are gsplat's. Colour is ``0.5 + sum_k sh_k * basis_k(direction)``, clamped at 0,
    with the 3DGS real basis; K is (degree + 1) squared.
    """

    means: Float[Tensor, "B N 3"]
    quats: Float[Tensor, "B N 4"]  # wxyz, any norm
    scales: Float[Tensor, "B N 3"]  # standard deviations, scene units
    opacities: Float[Tensor, "B N"]  # 0..1
    sh: Float[Tensor, "B N K 3"]
    antialiased: ClassVar[bool] = False  # made to be drawn with `rasterize(antialiased=True)`; files note it

    @property
    def sh_degree(self) -> int:
        return round(self.sh.shape[-2] ** 0.5) - 1

    def marked(self, antialiased: bool) -> "Gaussians":
        """The same, as made to be drawn with or without antialiasing."""
        return (AntialiasedGaussians if antialiased else Gaussians)(**vars(self))

    def save(self, path: Path | str, **options: Any) -> int:
        """Write one scene in the format that the name's ending says; returns how many Gaussians were written.

        Args:
            path: ends in .ply, .compressed.ply, .splat, .spz, .sog, .glb or .html (`nvs.gaussians.files`).
            options: ``version=4`` for .spz; ``world="y_up"`` for .spz, .glb and .html where y is up.
        """
        from nvs.gaussians import files  # the formats build on this record

        return files.write(path, self, **options)

    @staticmethod
    def load(path: Path | str, **options: Any) -> "Gaussians":
        """Read one scene of any of these formats, float32 on the CPU, without what cannot be drawn."""
        from nvs.gaussians import files

        return files.read(path, **options)

    def render(
        self,
        cameras: Cameras,
        size: tuple[int, int],
        *,
        background: Float[Tensor, "*#BV 3"] | None = None,
        backend: str = "auto",
    ) -> "Rendering":
        """Colour, z-depth and alpha at cameras [B, V, ...], as the Gaussians were made to be drawn.

        Args:
            size: (H, W) to which the intrinsics refer.
            background: as of `nvs.rasterize`, which has more options.
        """
        from nvs.rasterizer import rasterize  # it builds on this record

        return rasterize(
            self, cameras, size, background=background, backend=backend, antialiased=self.antialiased
        )


@dataclass(frozen=True, kw_only=True)
class AntialiasedGaussians(Gaussians):
    """Gaussians that were trained with antialiased rendering, as in Mip-Splatting."""

    antialiased: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class Rendering(TensorRecord):
    """Images of Gaussians seen by cameras."""

    rgb: Float[Tensor, "B V 3 H W"]
    depth: Float[Tensor, "B V H W"]  # z-depth; expected or accumulated, as asked for
    alpha: Float[Tensor, "B V H W"]


def rgb_to_sh(rgb: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape 3"]:
    """Degree-0 coefficient that renders as this colour."""
    return (rgb - 0.5) / SH_C0


def sh_to_rgb(sh: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape 3"]:
    """Colour of a degree-0 coefficient, not clamped."""
    return sh * SH_C0 + 0.5
