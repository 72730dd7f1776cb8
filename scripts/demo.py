"""What `make demo` runs: photos in, novel views out.

With --photos it renders a person's own photos. Without, it first makes a sample capture with the
procedural world, so that nothing needs to be fetched.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from nvs.render import main as render

SCRIPTS = Path(__file__).resolve().parent


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
            command = [sys.executable, SCRIPTS / "make_capture.py", "--seed", "12", "--views", "16"]
            subprocess.run([*command, "--size", "378", "672", "--out", photos], check=True)
    status = render([str(photos), "--out", str(args.out), "--model", args.model, "--context", "8"])
    if status == 0:
        print(f"novel views: {args.out / 'video.mp4'}; overview: {args.out / 'contact_sheet.png'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
