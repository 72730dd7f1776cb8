"""The Gaussians that flow from the head to rasterizers, files and viewers."""

from nvs.gaussians.record import SH_C0, Gaussians, Rendering, rgb_to_sh, sh_to_rgb

__all__ = ["SH_C0", "Gaussians", "Rendering", "rgb_to_sh", "sh_to_rgb"]
