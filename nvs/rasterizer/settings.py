"""What every backend needs to know besides Gaussians and cameras, and gsplat's constants."""

from dataclasses import dataclass

ALPHA_MIN = 1.0 / 255.0  # a weaker contribution is skipped
TRANSMITTANCE_MIN = 1e-4  # a contribution that would leave this transmittance, or less, ends its pixel
EXTENT_SIGMAS = 3.33  # no Gaussian reaches ALPHA_MIN farther out: sqrt(2 ln 255) = 3.329


@dataclass(frozen=True)
class Constants:
    """The two numbers in which gsplat's versions differ."""

    alpha_max: float  # opacity times falloff is cut off here
    compensation_min: float  # floor of the antialiasing factor


CONSTANTS = {
    "gsplat-1.5.3": Constants(alpha_max=0.999, compensation_min=0.0),
    "gsplat-1.6": Constants(alpha_max=0.99, compensation_min=0.005),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to rasterize; see `nvs.rasterizer.rasterize` for each."""

    image_size: tuple[int, int]  # (H, W)
    near: float
    far: float
    eps2d: float
    antialiased: bool
    constants: Constants
