"""`nvs-eval report`: the worst and best targets of a run, side by side with the photos."""

import argparse
from pathlib import Path

import numpy as np

from eval.commands.run import divided_scene, framing_of
from eval.protocols.framing import Framing, framed_image
from eval.protocols.splits import read_split
from eval.run_folder import Store, read_json
from eval.tables.html import START, Panel, heading, notes, page, panel, table
from eval.tables.rows import METRICS, make_tables, number
from geometry.atomic import atomic_file
from geometry.commands.arguments import positive
from geometry.commands.configuration import instantiate
from geometry.errors import InputError, run_command
from geometry.formats.images import read_image
from geometry.scenes.scene import Frame
from geometry.visualize import colour_confidence, to_bytes

DESCRIPTION = """The targets of a run with the lowest and highest scores, photo, rendering, error and depth,
in one HTML file that needs nothing else."""
_BRIGHTEST = 0.3  # mean absolute difference of colours in 0..1 at the bright end of the error map


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
    out = store.folder / "report.html" if args.out is None else args.out
    if out.is_file() and not out.read_bytes().startswith(START.encode()):
        raise InputError(
            f"{out}: expected no file or an earlier report, got another file; give another --out"
        )
    text = make_report(store, metric=args.metric, count=args.count, root=args.root)
    with atomic_file(out) as path:
        path.write_text(text, encoding="utf-8")
    print(out)
    return 0


def make_report(store: Store, *, metric: str = "psnr", count: int = 4, root: str | None = None) -> str:
    """The page of a finished run.

    Args:
        metric: that decides what is worst and best.
        count: targets at either end; all of them, once, where the run has fewer.
        root: folder of the data; None takes the one of the run.

    Raises:
        InputError: the run is not finished, lacks the metric, or its data is not there any more.
    """
    summary = read_json(store.summary)
    ranked = _ranked(summary, metric)
    worst = ranked[:count]
    best = ranked[count:][-count:][::-1]
    frames, framing = _photos(store, {scene for scene, _ in (*worst, *best)}, root)
    parts = [*_overview(summary)]
    for title, chosen in (("Worst targets", worst), ("Best targets", best)):
        if chosen:
            parts.append(heading(f"{title} by {metric}"))
        for scene, target in chosen:
            frame = frames[scene][target["name"]]
            parts.append(panel(_side_by_side(store, scene, target, frame, framing)))
    return page(f"{summary['method']} on {summary['benchmark']}", parts)


def _ranked(summary: dict, metric: str) -> list[tuple[str, dict]]:
    """(scene, target) from worst to best; a target without a finite value equals its photo: the best."""
    targets = [(scene["scene"], target) for scene in summary["scenes"] for target in scene["targets"]]
    if any(metric not in target for _, target in targets):
        raise InputError(f"--metric {metric}: missing: {summary['reasons'].get(metric, 'not computed')}")
    sign = -1 if metric.startswith("lpips") else 1

    def quality(item: tuple[str, dict]) -> float:
        value = item[1][metric]
        return float("inf") if value is None else sign * value

    return sorted(targets, key=quality)


def _photos(store: Store, scenes: set[str], root: str | None) -> tuple[dict[str, dict[str, Frame]], Framing]:
    """Target frames of the scenes by name, held against the split again, and how they are framed."""
    from omegaconf import OmegaConf

    benchmark = OmegaConf.create(read_json(store.benchmark))
    if root is not None:
        benchmark.source.root = root
    source = instantiate(benchmark.source)
    split = read_split(store.split)
    frames = {}
    for name in scenes:
        divided = divided_scene(split, name, source, "cameras")
        frames[name] = {frame.name: frame for frame in divided.targets}
    return frames, framing_of(benchmark)


def _overview(summary: dict) -> list[str]:
    """The run's row of a table, its notes, and a line per scene."""
    (made,) = make_tables([summary], published=False)
    row = made.rows[0]
    facts = [("protocol", row.protocol), ("weights", row.weights), ("licence", row.licence)]
    facts.append(("commit", row.commit))
    values = [[m, number(m, row.values[m])] for m in made.metrics]
    heads = ["scene", *made.metrics, "targets"]
    scenes = [
        [
            scene["scene"],
            *(number(m, scene["means"].get(m)) for m in made.metrics),
            str(len(scene["targets"])),
        ]
        for scene in summary["scenes"]
    ]
    return [
        table(["", ""], [*facts, *values]),
        notes(made.notes),
        table(heads, scenes, numbers=range(1, len(heads))),
        notes(
            [
                f"Error: mean absolute difference over colours, dark 0, yellow {_BRIGHTEST} or more of 0..1.",
                "Depth: near bright, far dark, grey where nothing is; each picture has its own scale.",
            ]
        ),
    ]


def _side_by_side(store: Store, scene: str, target: dict, frame: Frame, framing: Framing) -> Panel:
    folder = store.predictions(scene)
    rendering = read_image(folder / target["render"], exif=False)
    photo = to_bytes(framed_image(frame, framing, rendering.shape[:2])[0])
    error = np.abs(photo.astype(np.float32) - rendering).mean(axis=-1) / 255
    depth = folder / "depth" / target["render"]
    values = [
        f"{m} {'infinite' if target[m] is None else number(m, target[m])}" for m in METRICS if m in target
    ]
    return Panel(
        title=f"{scene} / {target['name']}: {', '.join(values)}",
        pictures={
            "target": photo,
            "rendering": rendering,
            "error": colour_confidence(error, (0.0, _BRIGHTEST)),
            "depth": read_image(depth, exif=False) if depth.is_file() else None,
        },
    )
