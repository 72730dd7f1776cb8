"""Make the README's picture: python scripts/readme_picture.py docs/images/contact_sheet.jpg.

Photos of a generated room with their exact depth, unprojected to one Gaussian per pixel by the Gaussian
adapter (what an untrained head gives, on true depth) and rendered by the CPU kernels from new places.
"""

import argparse
from pathlib import Path

import torch
from PIL import Image

from geometry.data.procedural import ProceduralWorld, render, sample_cameras
from geometry.data.procedural.photometry import photograph
from geometry.ops.pinhole import resize_intrinsics
from geometry.prediction import Geometry
from geometry.views import Cameras
from geometry.visualize import colour_depth, contact_sheet, depth_limits
from nvs.adapter import GaussianAdapter
from nvs.outputs import to_bytes
from nvs.prune import prune
from nvs.rasterize import rasterize
from nvs.splatter import Splats
from nvs.trajectories import spline

SIZE, SEEN = (270, 480), (540, 960)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=12)
    args = parser.parse_args()
    generator = torch.Generator().manual_seed(args.seed)
    scene = ProceduralWorld(args.seed, "room", texture_size=512)
    cameras = sample_cameras(scene, 24, SEEN, generator, "orbit", zoom=False)[:, ::3]
    views = render(scene, cameras, SEEN)
    photos = photograph(views.radiance[0], generator, strength=0.5)[None]
    geometry = Geometry(depth=views.depth, cameras=cameras, sky=views.sky.float())
    adapter = GaussianAdapter("rgb")
    raw = torch.zeros(*views.depth.shape, adapter.raw_channels)
    gaussians = adapter(raw, torch.full_like(views.depth, 0.9), geometry, photos)
    kept = prune(Splats(gaussians=gaussians, geometry=geometry))

    path = spline(cameras, frames=40)[:, [3, 9, 15, 21, 27]]
    path = Cameras(extrinsics=path.extrinsics, intrinsics=resize_intrinsics(path.intrinsics, SEEN, SIZE))
    seen = rasterize(kept, path, SIZE)
    limits = depth_limits(views.depth[0].numpy())
    some = range(0, 8, 2)
    sheet = contact_sheet(
        {
            "photos of a generated room": [to_bytes(photos[0, v]) for v in some],
            "their depth": [colour_depth(views.depth[0, v].numpy(), limits) for v in some],
            "novel views": [to_bytes(image) for image in seen.rgb[0]],
            "depth of the novel views": [colour_depth(d.numpy(), limits) for d in seen.depth[0]],
        },
        width=1200,
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(args.out, quality=88)


if __name__ == "__main__":
    main()
