"""Depth, cameras and a point cloud of photos: python examples/depth_and_points.py PHOTOS OUT [MODEL].

MODEL is small by default (34 M parameters, downloaded once, Apache-2.0). `tiny` needs no download, and its
depth is at chance: it shows the call only.
"""

import sys

import geometry


def main(photos: str, out: str, name: str = "small") -> None:
    model = geometry.load(name)
    print(model.description)
    scene = model.predict(photos)
    for photo, depth in zip(scene.names, scene.depth):  # each [H, W], in the network's pixels
        print(f"{photo}: depth {depth.min():.3g} to {depth.max():.3g}, median {depth.median():.3g}")
    print(f"{len(scene.points().points)} points")
    scene.save(out)  # depth, confidence, transforms.json, COLMAP model, points.ply, scene.glb


if __name__ == "__main__":
    main(*sys.argv[1:])
