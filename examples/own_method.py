"""A method of your own in the benchmark: python examples/own_method.py CAPTURE OUT.

CAPTURE is a folder of photos with cameras (transforms.json, COLMAP). `blend` is the method: it gets the
context photos with their cameras, and returns the pictures at the targets'. A method of Gaussians takes
the context alone and returns them (docs/benchmark.md). The table compares it with the nearest photo.
"""

import sys

import torch
import torch.nn.functional as F
from torch import Tensor

from eval.__main__ import main as nvs_eval
from geometry.ops import se3
from geometry.views import Cameras, Views


def blend(context: Views, targets: Cameras, size: tuple[int, int]) -> Tensor:
    """The mean of the two photos taken nearest to each target, [1, T, 3, H, W] in 0..1."""
    there, here = se3.centres(context.cameras.extrinsics), se3.centres(targets.extrinsics)  # [1, V or T, 3]
    nearest = torch.cdist(here, there).argsort(dim=-1)[0, :, :2]  # [T, 2]
    pictures = context.images[0, nearest].mean(dim=1)  # [T, 3, h, w], at the network's size
    return F.interpolate(pictures, size, mode="bilinear", antialias=True)[None].clamp(0, 1)


blend.weights, blend.licence = "none", "Apache-2.0"  # for the table


def main(capture: str, out: str) -> None:
    for method in ("nearest", "own_method:blend"):
        words = [f"method={method}", f"out={out}/{method.partition(':')[2] or method}"]
        if nvs_eval(["run", "benchmark=folder", f"benchmark.root={capture}", *words]):
            sys.exit(f"{method} could not be run")
    nvs_eval(["table", f"{out}/nearest", f"{out}/blend", "--columns", "psnr,ssim,scenes"])


if __name__ == "__main__":
    main(*sys.argv[1:])
