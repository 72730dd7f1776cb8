"""Compare this code with numbers of the released networks: python scripts/check_golden.py [DIR].

DIR holds golden files as tests/golden/data/README.md describes; by default it is that folder. Each network
that they name is built, filled with weights by the rule, and run. Prints the largest error of every array in
units of its tolerance's scale; exits 1 if any array is off or was not compared.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from geometry.errors import InputError, run_command
from tests.golden.check import DATA, check_folder
from tests.golden.compare import Row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder", type=Path, metavar="DIR", nargs="?", default=DATA, help="folder of golden files"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="files whose name contains TEXT")
    parser.add_argument("--quiet", action="store_true", help="print failures and the summary only")
    parser.add_argument("--device", default="cpu", help="of the networks (default cpu)")
    parser.add_argument(
        "--bfloat16",
        action="store_true",
        help="the backbones in bfloat16, judged by the mean error alone",
    )
    args = parser.parse_args()
    torch.backends.cudnn.allow_tf32 = False  # the tolerances are those of float32
    if not args.folder.is_dir():
        raise InputError(f"{args.folder}: no such folder of golden files")

    def show(row: Row) -> None:
        if not (row.passed and args.quiet):
            verdict = "ok  " if row.passed else "FAIL"
            print(f"{verdict} {row.file:38} {row.array:44} {row.largest:9.2e} {row.note}", flush=True)

    compute = "bfloat16" if args.bfloat16 else "float32"
    report = check_folder(args.folder, only=args.only, on_row=show, device=args.device, compute=compute)
    for file, array in report.uncompared:
        print(f"UNCOMPARED {file}: {array}")
    failed = [row for row in report.rows if not row.passed]
    print(f"{len(report.inputs)} further arrays are inputs of these; {len(failed)} of the comparisons failed")
    print(f"compared {report.compared} of {report.total} arrays")
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(run_command(main))
