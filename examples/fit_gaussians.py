"""Gaussians fitted to a picture by the rasterizer: python examples/fit_gaussians.py PICTURE OUT.png [STEPS].

`rasterize` is differentiable in every field of the Gaussians and in the cameras, on CPUs too.
"""

import sys

import numpy as np
import torch
from PIL import Image

from geometry.views import Cameras
from nvs.gaussians import Gaussians
from nvs.rasterizer import rasterize


def main(picture: str, out: str, steps: str = "300") -> None:
    pixels = np.asarray(Image.open(picture).convert("RGB").resize((128, 96)), dtype=np.float32) / 255
    target = torch.from_numpy(pixels).permute(2, 0, 1)  # [3, H, W]
    size = (96, 128)
    # One camera at the origin that looks along z: at depth 1 the picture is one unit wide.
    K = torch.tensor([[128.0, 0, 64], [0, 128, 48], [0, 0, 1]])
    camera = Cameras(extrinsics=torch.eye(4)[None, None], intrinsics=K[None, None])

    generator = torch.Generator().manual_seed(0)
    count = 1500
    place = torch.rand(count, 3, generator=generator) - 0.5
    place[:, 2] = 1
    raw = {
        "means": place,
        "quats": torch.randn(count, 4, generator=generator),
        "scales": torch.full((count, 3), -4.0),  # of the logarithm
        "opacities": torch.zeros(count),  # of the logit
        "sh": torch.zeros(count, 1, 3),  # degree 0: grey
    }
    raw = {name: value.requires_grad_() for name, value in raw.items()}
    rates = {"means": 2e-3, "quats": 2e-2, "scales": 2e-2, "opacities": 5e-2, "sh": 2e-2}
    optimizer = torch.optim.Adam([{"params": [raw[name]], "lr": rate} for name, rate in rates.items()])

    for step in range(int(steps) + 1):
        gaussians = Gaussians(
            means=raw["means"][None],
            quats=raw["quats"][None],
            scales=raw["scales"].exp()[None],
            opacities=raw["opacities"].sigmoid()[None],
            sh=raw["sh"][None],
        )
        image = rasterize(gaussians, camera, size).rgb[0, 0]
        loss = (image - target).square().mean()
        if step % 50 == 0:
            print(f"step {step}: PSNR {-10 * loss.log10():.2f} dB")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    result = (image.detach().clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
    Image.fromarray(result).save(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
