"""A teacher's depth over a data set, aligned to what was measured: what `geometry label` does."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.console import say
from geometry.datasets.sources import SceneSource
from geometry.engine.seeding import derive_seed
from geometry.errors import InputError
from geometry.models.da3 import MonocularDepth
from geometry.ops.sky import SKY_THRESHOLD
from geometry.options import LabelOptions
from geometry.sampling.assemble import measured_depth
from geometry.sampling.preprocess import released_resize
from geometry.scenes.scene import Scene
from geometry.training.labels import label_folder, label_path, write_label
from geometry.training.pseudo_depth import AlignmentReport, align_teacher_depth
from geometry.views import Views

REPORT = "report.jsonl"


def label_source(
    source: SceneSource,
    teacher: MonocularDepth,
    options: LabelOptions,
    device: torch.device,
    *,
    share: tuple[int, int] = (0, 1),
) -> Counter[str]:
    """Label this process's share of a source's frames; returns how many ended how.

    Frames are shared out by their running number, so any number of processes covers all of them once. What
    became of each frame is appended to ``report.jsonl`` (``report.<rank>.jsonl`` for several processes) in
    its scene's label folder; frames reported there are not done again.

    Args:
        share: (rank, number of processes).
    """
    rank, world = share
    file = REPORT if world == 1 else f"report.{rank}.jsonl"
    counts: Counter[str] = Counter()
    number = 0
    for name in source.names:
        scene = source.read(name)
        home = label_folder(scene, options.folder)
        known = set() if options.again else {entry["frame"] for entry in read_reports(home)}
        mine = range((rank - number) % world, len(scene), world)
        number += len(scene)
        todo = [i for i in mine if scene.frames[i].name not in known]
        if not todo:
            continue
        for path in (label_path(scene, scene.frames[i], options.folder) for i in todo):
            if path.exists() and not any(home.glob("report*.jsonl")):
                raise InputError(
                    f"{path}: expected no file there or a label of ours, got another one (no {REPORT} in "
                    f"{home}); give another --folder"
                )
        home.mkdir(parents=True, exist_ok=True)
        with _open_report(home / file) as log:
            for i in todo:
                outcome = label_frame(scene, i, teacher, options, device)
                # The label is on disk before the report says so: a kill between the two repeats one frame.
                log.write(json.dumps({"frame": scene.frames[i].name, **outcome}) + "\n")
                log.flush()
                failure = outcome["failure"]
                counts["labelled" if failure is None else failure.partition(":")[0]] += 1
        say(f"{name}: {len(todo)} frames; so far {summary(counts)}")
    return counts


@torch.no_grad()
def label_frame(
    scene: Scene, index: int, teacher: MonocularDepth, options: LabelOptions, device: torch.device
) -> dict[str, Any]:
    """Write one frame's label, if its alignment holds; what happened, for the report."""
    frame = scene.frames[index]
    pixels, pixel_map = released_resize(frame.load(), options.process_res)
    image = torch.tensor(pixels).movedim(-1, 0).float() / 255
    geometry = teacher(Views(images=image[None, None].to(device)), sky_fill=False)
    relative, ground = geometry.depth[0, 0].float().cpu(), geometry.sky[0, 0].cpu() < SKY_THRESHOLD
    path = label_path(scene, frame, options.folder)
    if options.raw:
        write_label(path, torch.where(ground, relative, 0.0).numpy())
        return {"failure": None}
    measured = measured_depth(scene, index, pixel_map)
    generator = torch.Generator().manual_seed(derive_seed(options.seed, scene.name, frame.name))
    label, report = align(relative, ground, measured, options, generator)
    if label is None:
        path.unlink(missing_ok=True)  # of an earlier teacher
    else:
        write_label(path, label.numpy())
    return asdict(report)


def align(
    teacher: Float[Tensor, "H W"],
    ground: Bool[Tensor, "H W"],
    measured: Float[np.ndarray, "H W"],
    options: LabelOptions,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "H W"] | None, AlignmentReport]:
    """Eq. 8 on what the teacher does not call sky; sky gets no depth."""
    truth = torch.from_numpy(measured)
    if not (truth > 0).any():
        return None, AlignmentReport(failure="nothing measured: no depth and no sparse points", points=0)
    known, left = int((truth > 0).sum()), int(((truth > 0) & ground).sum())
    if left < options.min_points <= known:
        why = f"sky at measured points: the teacher sees it at {known - left} of {known}"
        return None, AlignmentReport(failure=why, points=left)
    label, report = align_teacher_depth(
        teacher,
        truth,
        (truth > 0) & ground,
        generator=generator,
        min_points=options.min_points,
        max_scale_error=options.max_scale_error,
        max_residual=options.max_residual,
    )
    return None if label is None else torch.where(ground, label, 0.0), report


def _open_report(path: Path) -> TextIO:
    """For appending; a last line torn by a kill is ended first, or it would spoil the next one."""
    torn = path.is_file() and not path.read_bytes().endswith(b"\n")
    log = path.open("a", encoding="utf-8")
    log.write("\n" if torn else "")
    return log


def read_reports(home: Path) -> Iterator[dict]:
    """Entries of all reports in a label folder."""
    for path in sorted(home.glob("report*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue  # killed while writing: that frame is done again


def summary(counts: Counter[str]) -> str:
    """``12 labelled, 3 too few points``."""
    return ", ".join(f"{count} {what}" for what, count in counts.most_common())
