"""Say which ScanNet++ scenes are ready, and what the others need: python scripts/prepare_scannetpp.py ROOT

Get it first: ScanNet++ is given on request at its own site, under its terms of use. Depth is rendered from
the mesh, and iPhone frames are taken from their video, by the set's toolbox (scannetpp/scannetpp): this
script does neither, it looks for what they leave and writes ROOT/ready_<device>.txt for ``scenes=``.
"""

import argparse
import sys
from pathlib import Path

from geometry.atomic import atomic_file
from geometry.datasets.scannetpp import ScanNetPP
from geometry.errors import InputError, run_command

NEEDS = {
    "dslr": "common/render.py, which renders depth of the DSLR photos",
    "iphone": "iphone/prepare_iphone_data.py for the frames, then common/render.py for their depth",
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("--device", choices=("dslr", "iphone"), default="dslr")
    args = parser.parse_args(argv)
    source = ScanNetPP(args.root, device=args.device, depth=True)
    ready, waiting = [], []
    for name in source.names:
        try:
            source.read(name)
            ready.append(name)
        except InputError as error:
            waiting.append(name)
            print(f"not ready: {error}")
    path = args.root / f"ready_{args.device}.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("".join(f"{name}\n" for name in ready), encoding="utf-8")
    print(f"{len(ready)} scenes ready, listed in {path}; {len(waiting)} not")
    if waiting:
        print(f"still to run in the set's toolbox: {NEEDS[args.device]}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
