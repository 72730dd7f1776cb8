"""`geometry infer`: photos to depth, confidence, cameras and a coloured point cloud."""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from geometry.capture import Capture, load_views, open_capture
from geometry.commands.arguments import add_model_arguments, add_photo_arguments, photo_options
from geometry.console import Stopwatch, announce, say
from geometry.device import pick_device, precision
from geometry.errors import run_command
from geometry.formats import colmap
from geometry.formats.glb import write_glb
from geometry.formats.ply import write_points
from geometry.ops.metric import metric_depth
from geometry.point_cloud import point_cloud
from geometry.predict import predict_geometry
from geometry.prediction import Geometry
from geometry.results import INFERRED, require_results, result_folder
from geometry.sampling.preprocess import PixelMap
from geometry.scenes import transforms_json
from geometry.views import Views
from geometry.visualize import colour_confidence, colour_depth, write_image
from geometry.weights.checkpoints import find_checkpoint, load_network

COLMAP_POINTS = 100_000  # tools read this file point by point


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="geometry infer",
        description="Photos to depth (npz, PNG), confidence, cameras (transforms.json, COLMAP) and points "
        "(PLY, GLB).",
    )
    add_photo_arguments(p)
    p.add_argument("--out", required=True, type=Path, help="output folder")
    add_model_arguments(p)
    p.add_argument(
        "--ray-pose", action="store_true", help="cameras from the ray maps instead of the camera decoder"
    )
    p.add_argument("--seed", type=int, default=0, help="of the robust fit of cameras to rays (default 0)")
    p.add_argument(
        "--conf-percentile",
        type=float,
        default=40.0,
        metavar="P",
        help="leave the least confident P%% of pixels out of the point cloud (default 40)",
    )
    return p


def main(argv: list[str] | None = None) -> int:
    return run_command(lambda: run(parser().parse_args(argv)))


@torch.no_grad()
def run(args: argparse.Namespace) -> int:
    watch = Stopwatch()
    device = pick_device(args.device)
    require_results(args.out, INFERRED, [*args.photos, args.poses])
    with watch("photos"):
        photos = photo_options(args)
        capture = open_capture(args.photos, photos, device, out=args.out)
        views, maps = load_views(capture, capture.context, photos, device)
    with watch("model"):
        checkpoint = find_checkpoint(args.model)
        announce(checkpoint)
        network = load_network(checkpoint).to(device)
    with watch("network"), precision(args.precision, network):
        geometry = predict_geometry(
            network,
            views,
            reference=args.ref_view,
            chunk=args.chunk or 8,
            ray_pose=args.ray_pose,
            rays=True,
            seed=args.seed,
        )
    metric = geometry.scale_factor is not None
    if checkpoint.variant == "metric-large":
        if geometry.cameras is None:
            say("metric-large needs focal lengths for metres: without poses its depth is relative")
        else:
            depth = metric_depth(geometry.depth, geometry.cameras.intrinsics)
            geometry, metric = Geometry(depth=depth, sky=geometry.sky, cameras=geometry.cameras), True
    about = {
        "model": checkpoint.variant,
        "weights": checkpoint.source,
        "trained": checkpoint.trained,
        "licence": checkpoint.licence,
        "poses": capture.scene.source,
        "photos": len(capture.scene),
        "metric": metric,
        "world": (
            "the given poses' world"
            if capture.scene.posed
            else "the network's world: the reference camera's axes at its place (x right, y down, z forward)"
        ),
    }
    with watch("write"), result_folder(args.out) as folder:
        write_geometry(
            folder, capture, views, maps, geometry, about=about, conf_percentile=args.conf_percentile
        )
    say(watch.summary())
    print(args.out)
    return 0


def write_geometry(
    folder: Path,
    capture: Capture,
    views: Views,
    maps: list[PixelMap],
    geometry: Geometry,
    *,
    about: dict[str, object],
    conf_percentile: float,
) -> None:
    """Everything that was predicted, one scene; images are those that the network saw.

    depth/ (npz with depth, confidence, camera; coloured PNG), confidence/, images/, transforms.json,
    sparse/0/ (COLMAP), points.ply, points.glb, scene.json. Without cameras (monocular models on unposed
    photos) the last five are left out, but scene.json.
    """
    names = file_names(capture.names)
    images = (views.images[0].movedim(1, -1).clamp(0, 1) * 255).round().byte().cpu().numpy()
    depth = geometry.depth[0].float().cpu().numpy()
    conf = None if geometry.depth_conf is None else geometry.depth_conf[0].float().cpu().numpy()
    sky = None if geometry.sky is None else geometry.sky[0].float().cpu().numpy()
    cameras = geometry.cameras
    for sub in ("depth", "images", *(("confidence",) if conf is not None else ())):
        (folder / sub).mkdir()
    for v, name in enumerate(names):
        arrays = {"depth": depth[v]}
        if conf is not None:
            arrays["confidence"] = conf[v]
            write_image(folder / "confidence" / f"{name}.png", colour_confidence(conf[v]))
        if sky is not None:
            arrays["sky"] = sky[v]
        if cameras is not None:
            arrays["extrinsics"] = cameras.extrinsics[0, v].cpu().numpy()
            arrays["intrinsics"] = cameras.intrinsics[0, v].cpu().numpy()
        np.savez_compressed(folder / "depth" / f"{name}.npz", **arrays)
        write_image(folder / "depth" / f"{name}.png", colour_depth(depth[v]))
        write_image(folder / "images" / f"{name}.png", images[v])
    (folder / "scene.json").write_text(json.dumps(about, indent=2) + "\n")
    if cameras is None:
        say("no cameras: a monocular model places none; only depth was written")
        return

    extrinsics = cameras.extrinsics[0].double().cpu().numpy()
    intrinsics = cameras.intrinsics[0].double().cpu().numpy()
    sizes = [views.image_size] * len(names)
    paths = [f"images/{name}.png" for name in names]
    transforms_json.write_scene(
        folder / "transforms.json",
        paths,
        extrinsics,
        intrinsics,
        sizes,
        extra={"ply_file_path": "points.ply"},
    )
    valid = torch.zeros_like(geometry.depth, dtype=torch.bool)
    for v, pixel_map in enumerate(maps):
        rows, columns = pixel_map.valid
        valid[0, v, rows, columns] = True
    cloud = point_cloud(geometry, views.images, valid, conf_percentile=conf_percentile)
    few = np.linspace(0, len(cloud.points) - 1, min(len(cloud.points), COLMAP_POINTS)).astype(int)
    model = colmap.model_from_cameras(
        [f"{name}.png" for name in names],
        extrinsics,
        intrinsics,
        sizes,
        points=cloud.points[few],
        colours=cloud.colours[few],
        seen_by=cloud.view[few],
    )
    colmap.write_model(folder / "sparse" / "0", model)
    write_points(folder / "points.ply", cloud.points, cloud.colours)
    write_glb(
        folder / "points.glb",
        cloud.points,
        cloud.colours,
        extrinsics=extrinsics,
        intrinsics=intrinsics,
        image_sizes=sizes,
    )


def file_names(names: list[str]) -> list[str]:
    """Names for output files: the photos' own without folder and ending, made unique where they clash."""
    stems = [Path(name).stem for name in names]
    if len(set(stems)) == len(stems):
        return stems
    return [f"{i:04d}_{stem}" for i, stem in enumerate(stems)]
