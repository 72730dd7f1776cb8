"""Summary of a run: the JSON that tables and reports read, and the lines that are printed."""

from dataclasses import asdict

from eval.methods.base import About
from eval.options import RunOptions
from eval.protocols.splits import Split, checksum
from eval.tables.rows import missing_line


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
        "poses": protocol.poses,
        "context_poses": "given" if protocol.posed_context else "none",
        "fit": protocol.framing.fit,
        "undistort": protocol.framing.undistort,
        "sizes": [list(size) for size in sorted({tuple(scene["size"]) for scene in scores})],
        "split": checksum(split),
        "rule": split.rule.as_json(),
        "context_views": sorted({len(scene.context) for scene in split.scenes}),
        "expected_scenes": options.benchmark.expected_scenes,
        "commits": sorted({scene["commit"] for scene in scores}),
        "photometric": asdict(protocol.photometric) if protocol.poses == "photometric" else None,
        "means": means,
        "reasons": reasons,
        "predict_s": round(sum(scene["predict_s"] for scene in scores), 2),
        "scenes": scores,
    }


def mean_over_scenes(scenes: list[dict]) -> tuple[dict[str, float | None], dict[str, str]]:
    """Mean of the scenes' means, and for each metric that has none the reason."""
    means: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for name in scenes[0]["means"]:
        without = [scene for scene in scenes if scene["means"][name] is None]
        if without:
            means[name] = None
            reasons[name] = without[0]["reasons"][name]
        else:
            means[name] = sum(scene["means"][name] for scene in scenes) / len(scenes)
    return means, reasons


def result_lines(summary: dict) -> list[str]:
    """The result as text."""
    images = sum(len(scene["targets"]) for scene in summary["scenes"])
    lines = [
        f"{summary['method']} on {summary['benchmark']}: {len(summary['scenes'])} scenes, {images} targets, "
        f"poses {summary['poses']} (context {summary['context_poses']})"
    ]
    if failed := summary["failed"]:
        lines += [f"WARNING: {scene} failed and is in no mean: {why}" for scene, why in failed.items()]
    if not summary["trained"]:
        lines.append(f"WARNING: {summary['weights']}: these numbers say nothing about the method")
    lines += [f"{name} {value:.4f}" for name, value in summary["means"].items() if value is not None]
    missing = {name: summary["reasons"][name] for name, value in summary["means"].items() if value is None}
    return [*lines, missing_line(missing)] if missing else lines
