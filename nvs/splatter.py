"""Photos to Gaussians in one pass: geometry network, Gaussian head, adapter."""

from geometry.models.zoo import VARIANTS
from nvs.adapter import ReleasedAdapter
from nvs.gs_dpt import GaussianDpt


def released_gaussian_head(variant: str) -> GaussianDpt:
    """The released kind of head at any size, fresh weights; only Giant's were published."""
    v = VARIANTS[variant]
    return GaussianDpt(v.feature_width, v.channels, v.features, raw_channels=ReleasedAdapter.raw_channels)
