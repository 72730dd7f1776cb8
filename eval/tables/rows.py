"""Runs and published numbers as rows of one table for each protocol."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.tables.bootstrap import Difference, paired_difference
from eval.tables.published import CITATION, PROTOCOL, PUBLISHED
from geometry.errors import InputError
from nvs.metrics import METRICS

_DECIMALS = {"psnr": 2}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method under one protocol."""

    method: str
    values: dict[str, float | None]  # metric -> mean over scenes; None: missing
    scenes: str  # "140", or "12 of 140"
    protocol: str
    weights: str
    licence: str
    commit: str
    differences: dict[str, Difference]  # from the table's baseline; empty for the baseline and the published


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
    source: str = CITATION  # of published rows

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
    tables = [_distinct(group) for group in groups.values()]
    names = {run["method"] for group in tables for run in group}
    if baseline is not None and baseline not in names:
        raise InputError(f"--baseline {baseline}: expected one of {', '.join(sorted(names))}")
    return [_table(group, baseline, published) for group in tables]


def _distinct(runs: list[dict]) -> list[dict]:
    """The runs of one table; those of one name are distinguished by their weights."""
    named = []
    for run in runs:
        alike = [other["weights"] for other in runs if other["method"] == run["method"]]
        if len(set(alike)) < len(alike):
            raise InputError(
                f"{run['benchmark']}: {run['method']!r} names two runs of one table; give them label=... "
                "(nvs-eval run with the same out= predicts nothing again)"
            )
        if len(alike) > 1:
            run = {**run, "method": f"{run['method']} ({_shortest(run['weights'], alike)})"}
        named.append(run)
    return named


def _shortest(path: str, paths: list[str]) -> str:
    """The shortest end of a path that no other one has: mostly the file's name."""
    parts = path.split("/")
    ends = ("/".join(parts[-n:]) for n in range(1, len(parts) + 1))
    others = [other for other in paths if other != path]
    return next((e for e in ends if not any(f"/{other}".endswith(f"/{e}") for other in others)), path)


def _table(runs: list[dict], baseline: str | None, published: bool) -> Table:
    first = runs[0]
    base = next((run for run in runs if run["method"] == baseline), first)
    metrics = tuple(m for m in METRICS if any(m in run["means"] for run in runs))
    # Papers say only "LPIPS"; their numbers stand in our main column, VGG.
    printed = [_published_row(p) for p in PUBLISHED if published and _as_published(first, p.benchmark)]
    return Table(
        benchmark=first["benchmark"],
        protocol=_protocol(first),
        metrics=metrics,
        rows=(*printed, *(_row(run, None if run is base else base, metrics) for run in runs)),
        baseline=base["method"] if len(runs) > 1 else None,
        notes=tuple(_notes(runs, printed, metrics, published)),
        scenes=_by_scene(runs),
    )


def _by_scene(runs: list[dict]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Means of every scene, in the first run's order."""
    means = {run["method"]: {scene["scene"]: scene["means"] for scene in run["scenes"]} for run in runs}
    return {
        scene["scene"]: {method: scenes.get(scene["scene"], {}) for method, scenes in means.items()}
        for scene in runs[0]["scenes"]
    }


def _row(run: dict, base: dict | None, metrics: tuple[str, ...]) -> Row:
    count, expected = len(run["scenes"]), run["expected_scenes"]
    return Row(
        method=run["method"],
        values={m: run["means"].get(m) for m in metrics},
        scenes=f"{count} of {expected}" if expected and count != expected else str(count),
        protocol=_protocol(run),
        weights=run["weights"],
        licence=run["licence"],
        commit=" ".join(run["commits"]),
        differences={} if base is None else _differences(run, base, metrics),
    )


def _differences(run: dict, base: dict, metrics: tuple[str, ...]) -> dict[str, Difference]:
    """Of every metric that both runs have in all scenes; one split, so the scenes are the same."""
    found = {}
    for metric in metrics:
        if run["means"].get(metric) is None or base["means"].get(metric) is None:
            continue
        theirs = {scene["scene"]: scene["means"][metric] for scene in base["scenes"]}
        pairs = [(scene["means"][metric], theirs[scene["scene"]]) for scene in run["scenes"]]
        found[metric] = paired_difference(*np.transpose(pairs))
    return found


def _published_row(numbers: Any) -> Row:
    return Row(
        method=numbers.method,
        values={"psnr": numbers.psnr, "ssim": numbers.ssim, "lpips_vgg": numbers.lpips},
        scenes="-",
        protocol=f"{CITATION}; split not published",
        weights="published",
        licence="-",
        commit="-",
        differences={},
    )


def _as_published(run: dict, benchmark: str) -> bool:
    """Whether printed numbers of that benchmark are of the run's protocol, as far as the paper states it."""
    return (
        run["benchmark"] == benchmark
        and run["poses"] == PROTOCOL["poses"]
        and run["context_poses"] == PROTOCOL["context_poses"]
        and run["sizes"] == [PROTOCOL["size"]]
        and run["rule"]["context"] == PROTOCOL["context"]
    )


def _protocol(run: dict) -> str:
    """All that runs of one table must share, as a person reads it."""
    views = "-".join(map(str, sorted({run["context_views"][0], run["context_views"][-1]})))
    heights = [f"{H}x{W}" for H, W in run["sizes"]]
    parts = [
        f"poses {run['poses']}",
        f"context {run['context_poses']}",
        f"{views} views",
        heights[0] if len(heights) == 1 else f"{len(heights)} sizes",
        run["fit"],
        f"split {run['split'][:8]}",
    ]
    if not run["undistort"]:
        parts.insert(5, "distorted")
    if run["photometric"]:
        parts.insert(1, f"{run['photometric']['steps']} steps of {run['photometric']['learning_rate']:g}")
    return ", ".join(parts)


def _notes(runs: list[dict], printed: list[Row], metrics: tuple[str, ...], published: bool) -> list[str]:
    notes = []
    if printed:
        notes.append(
            f"Published numbers are {CITATION}'s; its split, LPIPS net and SSIM window are not stated. They "
            "are not reproduced here."
        )
    elif published and any(p.benchmark == runs[0]["benchmark"] for p in PUBLISHED):
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


def number(metric: str, value: float | None) -> str:
    """A metric as printed; "missing" where there is none."""
    if value is None:
        return "missing"
    return f"{value:.{_DECIMALS.get(metric, 3)}f}" if math.isfinite(value) else str(value)


def signed(metric: str, value: float | None) -> str:
    """A difference as printed; "-" where there is none."""
    return "-" if value is None else f"{value:+.{_DECIMALS.get(metric, 3)}f}"
