"""Fetch and check DL3DV's benchmark: python scripts/prepare_dl3dv_benchmark.py ROOT [--fetch]

140 scenes in the gated repository DL3DV/DL3DV-Benchmark on Hugging Face: accept its terms there (CC BY-NC 4.0
with terms of use) and log in (`hf auth login`, or HF_TOKEN). --fetch then takes poses and one resolution of
photos with your access, goes on where it stopped, and leaves the rest of the 2.1 TB alone.

Checks that every scene of the repository's list is there with all its photos, and writes ROOT/split.json.
"""

import argparse
import sys
import warnings
from pathlib import Path

from eval.commands.config import compose
from eval.commands.split import make_file
from geometry.datasets.dl3dv import DL3DV, IMAGE_FOLDERS
from geometry.datasets.sources import read_hashes
from geometry.errors import InputError, run_command

REPOSITORY, META = "DL3DV/DL3DV-Benchmark", "benchmark-meta.csv"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("--fetch", action="store_true", help="download what is not there yet")
    parser.add_argument(
        "--resolution",
        choices=IMAGE_FOLDERS,
        default="480P",
        help="default: 480P, 270 x 480, the benchmark's",
    )
    args = parser.parse_args(argv)
    if args.fetch:
        fetch(args.root, IMAGE_FOLDERS[args.resolution])
    faults = check(args.root, args.resolution)
    for fault in faults:
        print(fault)
    if faults:
        return 1
    values = {"benchmark.root": str(args.root), "split": str(args.root / "split.json")}
    make_file(compose(["benchmark=dl3dv"], values))
    return 0


def fetch(root: Path, images: str) -> None:
    """The scene list, poses and one folder of photos per scene; files that are there stay."""
    # Imported here: checking what lies on the disk needs no network library.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    wanted = [META, "*/nerfstudio/transforms.json", f"*/nerfstudio/{images}/*"]
    try:
        snapshot_download(REPOSITORY, repo_type="dataset", local_dir=root, allow_patterns=wanted)
    except (HfHubHTTPError, LocalTokenNotFoundError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"https://huggingface.co/datasets/{REPOSITORY}: could not fetch ({reason}); accept the terms "
            "there and log in with `hf auth login`"
        ) from error


def check(root: Path, resolution: str) -> list[str]:
    """A line for everything that is not as it should be."""
    source = DL3DV(root, exclude=None, resolution=resolution, points=False)
    faults = []
    if not (root / META).is_file():
        faults.append(f"{root / META}: missing, so nobody knows which scenes should be here; fetch it too")
    else:
        missing = sorted(read_hashes(root / META) - set(source.names))
        faults += [f"{name}: missing" for name in missing]
    for name in source.names:
        with warnings.catch_warnings(
            record=True
        ) as said:  # a reader skips photos that are missing, and says so
            warnings.simplefilter("always")
            try:
                source.read(name)
            except InputError as error:
                faults.append(f"{name}: {error}")
        faults += [f"{name}: {warning.message}" for warning in said]
    return faults


if __name__ == "__main__":
    sys.exit(run_command(main))
