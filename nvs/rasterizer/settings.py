"""What every backend needs to know besides Gaussians and cameras, and constants of gsplat 1.5.3."""

from dataclasses import dataclass

ALPHA_MIN = 1.0 / 255.0  # a weaker contribution is skipped
ALPHA_MAX = 0.999  # opacity times falloff is cut off here
TRANSMITTANCE_MIN = 1e-4  # a contribution that would leave this transmittance, or less, ends its pixel
EXTENT_SIGMAS = 3.33  # no Gaussian reaches ALPHA_MIN farther out: sqrt(2 ln 255) = 3.329


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to rasterize; see `nvs.rasterizer.rasterize` for each."""

    image_size: tuple[int, int]  # (H, W)
    near: float
    far: float
    eps2d: float
    antialiased: bool
