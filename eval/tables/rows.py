"""Runs and published numbers as rows of one table for each protocol."""

import math
from dataclasses import dataclass, field

import numpy as np

from eval.tables.bootstrap import Difference, paired_difference
from eval.tables.published import CITATION, PROTOCOL, PUBLISHED
from geometry.errors import InputError
from nvs.options import METRICS


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
        groups.setdefault(f"{_protocol(run)} {run['split']} {run['sizes']}", []).append(run)
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
    stated = {"poses": first["poses"], "context_poses": first["context_poses"], "sizes": first["sizes"]}
    as_printed = published and stated | {"context": first["rule"]["context"]} == PROTOCOL
    # Papers say only "LPIPS"; their numbers stand in our main column, VGG.
    columns, protocol = ("psnr", "ssim", "lpips_vgg"), f"{CITATION}; split not published"
    printed = [
        Row(method=method, values=dict(zip(columns, values)), protocol=protocol, weights="published")
        for method, values in PUBLISHED.get(first["benchmark"], {}).items()
        if as_printed
    ]
    return Table(
        benchmark=first["benchmark"],
        protocol=_protocol(first),
        metrics=metrics,
        rows=(*printed, *(_row(run, base, metrics) for run in runs)),
        baseline=base["method"] if len(runs) > 1 else None,
        notes=tuple(_notes(runs, printed, metrics, published)),
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
        protocol=_protocol(run),
        weights=run["weights"],
        licence=run["licence"],
        commit=" ".join(run["commits"]),
        differences=differences,
    )


def _protocol(run: dict) -> str:
    """All that runs of one table must share, as a person reads it."""
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


def _notes(runs: list[dict], printed: list[Row], metrics: tuple[str, ...], published: bool) -> list[str]:
    notes = []
    if printed:
        notes.append(
            f"Published numbers are {CITATION}'s; its split, LPIPS net and SSIM window are not stated. They "
            "are not reproduced here."
        )
    elif published and runs[0]["benchmark"] in PUBLISHED:
        notes.append("Published numbers are left out: they are of another protocol.")
    if runs[0]["poses"] == "photometric":
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
    return f"{value:{sign}.{2 if metric == 'psnr' else 3}f}" if math.isfinite(value) else str(value)
