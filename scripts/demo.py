"""What `make demo` runs: photos in, novel views out.

With --photos it renders your own photos. Without, it first makes a sample capture with the
procedural world, so that nothing needs to be fetched.
"""

import argparse
import sys
from pathlib import Path

from geometry.commands.make_capture import main as make_capture
from geometry.verdict import UNTRUSTED
from nvs.commands.render import main as render


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", help="folder of photos, or a video (default: a generated capture)")
    parser.add_argument("--out", type=Path, default=Path("outputs/demo"), help="output folder")
    parser.add_argument("--model", default="tiny", help="as for nvs render (default tiny)")
    args = parser.parse_args()
    photos = args.photos
    if photos is None:
        photos = args.out / "capture"
        if not (photos / "transforms.json").is_file():
            command = ["--seed", "12", "--views", "24", "--size", "378", "672", "--out", str(photos)]
            if status := make_capture(command):
                return status
    out = args.out / "scene"
    status = render([str(photos), "--out", str(out), "--model", args.model])
    if status in (0, UNTRUSTED):
        print(f"novel views: {out / 'video.mp4'}; report: {out / 'report.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
