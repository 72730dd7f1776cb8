"""Weights and images that a rule makes from names and seeds, so that no checkpoint is needed."""

import zlib

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from geometry.accelerate import accelerate
from geometry.models.zoo import VARIANTS, any_view_variant, build
from geometry.weights.released_names import released_name
from nvs.model.gs_dpt import GaussianDpt
from nvs.model.splatter import released_gaussian_head


def rule_tensor(key: str, shape: tuple[int, ...]) -> Float[Tensor, "*shape"]:
    """The value that the golden rule gives the released parameter ``key``."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    z = rng.standard_normal(shape, dtype=np.float32)
    if key.endswith(("cls_token", "camera_token", "pos_embed")):
        z *= np.float32(0.2)
    elif len(shape) >= 2:
        gains = {"cam_dec.fc_fov.0.weight": 0.2, "gs_head.scratch.output_conv2.2.weight": 0.3}
        z *= np.float32(gains.get(key, 1.0) / np.sqrt(np.prod(shape[1:])))
    elif key.endswith(("weight", "gamma")):
        z = np.float32(1) + np.float32(0.1) * z
    elif key == "cam_dec.fc_fov.0.bias":
        z = np.float32(1) + np.float32(0.02) * z
    else:
        z *= np.float32(0.02)
    return torch.from_numpy(z)


def fill(module: nn.Module, kind: str, prefix: str = "") -> None:
    """Replace every parameter of ``module`` by its rule value; they may be meta tensors.

    Args:
        kind: as in `geometry.weights.released_names`.
        prefix: what our names need in front to be whole, e.g. ``gaussian_head.``.
    """
    state = {}
    for name, value in module.state_dict().items():
        key = released_name(prefix + name, kind)
        for part in ("da3.", "da3_metric."):
            key = key.removeprefix(part)
        state[name] = rule_tensor(key, tuple(value.shape))
    module.load_state_dict(state, strict=True, assign=True)
    module.requires_grad_(False)


def filled_network(variant: str) -> nn.Module:
    """A released network with rule weights, in evaluation mode and in its fast form, as commands run it."""
    with torch.device("meta"):
        network = build(variant, released=True)
    fill(network, VARIANTS[variant].kind)
    return accelerate(network.eval())


def filled_gaussian_head(variant: str) -> GaussianDpt:
    """The Gaussian head that belongs to an any-view or nested variant, with rule weights."""
    with torch.device("meta"):
        head = released_gaussian_head(any_view_variant(variant))
    fill(head, "any-view", "gaussian_head.")
    return head.eval()


def rule_image(seed: int, n: int, h: int, w: int) -> Float[Tensor, "1 n 3 h w"]:
    """The "normalised image" of the golden files: coarse blocks, fine noise and a bias per channel."""
    rng = np.random.Generator(np.random.PCG64(seed))
    low = rng.standard_normal((1, n, 3, h // 14, w // 14), dtype=np.float32)
    high = rng.standard_normal((1, n, 3, h, w), dtype=np.float32)
    bias = rng.standard_normal((1, n, 3, 1, 1), dtype=np.float32)
    image = low.repeat(14, axis=-2).repeat(14, axis=-1) + np.float32(0.25) * high + bias
    return torch.from_numpy(image)
