"""`nvs-eval report`: the worst and best targets of runs, side by side with the photos."""

import argparse
from pathlib import Path

from eval.commands.words import dashed
from geometry.commands.arguments import positive
from geometry.errors import InputError, run_command
from nvs.options import METRICS

DESCRIPTION = """The targets with the lowest and highest scores, photo, rendering, error and depth, in one
HTML page that needs nothing else. Several runs of one protocol are compared, one column a method."""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="nvs-eval report", description=DESCRIPTION)
    p.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of runs")
    p.add_argument("--root", help="the data, if it moved since the run")
    p.add_argument(
        "--metric", default="psnr", choices=METRICS, help="of the first run, to sort by (default psnr)"
    )
    p.add_argument("--count", type=positive, default=4, help="targets at either end (default 4)")
    p.add_argument("--out", type=Path, metavar="FILE", help="default, of one run: report.html in its folder")
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(dashed(parser(), argv))
    return run_command(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    from eval.commands.config import benchmark_of
    from eval.report import make_report, write_report
    from eval.run_folder import Store
    from geometry.formats.text import read_object
    from geometry.stored_config import with_present_names

    stores = [Store(folder) for folder in args.runs]
    if len(stores) > 1 and args.out is None:
        raise InputError("several runs: expected --out FILE, where the page goes")
    out = args.out or stores[0].folder / "report.html"
    stored = with_present_names(read_object(stores[0].benchmark, "a run's data"))
    benchmark = benchmark_of(stored, root=args.root)
    write_report(out, make_report(stores, benchmark, metric=args.metric, count=args.count))
    print(out)
    return 0
