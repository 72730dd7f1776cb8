"""`geometry export-onnx`: a network for onnxruntime and others."""

import argparse
from pathlib import Path

from geometry.commands.arguments import positive
from geometry.errors import run_command


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="geometry export-onnx",
        description="Write an any-view network as an ONNX file (opset 18, float32): images [1, V, 3, H, W] "
        "in 0..1 to depth, its confidence, rays, theirs, and cameras. The file is then run by onnxruntime "
        "and compared with the network. Needs the extra `onnx`.",
    )
    p.add_argument("--model", default="tiny", help="a size, a hub id, a folder, or a file (default: tiny)")
    p.add_argument("--out", required=True, type=Path, metavar="FILE.onnx", help="the file")
    p.add_argument(
        "--size",
        nargs=2,
        type=positive,
        metavar=("H", "W"),
        default=(336, 504),
        help="of the images, multiples of 14; fixed in the file (default 336 504)",
    )
    p.add_argument(
        "--views", type=positive, metavar="N", help="fix the number of images (default: any from 3 on)"
    )
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return run_command(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    import geometry
    from geometry.export import OPSET, export_onnx

    model = geometry.load(args.model, device="cpu")
    difference = export_onnx(model.network, args.out, tuple(args.size), views=args.views)
    print(f"opset {OPSET}; largest difference to the network {difference:.1e}; licence: {model.licence}")
    print(args.out)
    return 0
