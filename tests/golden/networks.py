"""Golden files of whole networks: features, depth, rays, cameras and Gaussians."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geometry.device import precision
from geometry.models.da3 import DepthAnything3, MonocularDepth
from geometry.models.nested import NestedDepthAnything3, align_to_metric
from geometry.models.reference_view import STRATEGIES
from geometry.prediction import Geometry
from geometry.views import Cameras
from nvs.model.parametrisation import ReleasedAdapter
from tests.golden.compare import BFLOAT16, EQUAL, FEATURES, NETWORK, Report, Tolerance, align_quaternion_signs
from tests.golden.weights import filled_gaussian_head, filled_network, rule_image

_NAME = re.compile(
    r"(?P<model>small|base|large|giant|mono_large|metric_large|nested)(?P<flavour>(_[a-z0-9]+)*)_\d+view_\d+x\d+.*"
)
_VARIANT = {"mono_large": "mono-large", "metric_large": "metric-large", "nested": "nested-giant-large"}
# Arrays that say how the others were made.
_SETTINGS = ("image", "image_seed", "image_seeds", "in_extrinsics", "in_intrinsics", "note")
_STRIDES = ("out_stride", "gs_stride", "feat_slice_strides")


def is_network_file(path: Path) -> bool:
    return path.suffix == ".npz" and _NAME.fullmatch(path.stem) is not None


def variant_of(path: Path) -> str:
    model = _NAME.fullmatch(path.stem)["model"]
    return _VARIANT.get(model, model)


@lru_cache(maxsize=1)  # giants fill memory: keep only the network in use
def _network(variant: str) -> torch.nn.Module:
    return filled_network(variant)


def read_images(golden: Mapping[str, np.ndarray]) -> Tensor:
    """The normalised images [B, V, 3, H, W] of a file, stored or made from their seeds."""
    if "image" in golden:
        return torch.from_numpy(golden["image"])
    seeds = golden["image_seeds"] if "image_seeds" in golden else golden["image_seed"][None]
    return torch.cat([rule_image(*(int(v) for v in row)) for row in seeds])


def check_network(path: Path, report: Report, device: str = "cpu", compute: str = "float32") -> None:
    """Run the network that a file's name tells and compare every array of the file.

    Args:
        compute: float32 or bfloat16, of the backbone (`geometry.device.precision`).
    """
    golden = dict(np.load(path))
    file = path.name
    report.declare_input(file, *(k for k in golden if k in _SETTINGS or k.split("/")[-1] in _STRIDES))
    report.declare_input(file, *(k for k in golden if k.removeprefix("posed_") in _STRIDES))
    network = _network(variant_of(path)).to(device)
    images = read_images(golden).to(device)
    cameras = None
    if "in_extrinsics" in golden:
        cameras = Cameras(
            extrinsics=torch.from_numpy(golden["in_extrinsics"]),
            intrinsics=torch.from_numpy(golden["in_intrinsics"]),
        ).to(device)
    with precision(compute, network):
        _check_runs(file, golden, network, images, cameras, report, compute)


def _check_runs(
    file: str,
    golden: Mapping[str, np.ndarray],
    network: torch.nn.Module,
    images: Tensor,
    cameras: Cameras | None,
    report: Report,
    compute: str,
) -> None:
    for prefix, arrays in _groups(golden).items():
        strategy = prefix.removesuffix("/") if prefix.endswith("/") else "saddle_balanced"
        # A file with `posed_` arrays holds both runs; in any other, given cameras condition all of it.
        both = any(name.startswith("posed_") for name in golden)
        given = cameras if prefix == "posed_" or not both else None
        if isinstance(network, NestedDepthAnything3):
            ours = _nested_outputs(network, images, given, strategy, arrays)
        elif isinstance(network, MonocularDepth):
            ours = _monocular_outputs(network, images, arrays)
        else:
            ours = _any_view_outputs(network, variant_of(Path(file)), images, given, strategy, arrays)
        for name, reference in arrays.items():
            if name in ours:
                value = ours[name]
                if name == "gs_rotations":
                    value = align_quaternion_signs(value, reference)
                report.compare(file, prefix + name, value, reference, _tolerance(name, compute))


def _groups(golden: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Arrays by run: one per reference strategy, or one with and one without given cameras."""
    prefixes = [f"{s}/" for s in STRATEGIES] + ["posed_"]
    groups: dict[str, dict[str, np.ndarray]] = {}
    for key, value in golden.items():
        if key in _SETTINGS:
            continue
        prefix = next((p for p in prefixes if key.startswith(p)), "")
        groups.setdefault(prefix, {})[key.removeprefix(prefix)] = value
    shared = groups.get("", {})
    if set(shared) == {"selector_cls_tokens"}:
        # What the selector sees does not depend on the strategy: check it with the first run.
        first = next(p for p in groups if p)
        groups[""] = {"selector_cls_tokens": shared["selector_cls_tokens"]}
        groups = {first: groups[first], **groups}
    return groups


def _tolerance(name: str, compute: str) -> Tolerance:
    if name in ("ref_idx", "ray_full_hw", "output_keys", "is_metric"):
        return EQUAL
    if compute == "bfloat16":
        return BFLOAT16
    if re.match(r"feat|camtok|aux_|cam_enc|selector", name):
        return FEATURES
    return NETWORK


def _strides(arrays: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """Stride of dense maps and stride of per-pixel Gaussians."""
    gaussians = int(arrays.get("gs_stride", 1))
    return int(arrays.get("out_stride", gaussians)), gaussians


def _feature_outputs(geometry: Geometry, arrays: Mapping[str, np.ndarray]) -> dict[str, object]:
    features = geometry.features
    ours: dict[str, object] = {}
    token_stride, channel_stride = (int(v) for v in arrays.get("feat_slice_strides", (1, 1)))
    for i, (patches, token) in enumerate(zip(features.patches, features.camera_tokens)):
        ours[f"feat{i}_slice"] = patches[:, :, ::token_stride, ::channel_stride]
        p = patches.double()
        ours[f"feat{i}_stats"] = torch.stack((p.mean(), p.abs().mean(), (p * p).mean()))
        ours[f"camtok{i}"] = token
    for layer, patches in features.exported.items():
        ours[f"aux_layer{layer}_slice"] = patches[:, :, ::9, :: patches.shape[-1] // 64]
    return ours


def _exports(arrays: Mapping[str, np.ndarray]) -> list[int]:
    return [int(m[1]) for name in arrays if (m := re.fullmatch(r"aux_layer(\d+)_slice", name))]


def _dense_outputs(geometry: Geometry, stride: int) -> dict[str, object]:
    ours: dict[str, object] = {"depth": geometry.depth[..., ::stride, ::stride]}
    if geometry.depth_conf is not None:
        ours["depth_conf"] = geometry.depth_conf[..., ::stride, ::stride]
    if geometry.rays is not None:
        ours["ray"] = geometry.rays[:, :, ::stride, ::stride]
        ours["ray_conf"] = geometry.ray_conf[:, :, ::stride, ::stride]
        ours["ray_full_hw"] = geometry.rays.shape[2:4]
    if geometry.cameras is not None:
        ours["pose_enc"] = geometry.pose_encoding
        ours["extrinsics"] = geometry.cameras.extrinsics[..., :3, :]
        ours["intrinsics"] = geometry.cameras.intrinsics
    if geometry.sky is not None:
        ours["sky"] = geometry.sky[..., ::stride, ::stride]
    return ours


def _any_view_outputs(
    network: DepthAnything3,
    variant: str,
    images: Tensor,
    cameras: Cameras | None,
    strategy: str,
    arrays: Mapping[str, np.ndarray],
) -> dict[str, object]:
    exports = _exports(arrays)
    selector_layer = network.backbone.alternate_from - 2  # the selector reads this block's output
    features = network.encode(images, cameras, reference=strategy, export_blocks=exports)
    geometry = network.decode(features)
    stride, gs_stride = _strides(arrays)
    ours = {**_feature_outputs(geometry, arrays), **_dense_outputs(geometry, stride)}
    if features.reference is not None:
        ours["ref_idx"] = features.reference
    if cameras is not None:
        ours["cam_enc_tokens"] = network.camera_encoder(cameras, tuple(images.shape[-2:]))
    if "selector_cls_tokens" in arrays:
        ours["selector_cls_tokens"] = _state_after(network, images, selector_layer)
    if any(name.startswith(("gs_", "raw_gs")) and name != "gs_stride" for name in arrays):
        ours |= _gaussian_outputs(variant, geometry, images, cameras, gs_stride)
    return ours


def _state_after(network: DepthAnything3, images: Tensor, layer: int) -> Tensor:
    """Slot 0 of every view in the residual stream after a block."""
    seen: list[Tensor] = []
    handle = network.backbone.blocks[layer].register_forward_hook(lambda *call: seen.append(call[2]))
    try:
        network.encode(images)
    finally:
        handle.remove()
    return seen[0].unflatten(0, images.shape[:2])[:, :, 0]


def _gaussian_outputs(
    variant: str, geometry: Geometry, images: Tensor, cameras: Cameras | None, stride: int
) -> dict[str, object]:
    head = filled_gaussian_head(variant).to(images.device)
    raw, density = head(geometry.features.patches, geometry.features.grid, images)
    gaussians = ReleasedAdapter()(raw, density, geometry, images, given=cameras)
    B, V, H, W = density.shape
    step = (slice(None), slice(None), slice(None, None, stride), slice(None, None, stride))

    def per_pixel(x: Tensor) -> Tensor:
        return x.unflatten(1, (V, H, W))[step]

    return {
        "raw_gs": raw[step],
        "raw_gs_conf": density[step],
        "gs_means": per_pixel(gaussians.means),
        "gs_scales": per_pixel(gaussians.scales),
        "gs_rotations": per_pixel(gaussians.quats),
        "gs_harmonics": per_pixel(gaussians.sh).mT,  # the reference is colour-major
        "gs_opacities": per_pixel(gaussians.opacities),
        "gs_means_strided": gaussians.means[:, ::97],
    }


def _monocular_outputs(
    network: MonocularDepth, images: Tensor, arrays: Mapping[str, np.ndarray]
) -> dict[str, object]:
    features = network.encode(images, export_blocks=_exports(arrays))
    raw = network.decode(features, sky_fill=False)
    filled = network.decode(features)
    stride, _ = _strides(arrays)
    return {
        **_feature_outputs(filled, arrays),
        **_dense_outputs(filled, stride),
        "depth_raw": raw.depth[..., ::stride, ::stride],
        "output_keys": sorted(("aux", "depth", "sky")),
    }


def _nested_outputs(
    network: NestedDepthAnything3,
    images: Tensor,
    cameras: Cameras | None,
    strategy: str,
    arrays: Mapping[str, np.ndarray],
) -> dict[str, object]:
    features = network.any_view.encode(images, cameras, reference=strategy, export_blocks=_exports(arrays))
    any_view = network.any_view.decode(features)
    metric = network.metric.decode(network.metric.encode(images))
    aligned = align_to_metric(any_view, metric)
    stride, gs_stride = _strides(arrays)
    ours = {
        **_feature_outputs(any_view, arrays),
        **_dense_outputs(replace(aligned, sky=None), stride),
        "metric_depth": metric.depth[..., ::stride, ::stride],
        "metric_sky": metric.sky[..., ::stride, ::stride],
        "scale_factor": aligned.scale_factor,
        "is_metric": 1 if aligned.scale_factor is not None else 0,
        "output_keys": _released_keys(aligned),
    }
    if features.reference is not None:
        ours["ref_idx"] = features.reference
    if any(name.startswith(("gs_", "raw_gs")) for name in arrays):
        # The released nested model leaves its Gaussians in any-view units.
        ours |= _gaussian_outputs("nested-giant-large", any_view, images, cameras, gs_stride)
    return ours


def _released_keys(geometry: Geometry) -> list[str]:
    """Names under which the released nested model returns what ``geometry`` holds."""
    held = {
        "aux": geometry.features,
        "depth": geometry.depth,
        "depth_conf": geometry.depth_conf,
        "extrinsics": geometry.cameras,
        "intrinsics": geometry.cameras,
        "is_metric": geometry.scale_factor,
        "scale_factor": geometry.scale_factor,
    }
    return sorted(name for name, value in held.items() if value is not None)
