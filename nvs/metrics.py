"""Scores of a rendered view against the photo: PSNR, SSIM, LPIPS.

Images are [N, 3, H, W], sRGB in 0..1; every function returns one number per image. Settings are those of
the benchmark: SSIM with an 11 x 11 Gaussian window of sigma 1.5 and data range 1; LPIPS v0.1.
"""

import hashlib
import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from geometry.errors import InputError
from nvs.options import METRICS

Images = Float[Tensor, "N 3 H W"]
Masks = Bool[Tensor, "N H W"]
PerImage = Float[Tensor, " N"]

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5

# Trunks of LPIPS: torchvision's ImageNet weights. The name ends with the start of the file's SHA-256.
_TRUNKS = {"vgg": "vgg16-397923af.pth", "alex": "alexnet-owt-7be5be79.pth"}
_TRUNK_URL = "https://download.pytorch.org/models/"


class MissingWeights(InputError):
    """A metric needs a file that is not on this machine; the message says which and where to put it."""


def psnr(pred: Images, target: Images, mask: Masks | None = None) -> PerImage:
    """Peak signal-to-noise ratio, dB, for data range 1; infinite where the images are equal.

    Args:
        mask: False where pixels do not count.
    """
    return -10 * _kept_mean((pred - target).square(), mask).log10()


def unmasked(pred: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """The prediction [..., 3, H, W], with the target's pixels where the mask [..., H, W] hides them."""
    return pred if mask is None else torch.where(mask[..., None, :, :], pred, target)


def colour_aligned(pred: Images, target: Images, mask: Masks | None = None) -> Images:
    """The predictions after the affine map of colours that brings each nearest to its target, in squares.

    Held-out photos have an exposure and white balance of their own, which no other photo tells. Scores after
    this are of another kind: they compare with none of those before it.
    """
    aligned = []
    for v, (p, t) in enumerate(zip(pred.double().flatten(2).mT, target.double().flatten(2).mT)):
        colours = torch.cat((p, torch.ones_like(p[:, :1])), dim=-1)
        kept = slice(None) if mask is None else mask[v].flatten()
        # Normal equations with a little ridge towards the identity: a picture of one colour has no map.
        x, y = colours[kept], t[kept]
        ridge = 1e-6 * len(x) * torch.eye(4).to(x)
        matrix = torch.linalg.solve(x.mT @ x + ridge, x.mT @ y + ridge[:, :3])
        aligned.append((colours @ matrix).mT.reshape(pred.shape[1:]))
    return torch.stack(aligned).to(pred)


def _kept_mean(values: Float[Tensor, "N 3 h w"], mask: Bool[Tensor, "N h w"] | None) -> PerImage:
    if mask is None:
        return values.flatten(1).mean(dim=1)
    kept = mask[:, None].expand_as(values)
    return (values * kept).flatten(1).sum(dim=1) / kept.flatten(1).sum(dim=1)


def ssim(pred: Images, target: Images, mask: Masks | None = None) -> PerImage:
    """Structural similarity, mean over channels and all positions where the window fits.

    Args:
        mask: False where pixels do not count; windows around the others see the target there.

    Raises:
        InputError: the image is smaller than the window.

    Source: Wang et al. 2004; equals scikit-image with ``gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False``.
    """
    H, W = pred.shape[-2:]
    if min(H, W) < SSIM_WINDOW:
        raise InputError(
            f"SSIM: expected images of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, got {H} x {W}"
        )
    # Double: the variances are small differences of large means.
    x, y = unmasked(pred, target, mask).double(), target.double()
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = _windowed(torch.stack((x, y, x * x, y * y, x * y)))
    variances = mean_xx - mean_x**2 + mean_yy - mean_y**2
    covariance = mean_xy - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variances + c2)
    )
    edge = SSIM_WINDOW // 2
    inner = None if mask is None else mask[:, edge : H - edge, edge : W - edge]
    return _kept_mean(similarity, inner).to(pred.dtype)


def ssim_kernel(dtype: torch.dtype) -> Float[Tensor, " K"]:
    """Weights of SSIM's window along one axis; they sum to 1."""
    at = torch.arange(SSIM_WINDOW, dtype=dtype) - SSIM_WINDOW // 2
    kernel = (-(at**2) / (2 * SSIM_SIGMA**2)).exp()
    return kernel / kernel.sum()


def _windowed(maps: Float[Tensor, "M N 3 H W"]) -> Float[Tensor, "M N 3 h w"]:
    """Gaussian-weighted means in all windows that fit, rows first and then columns."""
    kernel = ssim_kernel(maps.dtype).to(maps.device)
    flat = maps.flatten(0, 2)[:, None]
    flat = torch.nn.functional.conv2d(flat, kernel.view(1, 1, -1, 1))
    flat = torch.nn.functional.conv2d(flat, kernel.view(1, 1, 1, -1))
    return flat[:, 0].unflatten(0, maps.shape[:3])


def lpips(pred: Images, target: Images, model: nn.Module) -> PerImage:
    """Learned perceptual distance, differentiable in both images.

    Args:
        model: of `load_lpips`, on the images' device.
    """
    return model(pred, target, normalize=True).flatten()  # normalize: from 0..1 to the -1..1 it expects


def load_lpips(net: str = "vgg", trunk: dict[str, Tensor] | None = None) -> nn.Module:
    """LPIPS v0.1 with the weights of its authors on a torchvision trunk; frozen, in evaluation mode.

    Nothing is downloaded: the trunk is looked for where torchvision caches it, and its hash is checked, for
    a metric with other weights is another metric.

    Args:
        net: ``vgg`` or ``alex``.
        trunk: the trunk's torchvision state dict, instead of the cached file.

    Raises:
        MissingWeights: the trunk's file is absent or damaged.

    Source: Zhang et al. 2018.
    """
    import lpips as package

    if net not in _TRUNKS:
        raise InputError(f"LPIPS: expected a net of {', '.join(_TRUNKS)}, got {net!r}")
    trunk = _read_trunk(net) if trunk is None else trunk
    # On meta no random numbers are drawn for weights that are replaced at once. The package calls torchvision
    # in a way that it warns of.
    with torch.device("meta"), warnings.catch_warnings(action="ignore"):
        model = package.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
    model.scaling_layer = package.ScalingLayer()  # constants, which meta would lose

    linear = Path(package.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    state = {f"scaling_layer.{k}": v for k, v in model.scaling_layer.state_dict().items()}
    for key, value in torch.load(linear, map_location="cpu", weights_only=True).items():
        state[key] = value
        state[key.replace("lin", "lins.", 1)] = value  # the package registers each layer twice
    for key in model.net.state_dict():
        state[f"net.{key}"] = trunk["features." + key.split(".", 1)[1]]  # sliceK.INDEX.weight
    model.load_state_dict(state, assign=True)
    return model.eval().requires_grad_(False)


def _read_trunk(net: str) -> dict[str, Tensor]:
    name = _TRUNKS[net]
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        raise MissingWeights(f"LPIPS ({net}): {path} is missing; fetch {_TRUNK_URL}{name} and put it there")
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    wanted = path.stem.rsplit("-", 1)[1]
    if not digest.startswith(wanted):
        raise MissingWeights(
            f"LPIPS ({net}): {path} is damaged (SHA-256 should start with {wanted}, is {digest[:8]}); "
            f"fetch {_TRUNK_URL}{name} again"
        )
    return torch.load(path, map_location="cpu", weights_only=True)


@dataclass
class Scores:
    """Values of every image, added view by view so that memory does not grow with their number."""

    metrics: tuple[str, ...] = METRICS
    per_image: dict[str, list[float]] = field(init=False)
    reasons: dict[str, str] = field(default_factory=dict)  # why a metric has no value

    def __post_init__(self) -> None:
        unknown = [m for m in self.metrics if m not in METRICS]
        if unknown:
            raise InputError(f"metrics: expected some of {', '.join(METRICS)}, got {', '.join(unknown)}")
        self.per_image = {metric: [] for metric in self.metrics}

    @torch.no_grad()
    def add(self, pred: Images, target: Images, mask: Masks | None = None) -> None:
        """Score images against photos, clamped to 0..1 as they would be stored.

        A metric that cannot be computed is left out from here on, with its reason.

        Args:
            mask: False where pixels do not count. LPIPS, which looks at large parts, sees the photo there.
        """
        if pred.shape != target.shape:
            raise ValueError(
                f"expected two stacks of one shape, got {list(pred.shape)}, {list(target.shape)}"
            )
        for metric in self.metrics:
            try:
                kept = [None] * len(pred) if mask is None else mask.split(1)
                for p, t, m in zip(pred.clamp(0, 1).split(1), target.clamp(0, 1).split(1), kept):
                    if metric not in self.reasons:
                        self.per_image[metric].append(_measure(metric, p, t, m))
            except InputError as error:
                self.reasons[metric] = str(error)

    def as_json(self) -> dict[str, Any]:
        """For metrics.json: the means over images, their number, and the reason of every null."""
        means, reasons = dict.fromkeys(self.metrics), dict(self.reasons)
        for metric, values in self.per_image.items():
            mean = sum(values) / max(len(values), 1)
            if metric in reasons:
                continue
            if values and mean < float("inf"):
                means[metric] = mean
            else:
                reasons[metric] = "infinite: an image equals its photo" if values else "no images"
        return {**means, "images": max(map(len, self.per_image.values()), default=0), "reasons": reasons}


def _measure(
    metric: str,
    pred: Float[Tensor, "1 3 H W"],
    target: Float[Tensor, "1 3 H W"],
    mask: Bool[Tensor, "1 H W"] | None,
) -> float:
    if metric == "psnr":
        return float(psnr(pred, target, mask))
    if metric == "ssim":
        return float(ssim(pred, target, mask))
    net = metric.removeprefix("lpips_")
    if min(pred.shape[-2:]) < 32:  # the trunk halves the image four or five times
        raise InputError(
            f"LPIPS ({net}): expected images of at least 32 x 32 pixels, got {tuple(pred.shape[-2:])}"
        )
    return float(lpips(unmasked(pred, target, mask), target, _cached_lpips(net, pred.device)))


@lru_cache
@torch.inference_mode(False)  # kept for later callers, who may need gradients
def _cached_lpips(net: str, device: torch.device) -> nn.Module:
    return load_lpips(net).to(device)
