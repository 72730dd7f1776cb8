"""`nvs draw`: pictures, depth and a video of a splat file along given cameras."""

import argparse
from pathlib import Path

from geometry.commands.arguments import positive
from geometry.errors import run_command
from nvs.options import BACKENDS, PATHS

_WRITTEN = ("video.mp4", "frames.json", "frames/*.png", "depth/*.png", "depth16/frames/*.png")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="nvs draw",
        description="Draw a splat file along given cameras: frames, depth and video, as `nvs render` does.",
    )
    p.add_argument(
        "splats", type=Path, help="a splat file of any format `nvs export` writes, or a folder with one"
    )
    p.add_argument(
        "--cameras",
        required=True,
        metavar="FILE|FOLDER|PATH",
        help="a transforms.json, the camera_path.json of nerfstudio's viewer, a folder with a COLMAP model, "
        f"or a path through the cameras of the transforms.json beside the splats: {', '.join(PATHS)}",
    )
    p.add_argument("--out", required=True, type=Path, help="output folder")
    p.add_argument(
        "--size",
        nargs=2,
        type=positive,
        metavar=("H", "W"),
        help="of the frames (default: the first camera's; of named paths a long side of 960)",
    )
    p.add_argument("--frames", type=positive, default=120, help="of orbit and spline (default 120)")
    p.add_argument("--fps", type=positive, default=24, help="of the video (default 24)")
    p.add_argument(
        "--background",
        choices=("black", "white"),
        help="colour where no Gaussian is (default: that of the folder's scene.json, else black)",
    )
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default auto)")
    p.add_argument("--backend", choices=BACKENDS, default="auto", help="rasterizer (default auto)")
    return p


def main(argv: list[str] | None = None) -> int:
    return run_command(lambda: run(parser().parse_args(argv)))


def run(args: argparse.Namespace) -> int:
    import torch

    from geometry.device import pick_device
    from geometry.results import require_results, result_folder
    from nvs.cameras.files import SCALE
    from nvs.drawing import cameras_for, draw, load_splats, read_about
    from nvs.gaussians.files import find
    from nvs.rasterizer.backends import choose_backend

    source = find(args.splats)
    device = pick_device(args.device)
    choose_backend(args.backend, device)  # here for its error or warning: before any work
    require_results(args.out, _WRITTEN, [source, *([args.cameras] if Path(args.cameras).exists() else [])])
    gaussians = load_splats(source)
    cameras, size = cameras_for(
        args.cameras, source, gaussians, size=args.size and tuple(args.size), frames=args.frames
    )
    with result_folder(args.out) as folder:
        draw(
            gaussians.to(device),
            cameras.to(device),
            size,
            folder,
            background=torch.tensor(background(args.background, source.parent), device=device),
            backend=args.backend,
            fps=args.fps,
            scale=read_about(source.parent).get(SCALE, 1.0),
        )
    print(args.out / "video.mp4")
    return 0


def background(name: str | None, folder: Path) -> list[float]:
    """The colour asked for, or that of the scene."""
    from nvs.drawing import scene_background

    colour = scene_background(folder) if name is None else None
    return [1.0 if name == "white" else 0.0] * 3 if colour is None else colour
