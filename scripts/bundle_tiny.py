"""Write the model that ships with the package: bundle_tiny.py GEOMETRY [HEAD] --steps WORDS --hours H.

Joins the geometry network of `geometry train` and the Gaussian head of `nvs train` into one half-precision
file, which says in its header what it is and where it comes from. Without HEAD every pixel becomes one
Gaussian of its own colour.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import torch

from geometry.errors import InputError, run_command
from geometry.weights.checkpoint import BUNDLED, Checkpoint, load_network, read_checkpoint, save_checkpoint
from geometry.weights.files import fingerprint
from geometry.weights.hub import APACHE
from nvs.model.splatter import load_splatter, save_splatter

MOST_PARAMETERS, MOST_BYTES = 10_000_000, 20_000_000
ROOT = Path(__file__).resolve().parents[1]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("geometry", type=Path, help="model.safetensors of geometry train, or its folder")
    parser.add_argument(
        "head", type=Path, nargs="?", help="best.safetensors of nvs train on that geometry, or its folder"
    )
    parser.add_argument("--out", type=Path, default=BUNDLED / "tiny.safetensors", metavar="FILE")
    parser.add_argument("--steps", required=True, help="of training, in words: '3000 geometry + 1000 head'")
    parser.add_argument("--hours", required=True, type=float, help="of training, wall clock")
    parser.add_argument("--hardware", default="2 CPU cores", help="trained on (default 2 CPU cores)")
    parser.add_argument("--recipe", default="docs/bundled-model.md", help="where the commands are written")
    args = parser.parse_args(argv)

    geometry = read_checkpoint(_file(args.geometry, "model.safetensors"))
    if geometry.variant != "tiny" or geometry.released:
        raise InputError(f"{args.geometry}: expected weights of our 'tiny', got {geometry.variant!r}")
    about = {
        "description": describe(args.steps, args.hours, args.hardware),
        "recipe": args.recipe,
        "steps": args.steps,
        "hours": f"{args.hours:g}",
        "hardware": args.hardware,
        "data": "this project's procedural world",
        "commit": commit(),
    }
    common = {"variant": "tiny", "released": False, "licence": APACHE, "dtype": torch.float16}
    if args.head is None:
        network = load_network(geometry)
        save_checkpoint(args.out, network, **common, **about)
    else:
        network = load_splatter(join(geometry, _file(args.head, "best.safetensors")))
        save_splatter(args.out, network, **common, **about)
    parameters, size = sum(p.numel() for p in network.parameters()), args.out.stat().st_size
    if parameters > MOST_PARAMETERS or size > MOST_BYTES:
        args.out.unlink()
        raise InputError(
            f"expected at most {MOST_PARAMETERS / 1e6:g} M parameters and {MOST_BYTES / 1e6:g} MB, got "
            f"{parameters / 1e6:.2f} M and {size / 1e6:.1f} MB; nothing was written"
        )
    print(f"{args.out}: {parameters / 1e6:.2f} M parameters, {size / 1e6:.1f} MB, {about['description']}")
    return 0


def join(geometry: Checkpoint, head: Path) -> Checkpoint:
    """The geometry's network with the head of a file that was trained on it.

    Raises:
        InputError: the file has no head, or its head was trained on another network.
    """
    checkpoint = read_checkpoint(head, backbone=geometry)
    if not checkpoint.gaussian_head:
        raise InputError(f"{head}: expected a Gaussian head, got a file without one")
    if fingerprint(checkpoint.state) != fingerprint(geometry.state):
        raise InputError(f"{head}: a Gaussian head trained on other weights than {geometry.source}")
    return checkpoint


def describe(steps: str, hours: float, hardware: str) -> str:
    """What a person is told whenever the model is loaded."""
    return (
        f"trained by this project on its own procedural world alone, never on a photo ({steps} steps, "
        f"{hours:g} h on {hardware}): made for photos with poses, where a plane sweep finds the depth and it "
        "says how Gaussians look; depth and cameras of its own are little better than a guess; better views: "
        "--refine 300, nvs finetune, or --model small"
    )


def commit() -> str:
    """The project's commit, marked where files differ from it; 'unknown' outside of git."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def _file(path: Path, name: str) -> Path:
    return path / name if path.is_dir() else path


if __name__ == "__main__":
    sys.exit(run_command(main))
