"""Tables as they are printed: one line a method, or one line a scene and one column a method."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eval.tables import COLUMNS, MEANINGS
from eval.tables.bootstrap import LEAST_SCENES, Difference
from eval.tables.metrics import METRICS
from eval.tables.rows import Table, number
from geometry.errors import InputError

_NETS = {"lpips_vgg": "VGG", "lpips_alex": "AlexNet"}


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table as printed."""

    title: str
    caption: str
    heads: list[str]
    lines: list[list[str]]
    numbers: range  # columns of numbers
    metrics: Sequence[str] = ()  # what the columns of numbers measure, where each is a metric of its own
    best: set[tuple[int, int]]  # (line, column) of the best values, where there are several to compare
    notes: list[str]


def require_columns(columns: Sequence[str] | None) -> None:
    """Refuse what is no column."""
    unknown = [name for name in columns or () if name not in COLUMNS]
    if unknown:
        raise InputError(f"--columns: expected some of {', '.join(COLUMNS)}, got {', '.join(unknown)}")


def make_grids(tables: list[Table], columns: Sequence[str], per_scene: bool) -> list[Grid]:
    """Tables as printed; what is said of a missing metric is said once."""
    grids, said = [], set()
    for table in tables:
        wanted = any(m in columns and None in (r.values.get(m) for r in table.rows) for m in table.metrics)
        notes = [n for n in table.notes if not n.startswith("missing") or (wanted and n not in said)]
        said |= set(notes)
        grids += (_scene_grids if per_scene else _method_grids)(table, columns, notes)
    return grids


def known_metrics(table: Table, *, measured: bool = False) -> list[str]:
    """Metrics that a row has a value of; ``measured``: one that is not published."""
    rows = [row for row in table.rows if not (measured and row.weights == "published")]
    return [m for m in METRICS if any(row.values.get(m) is not None for row in rows)]


def paper_metrics(table: Table) -> list[str]:
    """PSNR, SSIM and one LPIPS, of those that a run has."""
    found = known_metrics(table, measured=True)
    lpips = [m for m in found if m.startswith("lpips")]
    return [m for m in found if m not in lpips[1:]]


def _method_grids(table: Table, columns: Sequence[str], notes: list[str]) -> list[Grid]:
    """One line a method."""
    metrics = [m for m in known_metrics(table) if m in columns]
    compared = [m for m in metrics if "difference" in columns and any(m in r.differences for r in table.rows)]
    meanings = [name for name in MEANINGS if name in columns]
    lines = []
    for row in table.rows:
        published = row.weights == "published"
        values = ["-" if published and m not in row.values else number(m, row.values.get(m)) for m in metrics]
        differences = [_interval(m, row.differences.get(m)) for m in compared]
        stated = [getattr(row, name) for name in meanings]
        lines.append([row.method + ("†" if published else ""), *values, *differences, *stated])
    interval = " [95 %]" if any(d.low is not None for r in table.rows for d in r.differences.values()) else ""
    differences = [f"{METRICS[m].head} - {table.baseline}{interval}" for m in compared]
    best = _best([(m, [row.values.get(m) for row in table.rows]) for m in metrics])
    if compared and len(table.scenes) < LEAST_SCENES:
        notes = [*notes, f"No interval of differences: it takes {LEAST_SCENES} scenes or more."]
    count = table.rows[-1].scenes
    nets = " and ".join(_NETS[m] for m in metrics if m in _NETS)
    caption = (
        f"{table.kind} on {table.benchmark}, {count} scene{'' if count == '1' else 's'}: {table.protocol}."
        + (f" LPIPS: {nets}." if nets else "")
        + (f" †As printed in the {table.rows[0].protocol}." if table.rows[0].weights == "published" else "")
        + (" Best in bold." if best else "")
    )
    return [
        Grid(
            title=table.title,
            caption=caption,
            heads=["method", *(METRICS[m].head for m in metrics), *differences, *meanings],
            lines=lines,
            numbers=range(1, 1 + len(metrics)),
            metrics=metrics,
            best=best,
            notes=notes,
        )
    ]


def _scene_grids(table: Table, columns: Sequence[str], notes: list[str]) -> list[Grid]:
    """One line a scene and one column a method, for each metric."""
    grids: list[Grid] = []
    methods = list(next(iter(table.scenes.values())))
    for metric in (m for m in METRICS if m in columns):
        values = [[given[m].get(metric) for m in methods] for given in table.scenes.values()]
        if all(value is None for line in values for value in line):
            continue
        arrow = "lower" if METRICS[metric].lower else "higher"
        grids.append(
            Grid(
                title=f"{table.title}: {METRICS[metric].head} per scene",
                caption=f"{METRICS[metric].head} on {table.benchmark} ({arrow} is better): {table.protocol}.",
                heads=["scene", *methods],
                lines=[[s, *(number(metric, v) for v in line)] for s, line in zip(table.scenes, values)],
                numbers=range(1, 1 + len(methods)),
                best={(line - 1, column + 1) for column, line in _best((metric, v) for v in values)},
                notes=[] if grids else notes,
            )
        )
    return grids


def _best(columns: Iterable[tuple[str, list[float | None]]]) -> set[tuple[int, int]]:
    """(index, column from 1) of each metric's best values as printed, where there are several values."""
    found = set()
    for j, (metric, values) in enumerate(columns, start=1):
        finite = {i: v for i, v in enumerate(values) if v is not None and math.isfinite(v)}
        printed = {i: float(number(metric, v)) for i, v in finite.items()}
        best = (min if METRICS[metric].lower else max)(printed.values(), default=None)
        found |= {(i, j) for i, value in printed.items() if value == best and len(printed) > 1}
    return found


def _interval(metric: str, difference: Difference | None) -> str:
    if difference is None:
        return ""
    mean, low, high = (number(metric, value, "+") for value in difference[:3])
    return mean if difference.low is None else f"{mean} [{low}, {high}]"
