"""Summary of a run: the JSON that tables and reports read, and the lines that are printed."""

from eval.methods.base import About
from eval.options import RunOptions
from eval.protocols.splits import Split, checksum
from eval.tables.rows import missing_line, protocol_line


def summarise(options: RunOptions, about: About, split: Split, scores: list[dict]) -> dict[str, object]:
    """Content of ``scores.json``, from the scores of every scene."""
    means, reasons = mean_over_scenes(scores)
    protocol = options.protocol
    return {
        "benchmark": options.benchmark.name,
        "method": options.label or about.name,
        "weights": about.weights,
        "licence": about.licence,
        "trained": about.trained,
        "protocol": protocol.name,
        **protocol.stated(),
        "line": _line(protocol.stated(), split),
        "sizes": [list(size) for size in sorted({tuple(scene["size"]) for scene in scores})],
        "split": checksum(split),
        "rule": split.rule.as_json(),
        "context_views": sorted({len(scene.context) for scene in split.scenes}),
        "expected_scenes": options.benchmark.expected_scenes,
        "commits": sorted({scene["commit"] for scene in scores}),
        "means": means,
        "reasons": reasons,
        "predict_s": round(sum(scene["predict_s"] for scene in scores), 2),
        "scenes": scores,
    }


def _line(stated: dict, split: Split) -> list[str]:
    """What a table's title says of a protocol of geometry."""
    limit = split.rule.as_json().get("limit")
    return [
        f"context {stated['context_poses']}",
        *([f"{stated['process_res']} px"] if "process_res" in stated else []),
        *([f"at most {limit} photos"] if limit else []),
    ]


def mean_over_scenes(scenes: list[dict]) -> tuple[dict[str, float | None], dict[str, str]]:
    """Mean of the scenes' means by their weights, and for each metric that has none the reason."""
    means: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for name in scenes[0]["means"]:
        without = [scene for scene in scenes if scene["means"][name] is None]
        if without:
            means[name] = None
            reasons[name] = without[0]["reasons"][name]
        else:
            weights = [scene.get("weight", 1) for scene in scenes]
            weighed = (w * scene["means"][name] for w, scene in zip(weights, scenes))
            means[name] = sum(weighed) / sum(weights)
    return means, reasons


def result_lines(summary: dict) -> list[str]:
    """The result as text."""
    images = sum(len(scene["targets"]) for scene in summary["scenes"])
    asked = (
        f"poses {summary['poses']} (context {summary['context_poses']})" if images else protocol_line(summary)
    )
    lines = [
        f"{summary['method']} on {summary['benchmark']}: {len(summary['scenes'])} scenes, "
        + (f"{images} targets, " if images else "")
        + asked
    ]
    if failed := summary["failed"]:
        lines += [f"WARNING: {scene} failed and is in no mean: {why}" for scene, why in failed.items()]
    if not summary["trained"]:
        lines.append(f"WARNING: {summary['weights']}: these numbers say nothing about the method")
    lines += [f"{name} {value:.4f}" for name, value in summary["means"].items() if value is not None]
    missing = {name: summary["reasons"][name] for name, value in summary["means"].items() if value is None}
    return [*lines, missing_line(missing)] if missing else lines
