"""Any-view networks for other runtimes: a graph of images to depth, rays and cameras, as ONNX."""

import warnings
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from geometry.accelerate import plain
from geometry.atomic import atomic_folder
from geometry.errors import InputError
from geometry.models.da3 import DepthAnything3
from geometry.views import Views

OPSET = 18  # the first whose Resize is antialiased
OUTPUTS = ("depth", "depth_conf", "rays", "ray_conf", "extrinsics", "intrinsics")
_LEAST_VIEWS = 3  # from which the network chooses its reference view; fewer are another graph
_ALL_VIEWS = 2**20  # decoded at once: chunks of views would be unrolled
_ONE_FILE = 1.5e9  # bytes of weights from which they lie in a file of their own (protobuf ends at 2 GB)


class Exported(nn.Module):
    """A network as tensors in, tensors out: photos of one scene, without cameras, to `OUTPUTS`."""

    def __init__(self, network: DepthAnything3) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Float[Tensor, "1 V 3 H W"]) -> tuple[Tensor, ...]:
        g = self.network(Views(images=images), chunk=_ALL_VIEWS)
        return g.depth, g.depth_conf, g.rays, g.ray_conf, g.cameras.extrinsics, g.cameras.intrinsics


def export_onnx(
    network: nn.Module, path: Path, image_size: tuple[int, int], *, views: int | None = None
) -> float:
    """Write a network as ONNX (`OPSET`, float32), and run the file in onnxruntime on an example.

    Fixed in the file are the image size, one scene, the choice of the reference view (saddle_balanced), and
    the number of views where ``views`` gives it; else any number from 3 on. The network is left in its plain
    form.

    Args:
        path: ends in .onnx; large weights lie beside it, in a file of the same name and ``.data``.
        image_size: (H, W), multiples of 14.
        views: the number of photos, for good; None: any from 3 on.

    Returns:
        The largest difference between the file's outputs and the network's on the example, each output in
        units of its own largest value, or of 1 where that is smaller.

    Raises:
        InputError: no any-view network, a size or number of views that it cannot take, or no onnxruntime.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # torch.onnx needs it
    except ImportError as error:
        raise InputError(f"export to ONNX needs {error.name}: pip install 'feedforward-nvs[onnx]'") from error
    if not isinstance(network, DepthAnything3):
        raise InputError(f"export to ONNX: expected an any-view network, got {type(network).__name__}")
    H, W = image_size
    patch = network.backbone.patch
    if H % patch or W % patch or min(H, W) < patch:
        raise InputError(f"--size: expected multiples of {patch}, got {H} x {W}")
    if path.suffix != ".onnx":
        raise InputError(f"{path}: expected a name that ends in .onnx")
    exported = Exported(plain(network)).eval().cpu()
    V = views or _LEAST_VIEWS + 1
    inputs = {"images": torch.rand(1, V, 3, H, W, generator=torch.Generator().manual_seed(0))}
    dimension = torch.export.Dim("views", min=_LEAST_VIEWS, max=_ALL_VIEWS)
    with torch.no_grad(), warnings.catch_warnings(), atomic_folder(path.parent) as folder:
        # First: what depends on sizes alone is computed once, and constant in the graph.
        expected = exported(**inputs)
        warnings.simplefilter("ignore")
        torch.onnx.export(
            exported,
            kwargs=inputs,
            f=folder / path.name,
            opset_version=OPSET,
            input_names=[*inputs],
            output_names=[*OUTPUTS],
            dynamic_shapes=None if views else {name: {1: dimension} for name in inputs},
            external_data=sum(p.nbytes for p in network.parameters()) > _ONE_FILE,
            verbose=False,
        )
        session = onnxruntime.InferenceSession(folder / path.name, providers=["CPUExecutionProvider"])
        found = session.run(OUTPUTS, {name: value.numpy() for name, value in inputs.items()})
    return max(
        float(np.abs(ours - theirs.numpy()).max() / max(1, np.abs(theirs.numpy()).max()))
        for ours, theirs in zip(found, expected)
    )
