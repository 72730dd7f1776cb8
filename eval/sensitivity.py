"""How far each choice that the paper leaves open moves the score."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from eval.options import RunOptions
from eval.protocols.splits import Split, read_split
from eval.run import joined, run_benchmark
from eval.run_folder import Store
from eval.tables.formats import markdown_rows
from eval.tables.rows import number
from geometry.console import say
from geometry.errors import InputError
from nvs.metrics import Images, PerImage

BASE = "as configured"


class Choice(NamedTuple):
    """One choice made otherwise: the name of its run, what a reader calls it, and the fields it changes."""

    folder: str
    text: str
    rule: dict[str, Any]
    framing: dict[str, Any]

    def of(self, options: RunOptions) -> RunOptions:
        """The options with this choice, their run in a folder of its own."""
        framing = replace(options.benchmark.framing, **self.framing)
        rule = replace(options.benchmark.rule, **self.rule)
        return replace(
            options,
            out=Path(options.out) / self.folder,
            benchmark=replace(options.benchmark, framing=framing, rule=rule),
            protocol=replace(options.protocol, framing=framing),  # type: ignore[type-var]
        )


CHOICES = (
    Choice("start_first", "FPS starts at the first view", {"start": "first"}, {}),
    Choice("start_last", "FPS starts at the last view", {"start": "last"}, {}),
    Choice("translation_only", "FPS by translation only", {"rotation": 0.0}, {}),
    Choice("rotation_only", "FPS by rotation only", {"translation": 0.0}, {}),
    Choice("rotation_twice", "FPS, rotation counts twice", {"rotation": 2.0}, {}),
    Choice("offset_4", "targets from index 4", {"offset": 4}, {}),
    Choice("offset_7", "targets from index 7", {"offset": 7}, {}),
    Choice("stretch", "photos stretched, not cropped", {}, {"fit": "stretch"}),
    Choice("distorted", "distortion ignored", {}, {"undistort": False}),
)


def ssim_with_borders(pred: Images, target: Images) -> PerImage:
    """SSIM as torchmetrics averages it: our window, and positions where it fits only on a mirrored border."""
    return _torchmetrics_ssim(pred, target, gaussian_kernel=True)


def ssim_uniform_7(pred: Images, target: Images) -> PerImage:
    """SSIM with scikit-image's default window, 7 x 7 of equal weights, on mirrored borders too."""
    return _torchmetrics_ssim(pred, target, gaussian_kernel=False, kernel_size=7)


def _torchmetrics_ssim(pred: Images, target: Images, **window: Any) -> PerImage:
    # Imported here: it takes seconds, and other commands do not need it.
    from torchmetrics.functional.image import structural_similarity_index_measure as ssim

    return ssim(pred.double(), target.double(), data_range=1.0, reduction="none", **window)  # type: ignore[return-value]


# Other definitions of a metric: measured on the pictures of the base run, so that no other choice enters.
DEFINITIONS = (
    ("ssim", "SSIM, mirrored borders count (torchmetrics)", ssim_with_borders),
    ("ssim", "SSIM, 7 x 7 uniform window, mirrored borders", ssim_uniform_7),
)


def measure_sensitivity(options: RunOptions) -> str | None:
    """Run a benchmark as the options say, and once for each choice made otherwise, all else equal.

    Every run has a folder of its own in ``options.out``; finished ones are taken as they are.

    Returns:
        The results as Markdown; None on every process but the first.

    Raises:
        InputError: the options name a split, but rules are varied here.
    """
    if options.split is not None:
        raise InputError("split: sensitivity makes its own splits, one for each rule; leave split= out")
    out = Path(options.out).expanduser()
    varied = []
    with joined(options.device):
        base = run_benchmark(
            replace(options, out=out / "base"), extras=tuple(extra for *_, extra in DEFINITIONS)
        )
        for choice in CHOICES:
            say(f"--- {choice.text}")
            varied.append(run_benchmark(choice.of(options)))
    if base is None:
        return None
    splits = [read_split(Store(out / choice.folder).split) for choice in CHOICES]
    return report(base, read_split(Store(out / "base").split), list(zip(CHOICES, varied, splits)))


def report(base: dict, base_split: Split, varied: list[tuple[Choice, dict, Split]]) -> str:
    """Every choice with its scores and their distance from those of the base, as Markdown."""
    metrics = list(base["means"])[: -len(DEFINITIONS)]
    heads = ["choice", "context kept", *(head for m in metrics for head in (m, "change"))]
    rows = [[BASE, "", *(cell for m in metrics for cell in (number(m, base["means"][m]), ""))]]
    for choice, summary, split in varied:
        cells = [cell for m in metrics for cell in _changed(m, summary["means"][m], base["means"][m])]
        rows.append([choice.text, _kept(base_split, split), *cells])
    lines = [f"{base['method']} on {base['benchmark']}, poses {base['poses']}; means over scenes", ""]
    lines += markdown_rows(heads, rows, "r" * (len(heads) - 1))
    other = []
    for metric, text, extra in DEFINITIONS:
        other.append([text, *_changed(metric, base["means"][extra.__name__], base["means"][metric])])
    if {"lpips_vgg", "lpips_alex"} <= {*metrics}:
        alex, vgg = base["means"]["lpips_alex"], base["means"]["lpips_vgg"]
        other.append(["LPIPS on AlexNet instead of VGG", *_changed("lpips_alex", alex, vgg)])
    lines += ["", *markdown_rows(["definition", "value", "change"], other, "rr")]
    reasons = [f"- {m} is missing: {base['reasons'][m]}" for m in metrics if m in base["reasons"]]
    return "\n".join([*lines, *([""] if reasons else []), *reasons]) + "\n"


def _changed(metric: str, value: float | None, base: float | None) -> tuple[str, str]:
    if value is None or base is None:
        return number(metric, value), ""
    return number(metric, value), number(metric, value - base, "+")


def _kept(base: Split, other: Split) -> str:
    """How many of the base's context views are context again."""
    before = {(scene.name, name) for scene in base.scenes for name in scene.context}
    after = {(scene.name, name) for scene in other.scenes for name in scene.context}
    return f"{len(before & after)} of {len(before)}"
