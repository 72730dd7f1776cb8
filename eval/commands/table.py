"""`nvs-eval table`: runs side by side, beside the published numbers of the same protocol."""

import argparse
import sys
from pathlib import Path

from eval.commands.words import dashed
from eval.tables import COLUMNS
from geometry.console import say
from geometry.errors import run_command

FORMATS = ("markdown", "latex", "csv")
DESCRIPTION = """Runs as tables: one for each benchmark, split and pose mode among them, so that nothing is
compared that was measured in different ways."""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="nvs-eval table", description=DESCRIPTION)
    p.add_argument("runs", nargs="+", type=Path, help="folders of runs")
    p.add_argument(
        "--format", choices=("markdown", "latex", "csv"), default="markdown", help="default: markdown"
    )
    p.add_argument("--baseline", metavar="METHOD", help="differences are from it (default: the first run)")
    p.add_argument(
        "--columns",
        metavar="LIST",
        help=f"some of {','.join(COLUMNS)} (default: all that have a value; latex: what fits a paper)",
    )
    p.add_argument(
        "--per-scene", action="store_true", help="the scenes' means, one column a method, for each metric"
    )
    p.add_argument("--no-published", action="store_true", help="leave printed numbers out")
    p.add_argument("--out", type=Path, metavar="FILE", help="write there instead of to the screen")
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(dashed(parser(), argv))
    return run_command(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    from eval.run_folder import Store
    from eval.tables import formats
    from eval.tables.grids import require_columns
    from eval.tables.rows import make_tables
    from geometry.atomic import atomic_file

    columns = None if args.columns is None else tuple(args.columns.replace(" ", "").split(","))
    require_columns(columns)
    runs = [summary for folder in args.runs for summary in Store(folder).summaries()]
    tables = make_tables(runs, baseline=args.baseline, published=not (args.no_published or args.per_scene))
    text = formats.FORMATS[args.format](tables, columns, per_scene=args.per_scene)
    if args.out is None:
        sys.stdout.write(text)
        return 0
    with atomic_file(args.out) as path:
        path.write_text(text, encoding="utf-8")
    say(f"{args.out}: {len(tables)} table{'s' if len(tables) > 1 else ''}")
    return 0
