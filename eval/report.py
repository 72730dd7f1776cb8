"""The worst and best targets of a run beside the photos, as one HTML page."""

from pathlib import Path

import numpy as np

from eval.options import Benchmark
from eval.protocols.framing import Framing, framed_image
from eval.protocols.splits import divided_scene, read_split
from eval.run_folder import Store, read_json
from eval.tables.html import START, Panel, heading, notes, page, panel, table
from eval.tables.rows import make_tables, number
from geometry.atomic import atomic_file
from geometry.errors import InputError
from geometry.formats.images import read_image
from geometry.scenes.scene import Frame
from geometry.visualize import colour_confidence, to_bytes
from nvs.metrics import METRICS

_BRIGHTEST = 0.3  # mean absolute difference of colours in 0..1 at the bright end of the error map


def write_report(path: Path, text: str) -> None:
    """Write a page, in the place of an earlier one at most.

    Raises:
        InputError: another file is there.
    """
    if path.is_file() and not path.read_bytes().startswith(START.encode()):
        raise InputError(
            f"{path}: expected no file or an earlier report, got another file; give another --out"
        )
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def make_report(store: Store, benchmark: Benchmark, *, metric: str = "psnr", count: int = 4) -> str:
    """The page of a finished run.

    Args:
        benchmark: the run's data.
        metric: that decides what is worst and best.
        count: targets at either end; all of them, once, where the run has fewer.

    Raises:
        InputError: the run is not finished, lacks the metric, or its data is not there any more.
    """
    summary = read_json(store.summary)
    ranked = _ranked(summary, metric)
    worst = ranked[:count]
    best = ranked[count:][-count:][::-1]
    frames = _photos(store, benchmark, {scene for scene, _ in (*worst, *best)})
    parts = [*_overview(summary)]
    for title, chosen in (("Worst targets", worst), ("Best targets", best)):
        if chosen:
            parts.append(heading(f"{title} by {metric}"))
        for scene, target in chosen:
            frame = frames[scene][target["name"]]
            parts.append(panel(_side_by_side(store, scene, target, frame, benchmark.framing)))
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


def _photos(store: Store, benchmark: Benchmark, scenes: set[str]) -> dict[str, dict[str, Frame]]:
    """Target frames of the scenes by name, held against the split again."""
    split = read_split(store.split)
    divided = {name: divided_scene(split.scene(name), benchmark.source, "cameras") for name in scenes}
    return {name: {frame.name: frame for frame in scene.targets} for name, scene in divided.items()}


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
