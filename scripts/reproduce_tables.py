"""The DA3 paper's Tables 2 to 5 for one size, from downloaded sets to a page of differences, unattended:

    python scripts/reproduce_tables.py large --data ROOT --out OUT

ROOT holds a folder for each set under the name of its benchmark (hiroom, eth3d, dtu, dtu64, 7scenes,
scannetpp, kitti, nyu, sintel, diode, dl3dv, tanks, megadepth); sets that are not there are left
out, and the page says so.
A second start resumes. Words after ``--`` go to every nvs-eval run: ``-- device=cuda process_res=504``.
OUT/tables.md: our number, the published one, the difference; OUT/all.md: what nvs-eval table prints.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from eval.__main__ import main as nvs_eval
from eval.run_folder import Store
from eval.tables.formats import markdown, markdown_rows
from eval.tables.metrics import METRICS
from eval.tables.published import published_for
from eval.tables.rows import make_tables, number
from geometry.atomic import atomic_file
from geometry.errors import run_command
from geometry.formats.text import read_object

# Table -> protocol, further words, benchmarks, metrics.
TABLES = {
    "2": ("pose", [[]], ("hiroom", "eth3d", "dtu64", "7scenes", "scannetpp"), ("auc3", "auc30")),
    "3": (
        "reconstruction",
        [[], ["context_poses=given"]],
        ("hiroom", "eth3d", "dtu", "7scenes", "scannetpp"),
        ("fscore", "overall"),
    ),
    "4": ("mono", [[]], ("kitti", "nyu", "sintel", "eth3d", "diode"), ("delta1",)),
    "5": ("nvs", [[]], ("dl3dv", "tanks", "megadepth"), ("psnr", "ssim", "lpips_vgg")),
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="small, base, large, giant, or weights as nvs render --model")
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", help="whose published row: small, base, large, giant (default: the model)")
    parser.add_argument("--tables", nargs="+", choices=tuple(TABLES), default=list(TABLES))
    argv = sys.argv[1:] if argv is None else argv
    end = argv.index("--") if "--" in argv else len(argv)
    args, words_of_all = parser.parse_args(argv[:end]), argv[end + 1 :]
    parts, summaries, failed = [], [], False
    for table in args.tables:
        lines, missing = [], []
        protocol, variants, benchmarks, metrics = TABLES[table]
        for name in benchmarks:
            root = args.data / name
            if not root.is_dir():
                missing.append(f"{name}: not below {args.data.name}/")
                continue
            for variant in variants:
                # Pose and reconstruction without poses share a folder, so that a scene is predicted once.
                kind = (
                    "posed" if variant else "geometry" if protocol in ("pose", "reconstruction") else protocol
                )
                out = args.out / args.model.replace("/", "_").replace(":", "_") / kind / name
                words = [f"protocol={protocol}", f"benchmark={name}", f"benchmark.root={root}", f"out={out}"]
                if nvs_eval(["run", *words, f"model={args.model}", *variant, *words_of_all]):
                    missing.append(f"{name}: the run failed, see above")
                    failed = True
                    continue
                summary = read_object(Store(out, protocol).summary, "a run's scores")
                summaries.append(summary)
                lines += compared(summary, metrics, args.size or args.model)
        heads = ["set", "context", "metric", "ours", "published", "difference", "scenes"]
        body = markdown_rows(heads, lines, "llrrrr") if lines else ["No set was there."]
        parts.append(
            "\n".join([f"## Table {table}: {protocol}", "", *body, "", *(f"- {m}" for m in missing)])
        )
    args.out.mkdir(parents=True, exist_ok=True)
    note = "Published: the DA3 paper's own; not measured here. A difference is ours minus theirs, as printed."
    pages = {"tables.md": "\n\n".join([f"# {args.model}", note, *parts]) + "\n"}
    if summaries:
        pages["all.md"] = markdown(make_tables(summaries))
    for name, text in pages.items():
        with atomic_file(args.out / name) as path:
            path.write_text(text, encoding="utf-8")
    print(pages["tables.md"])
    return 1 if failed else 0


def compared(summary: dict, metrics: tuple[str, ...], size: str) -> list[list[str]]:
    """Lines of one run: its numbers beside those that were published of the size, or of DA3."""
    theirs: dict[str, float | None] = {}
    for source in published_for(summary):
        named = next((n for n in (f"DA3-{size.capitalize()}", "DA3") if n in source.rows), None)
        theirs |= source.rows[named] if named else {}
    count, expected = len(summary["scenes"]), summary["expected_scenes"]
    scenes = f"{count} of {expected}" if expected and expected != count else str(count)
    lines = []
    for metric in metrics:
        ours, printed = summary["means"].get(metric), theirs.get(metric)
        if ours is None and printed is None:
            continue
        difference = None if ours is None or printed is None else ours - printed
        cells = [number(metric, ours), number(metric, printed) if printed is not None else "-"]
        cells.append("-" if difference is None else number(metric, difference, "+"))
        head = METRICS[metric].head
        lines.append([summary["benchmark"], summary["context_poses"], head, *cells, scenes])
    return lines


if __name__ == "__main__":
    sys.exit(run_command(main))
