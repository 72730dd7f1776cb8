"""`nvs-eval report`: the worst and best targets of a run, side by side with the photos."""

import argparse
from pathlib import Path

from eval.commands.config import benchmark_of
from eval.report import make_report, write_report
from eval.run_folder import Store, read_json
from geometry.commands.arguments import positive
from geometry.errors import run_command
from geometry.stored_config import with_present_names
from nvs.metrics import METRICS

DESCRIPTION = """The targets of a run with the lowest and highest scores, photo, rendering, error and depth,
in one HTML file that needs nothing else."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="nvs-eval report", description=DESCRIPTION)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("--root", help="the data, if it moved since the run")
    parser.add_argument("--metric", default="psnr", choices=METRICS, help="to sort by (default psnr)")
    parser.add_argument("--count", type=positive, default=4, help="targets at either end (default 4)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: report.html in the run's folder")
    args = parser.parse_args(argv)
    return run_command(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    store = Store(args.run)
    out = args.out or store.folder / "report.html"
    benchmark = benchmark_of(with_present_names(read_json(store.benchmark)), root=args.root)
    write_report(out, make_report(store, benchmark, metric=args.metric, count=args.count))
    print(out)
    return 0
