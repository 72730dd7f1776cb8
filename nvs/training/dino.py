"""Plain DINOv2 under the Gaussian head, with cameras given: the smallest backbone that is not ours.

It shows what the protocol `nvs.model.backbone.Backbone` requires, and is the control of the paper's
comparison of backbones: features of one view at a time, never trained on geometry.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor, nn

from geometry.errors import InputError
from geometry.models.da3 import normalise_images
from geometry.models.dual_dpt import MonocularDpt
from geometry.models.zoo import VARIANTS
from geometry.predict import condition
from geometry.prediction import Features, Geometry
from geometry.views import Views
from geometry.weights.files import load_strict, read_safetensors
from nvs.model.backbone import Encoding
from nvs.model.gs_dpt import GaussianDpt
from nvs.model.parametrisation import GaussianAdapter
from nvs.model.splatter import started_from_photo
from nvs.training.model import TrainableSplatter

SIZES = ("small", "base", "large")  # ours of the same name have the same transformer: levels and head widths


class DinoBackbone(nn.Module):
    """DINOv2 features at four levels, a DPT head's depth, and the given cameras.

    DINOv2 knows no depth, so the depth head must be trained with the Gaussian head (``network.depth_head`` in
    ``lr_factors``), through the rendered views. It works in the given cameras' world, scaled so that they are
    about 1 apart; an untrained one says 1 everywhere.

    Args:
        backbone: a timm DINOv2 of patch size 14 with ``dynamic_img_size``.
        levels: indices of the four blocks whose states the heads read.
        depth_head: from the same features to depth.
    """

    def __init__(self, backbone: nn.Module, levels: tuple[int, ...], depth_head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.depth_head = depth_head
        self.levels = tuple(levels)
        self.feature_width = backbone.embed_dim

    def encode_views(
        self,
        views: Views,
        *,
        reference: str | Int[Tensor, " B"] = "saddle_balanced",
        chunk: int = 8,
        rays: bool = False,
    ) -> Encoding:
        """Encoding in the given cameras' world; there is no reference view, and there are no rays.

        Raises:
            InputError: views without cameras, which this backbone cannot find.
        """
        if views.cameras is None:
            raise InputError("DINOv2 finds no cameras: train it with posed views only (step.posed=1)")
        B, V, _, H, W = views.images.shape
        grid = (H // 14, W // 14)
        images = normalise_images(views.images).flatten(0, 1)
        maps = self.backbone.forward_intermediates(  # type: ignore[operator]
            images, indices=list(self.levels), norm=True, output_fmt="NLC", intermediates_only=True
        )
        patches = [m.unflatten(0, (B, V)) for m in maps]
        with torch.autocast(images.device.type, enabled=False):
            given, world = condition(views.cameras)
            features = Features(patches=patches, camera_tokens=[], grid=grid, image_size=(H, W))
            depth, _ = self.depth_head(features, chunk)
        geometry = Geometry(depth=depth, cameras=given)
        return Encoding(patches=patches, grid=grid, geometry=geometry, given=given, world=world)


def build_dino_model(
    size: str = "small",
    *,
    weights: str | None = None,
    flavour: str = "sh",
    sh_degree: int = 2,
    lr_factors: Mapping[str, float] | None = None,
) -> TrainableSplatter:
    """A new Gaussian head on DINOv2.

    Args:
        size: small, base or large.
        weights: timm's state dict of ``vit_SIZE_patch14_dinov2`` as a .safetensors or .pth file; None leaves
            the transformer random, which serves tests only.
        lr_factors: None trains both heads and freezes the transformer.
    """
    import timm

    if size not in SIZES:
        raise InputError(f"DINOv2: expected a size of {', '.join(SIZES)}, got {size!r}")
    v = VARIANTS[size]
    name = f"vit_{size}_patch14_dinov2"
    vit = timm.create_model(name, pretrained=False, num_classes=0, dynamic_img_size=True)
    if weights is not None:
        load_strict(vit, _read(Path(weights)), weights, what=f"timm's {name}")
    adapter = GaussianAdapter(flavour, sh_degree=sh_degree)  # type: ignore[arg-type]
    depth_head = MonocularDpt(v.width, v.channels, v.features)
    depth_head.sky_out.requires_grad_(False)
    nn.init.zeros_(depth_head.depth_out[2].weight)  # type: ignore[arg-type]
    nn.init.zeros_(depth_head.depth_out[2].bias)  # type: ignore[arg-type]
    network = DinoBackbone(vit, v.output_blocks, depth_head)
    head = started_from_photo(GaussianDpt(v.width, v.channels, v.features, raw_channels=adapter.raw_channels))
    factors = {"head": 1.0, "network.depth_head": 1.0, "network.depth_head.sky_out": 0.0}
    return TrainableSplatter(network, head, adapter, lr_factors=lr_factors or factors)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{path}: no such file of DINOv2 weights")
    if path.suffix == ".safetensors":
        return read_safetensors(path)[0]
    return torch.load(path, map_location="cpu", weights_only=True)
