"""Novel views of photos from Python: python examples/novel_views.py PHOTOS OUT [STEPS].

PHOTOS is a folder or a video; cameras beside it (transforms.json, COLMAP) are used. STEPS of refinement are
150 by default. Writes the Gaussians (scene.ply, for any splat viewer) and eight views between the photos.
"""

import sys
from pathlib import Path

from PIL import Image

import nvs
from nvs.cameras import camera_path


def main(photos: str, out: str, steps: str = "150") -> None:
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    scene = nvs.load("tiny").predict(photos, refine=int(steps), verbose=True)
    scene.save(folder / "scene.ply")
    path = camera_path("spline", scene.cameras, scene.image_size, frames=8)
    for number, image in enumerate(scene.render(path).rgb[0]):  # each [3, H, W] in 0..1
        pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        Image.fromarray(pixels).save(folder / f"{number}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
