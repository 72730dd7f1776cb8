"""The worst and best targets or scenes of one run, or of several side by side: one HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.options import Benchmark
from eval.protocols.framing import Framing, framed_image
from eval.protocols.geometry import true_depth
from eval.protocols.splits import divided_scene, read_split
from eval.run_folder import Store
from eval.tables.grids import known_metrics, make_grids
from eval.tables.html import START, details, heading, notes, page, panel, table
from eval.tables.metrics import METRICS as SHOWN
from eval.tables.rows import Table, make_tables, number
from geometry.atomic import atomic_file
from geometry.errors import InputError
from geometry.formats.images import read_image
from geometry.scenes.scene import Frame
from geometry.visualize import colour_confidence, colour_depth, to_bytes
from nvs.options import METRICS

_BRIGHTEST = 0.3  # mean absolute difference of colours in 0..1 at the bright end of the error map


def write_report(path: Path, text: str) -> None:
    """Write a page, in the place of an earlier one at most."""
    if path.is_file() and not path.read_bytes().startswith(START.encode()):
        raise InputError(
            f"{path}: expected no file or an earlier report, got another file; give another --out"
        )
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run, under its name in the table of all that are compared."""

    name: str
    store: Store
    reasons: dict[str, str]  # why a metric is missing
    targets: dict[tuple[str, str], dict]  # (scene, photo) -> its scores


def make_report(
    stores: Sequence[Store], benchmark: Benchmark, *, metric: str = "psnr", count: int = 4
) -> str:
    """The page of finished runs of one protocol, one column a method where there are several.

    Args:
        benchmark: the runs' data.
        metric: that decides what is worst and best, of the first run; of geometry each table's first does.
        count: targets, of geometry scenes, at either end; all of them, once, where the run has fewer.

    Raises:
        InputError: a run is not finished or lacks the metric, their protocols differ, or the data is not
            there any more.
    """
    summaries = [summary for store in stores for summary in store.summaries()]
    tables = make_tables(summaries, published=False)
    if all(summary.get("protocol", "nvs") != "nvs" for summary in summaries):
        return _geometry(stores, tables, benchmark, count)
    if len(tables) > 1:
        raise InputError(f"expected runs of one protocol, got {' | '.join(t.title for t in tables)}")
    (compared,) = tables
    runs = []
    for row, store, summary in zip(compared.rows, stores, summaries, strict=True):
        targets = {(s["scene"], t["name"]): t for s in summary["scenes"] for t in s["targets"]}
        runs.append(Run(name=row.method, store=store, reasons=summary["reasons"], targets=targets))
    first = runs[0]
    ranked = _ranked(first, metric)
    count = min(count, max(1, (len(ranked) + 1) // 2))
    worst, best = ranked[:count], ranked[count:][-count:][::-1]
    of = f"{metric} of {first.name}" if len(runs) > 1 else metric
    sections = {f"Worst targets by {of}": worst, f"Best targets by {of}": best}
    if not best:
        sections = {"Worst and best: the only target": worst}

    split = read_split(first.store.split)  # photos are compared with it again
    scenes = {scene for scene, _ in (*worst, *best)}
    divided = [divided_scene(split.scene(name), benchmark.source, "cameras") for name in scenes]
    frames = {(scene.split.name, frame.name): frame for scene in divided for frame in scene.targets}
    parts = [*_overview(compared), *_targets(runs, metric)]
    for title, chosen in sections.items():
        parts.append(heading(title))
        parts += [_side_by_side(runs, *key, frames[key], benchmark.framing) for key in chosen]
    return page(f"{', '.join(run.name for run in runs)} on {compared.benchmark}", parts)


def _geometry(stores: Sequence[Store], tables: list[Table], benchmark: Benchmark, count: int) -> str:
    """Every table of runs of geometry, and of the worst and best scenes the first photo and its depth."""
    split = read_split(stores[0].split)
    parts = [part for compared in tables for part in (heading(compared.kind), *_overview(compared))]
    first = tables[0]
    metric, (method, *_) = first.metrics[0], next(iter(first.scenes.values()))
    values = {scene: given[method].get(metric) or 0.0 for scene, given in first.scenes.items()}
    ranked = sorted(values, key=values.__getitem__, reverse=SHOWN[metric].lower)
    parts.append(heading(f"Scenes from the worst to the best by {SHOWN[metric].head} of {method}"))
    for name in ranked if len(ranked) <= 2 * count else (*ranked[:count], *ranked[-count:]):
        frame = divided_scene(split.scene(name), benchmark.source, "cameras").context[0]
        pictures = {frame.name: frame.load()}
        if frame.depth is not None:
            pictures["true depth"] = colour_depth(true_depth(frame))
        for store in stores:
            path = store.predictions(name) / "depth_0.png"
            pictures[f"depth, {store.summaries()[0]['method']}"] = read_image(path, exif=False)
        parts.append(panel(f"{name}: {number(metric, values[name])}", pictures))
    return page(f"{', '.join(row.method for row in first.rows)} on {first.benchmark}", parts)


def _ranked(run: Run, metric: str) -> list[tuple[str, str]]:
    """(scene, photo) from worst to best; a target without a finite value equals its photo: the best."""
    if any(metric not in target for target in run.targets.values()):
        raise InputError(f"--metric {metric}: missing: {run.reasons.get(metric, 'not computed')}")
    sign = -1 if metric.startswith("lpips") else 1

    def quality(key: tuple[str, str]) -> float:
        value = run.targets[key][metric]
        return float("inf") if value is None else sign * value

    return sorted(run.targets, key=quality)


def _overview(compared: Table) -> list[str]:
    """Means of every method, and of every scene."""
    metrics = known_metrics(compared)
    heads = ["method", *metrics, "weights", "licence", "commit"]
    means = [
        [row.method, *(number(m, row.values.get(m)) for m in metrics), row.weights, row.licence, row.commit]
        for row in compared.rows
    ]
    parts = [notes([compared.protocol]), table(heads, means, numbers=range(1, 1 + len(metrics)))]
    parts.append(notes(compared.notes))
    for grid in make_grids([compared], metrics, per_scene=True):
        parts.append(heading(grid.title.rpartition(": ")[2]))
        parts.append(table(grid.heads, grid.lines, numbers=grid.numbers))
    return parts


def _targets(runs: Sequence[Run], metric: str) -> list[str]:
    lines = [
        [" / ".join(key), *(_value(metric, run.targets.get(key, {})) for run in runs)]
        for key in runs[0].targets
    ]
    every = table(["target", *(run.name for run in runs)], lines, numbers=range(1, 1 + len(runs)))
    legend = [f"Error: mean absolute difference over colours, dark 0, yellow {_BRIGHTEST} or more of 0..1."]
    if len(runs) == 1:
        legend.append("Depth: near bright, far dark, grey where nothing is; each picture has its own scale.")
    return [details(f"{metric} of every target", every), notes(legend)]


def _side_by_side(runs: Sequence[Run], scene: str, name: str, frame: Frame, framing: Framing) -> str:
    """Photo, rendering, error and depth of one run; photo and, over its error, the rendering of several."""
    pictures: dict[str, np.ndarray | None] = {}
    title = f"{scene} / {name}"
    for run in runs:
        target = run.targets[scene, name]
        folder = run.store.predictions(scene)
        rendering = read_image(folder / target["render"], exif=False)
        photo = to_bytes(framed_image(frame, framing, rendering.shape[:2])[0])
        error = np.abs(photo.astype(np.float32) - rendering).mean(axis=-1) / 255
        error = colour_confidence(error, (0.0, _BRIGHTEST))
        pictures["target"] = photo
        values = ", ".join(f"{m} {_value(m, target)}" for m in METRICS if m in target)
        if len(runs) > 1:
            pictures[f"{run.name}: {values}; below, its error"] = np.concatenate((rendering, error))
            continue
        depth = folder / "depth" / target["render"]
        pictures |= {"rendering": rendering, "error": error}
        pictures["depth"] = read_image(depth, exif=False) if depth.is_file() else None
        title += f": {values}"
    return panel(title, pictures)


def _value(metric: str, target: dict) -> str:
    if metric not in target:
        return "missing"
    return "infinite" if target[metric] is None else number(metric, target[metric])
