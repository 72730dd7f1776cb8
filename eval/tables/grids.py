"""Tables as they are printed: one line a method, or one line a scene and one column a method."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from eval.tables.bootstrap import LEAST_SCENES, Difference
from eval.tables.rows import Row, Table, number, signed
from geometry.errors import InputError
from nvs.metrics import METRICS

_HEADS = {"psnr": "PSNR", "ssim": "SSIM", "lpips_vgg": "LPIPS (VGG)", "lpips_alex": "LPIPS (Alex)"}
MEANINGS = ("scenes", "protocol", "weights", "licence", "commit")
COLUMNS = (*METRICS, "difference", *MEANINGS)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table as printed."""

    title: str
    caption: str
    heads: list[str]
    lines: list[list[str]]
    numbers: range  # columns of numbers
    metrics: list[str | None]  # what each column measures, for arrows
    best: set[tuple[int, int]]  # (line, column) of the best values, where there are several to compare
    notes: list[str]


def require_columns(columns: Sequence[str] | None) -> None:
    """Refuse what is no column.

    Raises:
        InputError: the message names it.
    """
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
        made = _scene_grids(table, columns, notes) if per_scene else [_method_grid(table, columns, notes)]
        grids += made
    return grids


def _method_grid(table: Table, columns: Sequence[str], notes: list[str]) -> Grid:
    """One line a method."""
    metrics = [m for m in METRICS if m in columns and any(_known(row, m) for row in table.rows)]
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
    best = {
        (i, j)
        for j, metric in enumerate(metrics, start=1)
        for i in _best(metric, [row.values.get(metric) for row in table.rows])
    }
    if compared and len(table.scenes) < LEAST_SCENES:
        notes = [*notes, f"No interval of differences: it takes {LEAST_SCENES} scenes or more."]
    return Grid(
        title=table.title,
        caption=_caption(table, metrics, best),
        heads=[
            "method",
            *(_HEADS[m] for m in metrics),
            *(f"{_HEADS[m]} - {table.baseline}{interval}" for m in compared),
            *meanings,
        ],
        lines=lines,
        numbers=range(1, 1 + len(metrics)),
        metrics=[None, *metrics, *([None] * (len(compared) + len(meanings)))],
        best=best,
        notes=notes,
    )


def _scene_grids(table: Table, columns: Sequence[str], notes: list[str]) -> list[Grid]:
    """One line a scene and one column a method, for each metric."""
    grids: list[Grid] = []
    methods = list(next(iter(table.scenes.values())))
    for metric in (m for m in METRICS if m in columns):
        values = [[given[m].get(metric) for m in methods] for given in table.scenes.values()]
        if all(value is None for line in values for value in line):
            continue
        lines = [
            [s, *(number(metric, v) for v in line)] for s, line in zip(table.scenes, values, strict=True)
        ]
        arrow = "lower" if metric.startswith("lpips") else "higher"
        grids.append(
            Grid(
                title=f"{table.title}: {_HEADS[metric]} per scene",
                caption=f"{_HEADS[metric]} on {table.benchmark} ({arrow} is better): {table.protocol}.",
                heads=["scene", *methods],
                lines=lines,
                numbers=range(1, 1 + len(methods)),
                metrics=[None] * (1 + len(methods)),
                best={(i, 1 + j) for i, line in enumerate(values) for j in _best(metric, line)},
                notes=[] if grids else notes,
            )
        )
    return grids


def _best(metric: str, values: Sequence[float | None]) -> list[int]:
    """Indices of the best values as printed, equal ones included; none where there is one value alone."""
    known = {i: float(number(metric, v)) for i, v in enumerate(values) if v is not None and math.isfinite(v)}
    if len(known) < 2:
        return []
    best = (min if metric.startswith("lpips") else max)(known.values())
    return [i for i, value in known.items() if value == best]


def paper_metrics(table: Table) -> list[str]:
    """PSNR, SSIM and one LPIPS, of those that a run has."""
    found = [m for m in METRICS if any(_known(row, m) for row in table.rows if row.weights != "published")]
    lpips = [m for m in found if m.startswith("lpips")]
    return [m for m in found if m not in lpips[1:]]


def _known(row: Row, metric: str) -> bool:
    return row.values.get(metric) is not None


def _caption(table: Table, metrics: Sequence[str], best: set) -> str:
    """What a reader of a paper must know of the numbers."""
    count = table.rows[-1].scenes
    scenes = f"{count} scene{'' if count == '1' else 's'}"
    text = f"View synthesis on {table.benchmark}, {scenes}: {table.protocol}."
    nets = {"lpips_vgg": "VGG", "lpips_alex": "AlexNet"}
    found = [nets[m] for m in metrics if m in nets]
    text += f" LPIPS: {' and '.join(found)}." if found else ""
    if any(row.weights == "published" for row in table.rows):
        text += f" †As printed in the {table.source}; its split is not published."
    return text + (" Best in bold." if best else "")


def _interval(metric: str, difference: Difference | None) -> str:
    if difference is None:
        return ""
    mean, low, high = (signed(metric, value) for value in difference[:3])
    return mean if difference.low is None else f"{mean} [{low}, {high}]"
