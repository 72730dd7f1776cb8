"""`nvs view`: look at Gaussians and cameras in the browser."""

import argparse
from pathlib import Path

from geometry.console import say
from geometry.errors import run_command
from nvs.options import MAX_GAUSSIANS

LOCAL = ("127.0.0.1", "localhost", "::1")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="nvs view",
        description="Show the Gaussians, photos and cameras of a folder that `nvs render` wrote, in the "
        "browser: look, crop, measure, film (docs/viewer.md).",
    )
    p.add_argument(
        "scene", type=Path, help="the folder, or a splat file of any format that `nvs export` writes"
    )
    p.add_argument("--port", type=int, default=8080, help="taken, or the next free one (default 8080)")
    p.add_argument(
        "--host", default="127.0.0.1", help="0.0.0.0 lets other machines in (default: this machine only)"
    )
    p.add_argument(
        "--max-gaussians",
        type=int,
        default=MAX_GAUSSIANS,
        metavar="N",
        help="show the N that cover most, so that the browser stays fast (default %(default)s)",
    )
    return p


def main(argv: list[str] | None = None) -> int:
    return run_command(lambda: run(parser().parse_args(argv)))


def run(args: argparse.Namespace) -> int:
    from nvs.viewer import serve

    server = serve(args.scene, host=args.host, port=args.port, max_gaussians=args.max_gaussians)
    if args.host not in LOCAL:
        folder = args.scene if args.scene.is_dir() else args.scene.parent
        say(
            f"WARNING: --host {args.host} lets other machines in: whoever reaches this one can look, save "
            f"files into {folder} and start renderings; there is no password"
        )
    try:
        print(f"open http://{args.host}:{server.get_port()} in a browser; Ctrl-C ends", flush=True)
        server.sleep_forever()
    except KeyboardInterrupt:
        server.stop()
    return 0
