"""The Gaussians that flow from the head to rasterizers, files and viewers."""

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from geometry.tensors import TensorRecord

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

    @property
    def sh_degree(self) -> int:
        return round(self.sh.shape[-2] ** 0.5) - 1

    def save(self, path: Path | str) -> int:
        """Write one scene as .ply, .splat or .spz; returns how many were written (`nvs.gaussians.files`)."""
        from nvs.gaussians import files  # the formats build on this record

        return files.write(path, self)

    @staticmethod
    def load(path: Path | str) -> "Gaussians":
        """Read one scene from .ply, .splat or .spz, float32 on the CPU."""
        from nvs.gaussians import files

        return files.read(path)


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
