"""`nvs-eval sensitivity`: how far each choice that the paper leaves open moves the score."""

import sys
from pathlib import Path
from typing import NamedTuple

from eval.commands.config import compose
from eval.commands.run import joined, run_benchmark
from eval.protocols.splits import Split, read_split
from eval.run_folder import Store
from eval.score import Extra
from eval.tables.rows import number
from geometry.atomic import atomic_file
from geometry.console import say
from geometry.errors import InputError, run_command
from nvs.metrics import Images, PerImage

USAGE = """usage: nvs-eval sensitivity benchmark=NAME benchmark.root=DIR out=DIR [key=value ...]

Runs a benchmark once as configured and once for each unstated choice made otherwise, all else equal; writes
OUT/sensitivity.md. Takes what nvs-eval run takes, but for split=; goes on where it stopped."""

BASE = "as configured"


class Choice(NamedTuple):
    """One choice made otherwise: the name of its run, what a reader calls it, and the override."""

    folder: str
    text: str
    override: str


CHOICES = (
    Choice("start_first", "FPS starts at the first view", "benchmark.rule.start=first"),
    Choice("start_last", "FPS starts at the last view", "benchmark.rule.start=last"),
    Choice("translation_only", "FPS by translation only", "benchmark.rule.rotation=0.0"),
    Choice("rotation_only", "FPS by rotation only", "benchmark.rule.translation=0.0"),
    Choice("rotation_twice", "FPS, rotation counts twice", "benchmark.rule.rotation=2.0"),
    Choice("offset_4", "targets from index 4", "benchmark.rule.offset=4"),
    Choice("offset_7", "targets from index 7", "benchmark.rule.offset=7"),
    Choice("stretch", "photos stretched, not cropped", "benchmark.fit=stretch"),
    Choice("distorted", "distortion ignored", "benchmark.undistort=false"),
)


def ssim_with_borders(pred: Images, target: Images) -> PerImage:
    """SSIM as torchmetrics averages it: our window, and positions where it fits only on a mirrored border."""
    return _torchmetrics_ssim(pred, target, gaussian_kernel=True)


def ssim_uniform_7(pred: Images, target: Images) -> PerImage:
    """SSIM with scikit-image's default window, 7 x 7 of equal weights, on mirrored borders too."""
    return _torchmetrics_ssim(pred, target, gaussian_kernel=False, kernel_size=7)


def _torchmetrics_ssim(pred: Images, target: Images, **window: object) -> PerImage:
    # Imported here: it takes seconds, and tables of other commands do without.
    from torchmetrics.functional.image import structural_similarity_index_measure as ssim

    return ssim(pred.double(), target.double(), data_range=1.0, reduction="none", **window)


# Other definitions of a metric: measured on the pictures of the base run, so that no other choice enters.
DEFINITIONS = (
    ("ssim", "SSIM, mirrored borders count (torchmetrics)", Extra("ssim_with_borders", ssim_with_borders)),
    ("ssim", "SSIM, 7 x 7 uniform window, mirrored borders", Extra("ssim_uniform_7", ssim_uniform_7)),
)


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    return run_command(lambda: run(argv))


def run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if argv else 2
    config = compose(argv)
    if config.split is not None:
        raise InputError("split: sensitivity makes its own splits, one for each rule; leave split= out")
    out = Path(config.out).expanduser()
    varied = []
    with joined(config):
        base = _run(argv, out / "base", extras=tuple(extra for *_, extra in DEFINITIONS))
        for choice in CHOICES:
            say(f"--- {choice.text}")
            varied.append(_run([*argv, choice.override], out / choice.folder))
    if base is None:
        return 0  # of several processes only the first has the results
    splits = [read_split(Store(out / choice.folder).split) for choice in CHOICES]
    text = report(base, read_split(Store(out / "base").split), list(zip(CHOICES, varied, splits)))
    with atomic_file(out / "sensitivity.md") as path:
        path.write_text(text, encoding="utf-8")
    print(text, end="")
    return 0


def report(base: dict, base_split: Split, varied: list[tuple[Choice, dict, Split]]) -> str:
    """Every choice with its scores and their distance from those of the base, as Markdown."""
    metrics = list(base["means"])[: -len(DEFINITIONS)]
    heads = ["choice", "context kept", *(head for m in metrics for head in (m, "change"))]
    rows = [[BASE, "", *(cell for m in metrics for cell in (number(m, base["means"][m]), ""))]]
    for choice, summary, split in varied:
        cells = [cell for m in metrics for cell in _changed(m, summary["means"][m], base["means"][m])]
        rows.append([choice.text, _kept(base_split, split), *cells])
    lines = [f"{base['method']} on {base['benchmark']}, poses {base['poses']}; means over scenes", ""]
    lines += _markdown(heads, rows)
    other = [["definition", "value", "change"]]
    for metric, text, extra in DEFINITIONS:
        other.append([text, *_changed(metric, base["means"][extra.name], base["means"][metric])])
    if {"lpips_vgg", "lpips_alex"} <= {*metrics}:
        alex, vgg = base["means"]["lpips_alex"], base["means"]["lpips_vgg"]
        other.append(["LPIPS on AlexNet instead of VGG", *_changed("lpips_alex", alex, vgg)])
    lines += ["", *_markdown(other[0], other[1:])]
    reasons = [f"- {m} is missing: {base['reasons'][m]}" for m in metrics if m in base["reasons"]]
    return "\n".join([*lines, *([""] if reasons else []), *reasons]) + "\n"


def _run(argv: list[str], out: Path, extras: tuple[Extra, ...] = ()) -> dict | None:
    return run_benchmark(compose(argv, {"out": str(out)}), extras=extras)


def _changed(metric: str, value: float | None, base: float | None) -> tuple[str, str]:
    if value is None or base is None:
        return number(metric, value), ""
    return number(metric, value), f"{value - base:+.{2 if metric == 'psnr' else 3}f}"


def _kept(base: Split, other: Split) -> str:
    """How many of the base's context views are context again."""
    before = {(scene.name, name) for scene in base.scenes for name in scene.context}
    after = {(scene.name, name) for scene in other.scenes for name in scene.context}
    return f"{len(before & after)} of {len(before)}"


def _markdown(heads: list[str], rows: list[list[str]]) -> list[str]:
    aligned = ["---", *["---:"] * (len(heads) - 1)]
    return ["| " + " | ".join(line) + " |" for line in (heads, aligned, *rows)]
