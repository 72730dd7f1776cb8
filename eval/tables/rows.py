"""Runs and published numbers as rows of one table for each protocol."""

import math
from dataclasses import dataclass, field

import numpy as np

from eval.tables.bootstrap import Difference, paired_difference
from eval.tables.metrics import METRICS, Metric
from eval.tables.published import Published, published_for, sets_with_numbers
from geometry.errors import InputError

KINDS = {
    "nvs": "View synthesis",
    "pose": "Camera poses",
    "reconstruction": "Reconstruction",
    "depth": "Depth of photos seen together",
    "mono": "Depth of single photos",
    "speed": "Speed",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method under one protocol."""

    method: str
    values: dict[str, float | None]  # metric -> mean over scenes; None: missing
    protocol: str
    weights: str
    scenes: str = "-"  # "140", or "12 of 140"
    licence: str = "-"
    commit: str = "-"
    differences: dict[str, Difference] = field(default_factory=dict)  # from the table's baseline


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows that may be compared, for they share benchmark, split and protocol."""

    benchmark: str
    kind: str  # of question
    protocol: str  # what all runs of the table share
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    baseline: str | None  # method that differences are from
    notes: tuple[str, ...]
    scenes: dict[str, dict[str, dict[str, float | None]]]  # scene -> method -> metric -> mean

    @property
    def title(self) -> str:
        return f"{self.benchmark}, {self.protocol}"


def make_tables(runs: list[dict], *, baseline: str | None = None, published: bool = True) -> list[Table]:
    """One table for each protocol among the runs, in order of first appearance.

    Args:
        runs: contents of ``scores.json``.
        baseline: method that differences are from; None takes each table's first run.
        published: put printed numbers of the same protocol in front.

    Raises:
        InputError: no run has the baseline, or two runs of a table have one name and the same weights.
    """
    groups: dict[str, list[dict]] = {}
    for run in runs:
        groups.setdefault(f"{protocol_line(run)} {run['split']} {run['sizes']}", []).append(run)
    tables = [[{**run, "method": _name(run, group)} for run in group] for group in groups.values()]
    names = {run["method"] for group in tables for run in group}
    if baseline is not None and baseline not in names:
        raise InputError(f"--baseline {baseline}: expected one of {', '.join(sorted(names))}")
    return [_table(group, baseline, published) for group in tables]


def _name(run: dict, runs: list[dict]) -> str:
    """A run's name in its table; those of one name are distinguished by the ends of their weights' paths."""
    method, path = run["method"], run["weights"]
    alike = [other["weights"] for other in runs if other["method"] == method]
    if len(set(alike)) < len(alike):
        raise InputError(
            f"{run['benchmark']}: {method!r} names two runs of one table; give them label=... "
            "(nvs-eval run with the same out= predicts nothing again)"
        )
    if len(alike) == 1:
        return method
    parts = path.split("/")
    ends = ("/".join(parts[-n:]) for n in range(1, len(parts) + 1))
    others = [f"/{other}" for other in alike if other != path]
    return f"{method} ({next((e for e in ends if not any(o.endswith(f'/{e}') for o in others)), path)})"


def _table(runs: list[dict], baseline: str | None, published: bool) -> Table:
    first = runs[0]
    base = next((run for run in runs if run["method"] == baseline), first)
    metrics = tuple(m for m in METRICS if any(m in run["means"] for run in runs))
    means = {run["method"]: {scene["scene"]: scene["means"] for scene in run["scenes"]} for run in runs}
    sources = published_for(first) if published else []
    printed = [
        Row(method=method, values=values, protocol=source.citation, weights="published")
        for source in sources
        for method, values in source.rows.items()
    ]
    return Table(
        benchmark=first["benchmark"],
        kind=KINDS[first.get("protocol", "nvs")],
        protocol=protocol_line(first),
        metrics=tuple(m for m in METRICS if m in metrics or any(m in row.values for row in printed)),
        rows=(*printed, *(_row(run, base, metrics) for run in runs)),
        baseline=base["method"] if len(runs) > 1 else None,
        notes=tuple(_notes(runs, sources, metrics, published)),
        scenes={
            name: {method: scenes.get(name, {}) for method, scenes in means.items()}
            for name in means[first["method"]]
        },
    )


def _row(run: dict, base: dict, metrics: tuple[str, ...]) -> Row:
    count = len(run["scenes"])
    expected = run["expected_scenes"] or count + len(run.get("failed", ()))
    differences = {}
    for metric in metrics if run is not base else ():  # of one split
        if run["means"].get(metric) is not None and base["means"].get(metric) is not None:
            theirs = {scene["scene"]: scene["means"][metric] for scene in base["scenes"]}
            ours = [scene for scene in run["scenes"] if scene["scene"] in theirs]
            pairs = [(scene["means"][metric], theirs[scene["scene"]]) for scene in ours]
            differences[metric] = paired_difference(*np.transpose(pairs))
    return Row(
        method=run["method"],
        values={m: run["means"].get(m) for m in metrics},
        scenes=f"{count} of {expected}" if count != expected else str(count),
        protocol=protocol_line(run),
        weights=run["weights"],
        licence=run["licence"],
        commit=" ".join(run["commits"]),
        differences=differences,
    )


def protocol_line(run: dict) -> str:
    """All that runs of one table must share, as a person reads it."""
    kind = run.get("protocol", "nvs")
    if kind != "nvs":
        return ", ".join([kind, *run["line"], *([f"split {run['split'][:8]}"] if run["split"] else [])])
    views = "-".join(map(str, sorted({run["context_views"][0], run["context_views"][-1]})))
    sizes = [f"{H}x{W}" for H, W in run["sizes"]]
    moved = run["photometric"]
    parts = [
        f"poses {run['poses']}",
        f"{moved['steps']} steps of {moved['learning_rate']:g}" if moved else None,
        f"context {run['context_poses']}",
        f"{views} views",
        sizes[0] if len(sizes) == 1 else f"{len(sizes)} sizes",
        run["fit"],
        None if run["undistort"] else "distorted",
        f"split {run['split'][:8]}",
    ]
    return ", ".join(part for part in parts if part)


def _notes(
    runs: list[dict], printed: list[Published], metrics: tuple[str, ...], published: bool
) -> list[str]:
    notes = [f"† Published numbers, {source.note} They are not reproduced here." for source in printed]
    if not printed and published and runs[0]["benchmark"] in sets_with_numbers(runs[0]):
        notes.append("Published numbers are left out: they are of another protocol.")
    notes += [f"{run['method']}: {run['audit']}" for run in runs if run.get("audit")]
    if runs[0].get("poses") == "photometric":
        notes.append("photometric reads the target photos: never compare it with other pose modes.")
    reasons = {m: run["reasons"][m] for m in metrics for run in runs if m in run["reasons"]}
    if reasons:
        notes.append(missing_line(reasons))
    notes += [
        f"{run['method']}: {run['weights']}; its numbers say nothing about the method"
        for run in runs
        if not run["trained"]
    ]
    if runs[0]["benchmark"] == "megadepth":
        notes.append(
            "MegaDepth's scenes 5000 to 5018 appear to be places of Tanks and Temples: the two may overlap."
        )
    return notes


def missing_line(reasons: dict[str, str]) -> str:
    """Why metrics are missing, in one line."""
    return "missing: " + "; ".join(f"{metric}: {reason}" for metric, reason in reasons.items())


def number(metric: str, value: float | None, sign: str = "") -> str:
    """A metric as printed, with its sign where ``sign`` is "+"; "missing" where there is none."""
    if value is None:
        return "missing"
    stated = METRICS.get(metric, Metric(metric))  # a further metric of `nvs-eval sensitivity`
    value *= stated.factor
    return f"{value:{sign}.{stated.digits}f}" if math.isfinite(value) else str(value)
