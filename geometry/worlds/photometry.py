"""From linear light to a photograph: exposure, white balance, tone curve, blur, noise, quantisation."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def develop(
    radiance: Float[Tensor, "*views 3 H W"],
    exposure: Float[Tensor, "..."] | float = 1.0,
    balance: Float[Tensor, "*gains"] | float = 1.0,
    contrast: Float[Tensor, "..."] | float = 0.0,
) -> Float[Tensor, "*views 3 H W"]:
    """sRGB in 0..1 of linear light; highlights roll off instead of clipping at once.

    Args:
        exposure: factor on the light, broadcast against the views.
        balance: gains of the three channels, broadcast likewise.
        contrast: 0 leaves the standard curve, 1 is a strong S-curve.
    """
    light = (radiance * exposure * balance).clamp(min=0)
    # Identity up to a knee, then an exponential shoulder that meets it smoothly and ends at one.
    knee = 0.6
    shoulder = 1 - (1 - knee) * torch.exp(-(light - knee).clamp(min=0) / (1 - knee))
    light = torch.where(light < knee, light, shoulder)
    low = 12.92 * light
    high = 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    picture = torch.where(light <= 0.0031308, low, high)
    curved = picture * picture * (3 - 2 * picture)
    return (picture + contrast * (curved - picture)).clamp(0, 1)


def meter(radiance: Float[Tensor, "*views 3 H W"]) -> float:
    """Exposure that a camera's meter sets for a clip: between the mean tone and the highlights."""
    light = radiance.mean(-3).flatten()
    middle = light.clamp(1e-4, 10).log().mean().exp()
    # A sorted thinning instead of a quantile: that refuses more than sixteen million values.
    high = light[:: max(len(light) // 10_000, 1)].quantile(0.95).clamp(min=1e-3)
    return float(((0.17 / middle) ** 0.55 * (0.8 / high) ** 0.45).clamp(0.03, 100))


def photograph(
    radiance: Float[Tensor, "V 3 H W"],
    generator: torch.Generator,
    *,
    strength: float = 1.0,
) -> Float[Tensor, "V 3 H W"]:
    """Photos of one camera: settings drawn once per clip, with mild drift from view to view.

    The clip is metered as a whole; exposure, white balance, contrast, vignetting and noise level deviate
    from that by one draw for the clip. Exposure and balance drift by a few per cent per view, as automatic
    cameras do. Lens blur and 8-bit rounding end the chain.

    Args:
        strength: 0 gives clean pictures, 1 the full range.

    Returns:
        sRGB in 0..1, on the device of ``radiance``; random numbers are drawn on the generator's device.
    """
    V, _, H, W = radiance.shape

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(radiance)

    def uniform() -> float:
        return torch.rand((), generator=generator).item()

    stops = (0.35 * normal(1)).clamp(-0.8, 0.8) + 0.07 * normal(V, 1, 1, 1)
    gains = 0.08 * normal(1, 3, 1, 1) + 0.012 * normal(V, 3, 1, 1)
    gains = gains - gains.mean(1, keepdim=True)
    y = (torch.arange(H).to(radiance) + 0.5) / H - 0.5
    x = (torch.arange(W).to(radiance) + 0.5) / W - 0.5
    corner = 4 * (y[:, None] ** 2 + x[None] ** 2) / 2
    vignette = 1 - strength * 0.35 * max(uniform() - 0.4, 0.0) * corner
    picture = develop(
        radiance * vignette,
        meter(radiance) * torch.exp2(strength * stops),
        torch.exp(strength * gains),
        strength * (0.7 * uniform() - 0.1),
    )
    blur = strength * max(1.1 * uniform() - 0.4, 0.0)
    if blur > 0.05:
        picture = _blur(picture, blur)
    level = strength * 0.02 * uniform() ** 2
    fine, coarse = normal(V, 3, H, W), normal(V, 1, H, W)
    # Sensor noise shows most in the shadows of the developed picture.
    picture = picture + level * (0.6 * fine + 0.8 * coarse) * (1.3 - picture)
    return (picture.clamp(0, 1) * 255).round() / 255


def _blur(picture: Float[Tensor, "V 3 H W"], sigma: float) -> Float[Tensor, "V 3 H W"]:
    """Gaussian blur of a fraction of a pixel, as of a lens and a demosaicking."""
    offsets = torch.arange(-2, 3).to(picture)
    taps = torch.exp(-0.5 * (offsets / sigma) ** 2)
    taps = (taps / taps.sum()).expand(3, 1, 5)
    picture = F.conv2d(F.pad(picture, (2, 2, 0, 0), mode="replicate"), taps[:, :, None], groups=3)
    return F.conv2d(F.pad(picture, (0, 0, 2, 2), mode="replicate"), taps[..., None], groups=3)
