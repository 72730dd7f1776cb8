"""A teacher's depth over a data set, aligned to what was measured: what `geometry label` does."""

import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.data import DataLoader

from geometry.atomic import clear_leftovers
from geometry.console import say
from geometry.datasets.sources import SceneSource
from geometry.engine.loader import end_with_parent
from geometry.engine.seeding import derive_seed
from geometry.errors import InputError
from geometry.models.da3 import MonocularDepth
from geometry.ops.sky import SKY_THRESHOLD
from geometry.options import LabelOptions
from geometry.sampling.assemble import measured_depth
from geometry.sampling.prepared import prepared
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
    """Label the frames of this process's share of a source's scenes; returns how many ended how.

    Scenes are shared out by their place in the list, and each is read by one process only. Its photos are
    decoded by loader workers, go through the teacher in batches, and are aligned and written by threads
    beside that. What became of each frame is appended to ``report.jsonl`` (``report.<rank>.jsonl`` for
    several processes) in its scene's label folder; frames reported there are not done again.

    Args:
        share: (rank, number of processes).
    """
    rank, world = share
    file = REPORT if world == 1 else f"report.{rank}.jsonl"
    counts: Counter[str] = Counter()
    planned: deque[tuple[Scene, list[int]]] = deque()

    def batches() -> Iterator[list[tuple[str, int]]]:
        """Frames of one scene and one size; the loader asks some batches ahead."""
        for name in source.names[rank::world]:
            scene = prepared(source, name)
            todo = _left_to_do(scene, options)
            if todo:  # or labels of a run killed before its first line would seem to be of others
                (label_folder(scene, options.folder) / file).touch()
            sizes = [scene.frames[i].image_size for i in todo]
            for _, same in groupby(zip(sizes, todo), lambda pair: pair[0]):
                frames = [i for _, i in same]
                for start in range(0, len(frames), options.batch):
                    planned.append((scene, frames[start : start + options.batch]))
                    yield [(name, i) for i in planned[-1][1]]

    loader: DataLoader = DataLoader(
        _Photos(source, options),  # type: ignore[arg-type]
        batch_sampler=batches(),  # type: ignore[arg-type]
        collate_fn=list,
        num_workers=options.workers,
        multiprocessing_context="forkserver" if options.workers else None,
        worker_init_fn=end_with_parent,
    )
    with ThreadPoolExecutor(max(1, options.workers)) as threads:
        writing: deque[tuple[Scene, list[int], list[Future]]] = deque()

        def report() -> None:
            """Of the oldest batch, whose labels are on disk by then: a kill in between repeats it."""
            scene, frames, outcomes = writing.popleft()
            with _open_report(label_folder(scene, options.folder) / file) as log:
                for i, outcome in zip(frames, (future.result() for future in outcomes)):
                    log.write(json.dumps({"frame": scene.frames[i].name, **outcome}) + "\n")
                    failure = outcome["failure"]
                    counts["labelled" if failure is None else failure.partition(":")[0]] += 1
            if not writing or writing[0][0] is not scene:
                say(f"{scene.name}: so far {summary(counts)}")

        for photos in loader:
            scene, frames = planned.popleft()
            seen = iter(_look(teacher, [p[0] for p in photos if not isinstance(p, str)], device))
            outcomes = [
                threads.submit(dict, failure=f"unreadable: {photo}")
                if isinstance(photo, str)
                else threads.submit(_finish, scene, i, *next(seen), photo[1], options)
                for i, photo in zip(frames, photos)
            ]
            writing.append((scene, frames, outcomes))
            if len(writing) > 2:
                report()
        while writing:
            report()
    return counts


def _left_to_do(scene: Scene, options: LabelOptions) -> list[int]:
    """Frames that no report names.

    Raises:
        InputError: files of others lie where labels would go.
    """
    home = label_folder(scene, options.folder)
    known = set() if options.again else {entry["frame"] for entry in read_reports(home)}
    todo = [i for i, frame in enumerate(scene.frames) if frame.name not in known]
    for path in (label_path(scene, scene.frames[i], options.folder) for i in todo):
        if path.exists() and not any(home.glob("report*.jsonl")):
            raise InputError(
                f"{path}: expected no file there or a label of ours, got another one (no {REPORT} in "
                f"{home}); give another --folder"
            )
    home.mkdir(parents=True, exist_ok=True)
    clear_leftovers(home)
    return todo


class _Photos:
    """``photos[scene, frame]``: the photo as the teacher sees it, and what was measured there."""

    def __init__(self, source: SceneSource, options: LabelOptions) -> None:
        self.source, self.options = source, options
        self.scene: tuple[str, Scene] | None = None  # the last one, in each worker

    def __getitem__(self, where: tuple[str, int]) -> tuple[Tensor, np.ndarray | None] | str:
        name, i = where
        if self.scene is None or self.scene[0] != name:
            self.scene = name, prepared(self.source, name)
        scene = self.scene[1]
        try:
            pixels, pixel_map = released_resize(scene.frames[i].load(), self.options.process_res)
            measured = None if self.options.raw else measured_depth(scene, i, pixel_map)
        except InputError as error:
            return str(error)
        return torch.tensor(pixels), measured


@torch.no_grad()
def _look(
    teacher: MonocularDepth, photos: list[Tensor], device: torch.device
) -> Iterable[tuple[Float[Tensor, "H W"], Bool[Tensor, "H W"]]]:
    """The teacher's relative depth of photos of one size, and where it sees no sky."""
    if not photos:
        return ()
    images = torch.stack(photos).to(device).movedim(-1, 1).float() / 255
    geometry = teacher(Views(images=images[:, None]), sky_fill=False)
    return zip(geometry.depth[:, 0].float().cpu(), geometry.sky[:, 0].cpu() < SKY_THRESHOLD)


def _finish(
    scene: Scene,
    index: int,
    relative: Float[Tensor, "H W"],
    ground: Bool[Tensor, "H W"],
    measured: Float[np.ndarray, "H W"] | None,
    options: LabelOptions,
) -> dict[str, Any]:
    """Write one frame's label, if its alignment holds; what happened, for the report."""
    frame = scene.frames[index]
    path = label_path(scene, frame, options.folder)
    if measured is None:
        write_label(path, torch.where(ground, relative, 0.0).numpy())
        return {"failure": None}
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
    torn = path.read_bytes()[-1:] not in (b"", b"\n")
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
