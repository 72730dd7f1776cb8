"""Teacher, its labels and a student trained on them, end to end: python scripts/teacher_student.py.

The miniature of DA3's section 4. (1) Photos of rooms are written as a data set of captures whose measured
depth is as poor as real sets': few points a photo, 40 % of them wrong. (2) A teacher learns
relative depth from rendered rooms with exact depth. (3) `geometry label` aligns its depth to the measured
points. (4) A student learns from these labels, and another from the measured points alone. A few minutes on
two CPU cores; nothing is downloaded. Stopped, the same command resumes it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from geometry.atomic import atomic_folder
from geometry.commands import label, train
from geometry.commands.experiment import EXPORT
from geometry.datasets.transforms_folder import TransformsFolders
from geometry.errors import run_command
from geometry.scenes import transforms_json
from geometry.training.labelling import read_reports
from geometry.training.labels import FOLDER, label_folder, label_path, read_label
from geometry.worlds import ProceduralDataset, render, sample_cameras
from geometry.worlds.photometry import photograph

SIZE = (56, 70)
UNIT = 1e-3  # stored depth counts millimetres
MOST_FAILURES = 5  # listed; all are in the label folder's report
POINTS, WRONG = 150, 0.4  # measured depths of a photo (4 % of its pixels), and the share of outliers


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("outputs/geometry/teacher_student"))
    parser.add_argument("--rooms", type=int, default=2, help="rooms photographed (default 2)")
    parser.add_argument("--photos", type=int, default=48, help="photos of each (default 48)")
    parser.add_argument("overrides", nargs="*", help="of both trainings, for example loop.steps=50")
    args = parser.parse_args(argv)

    captures = args.out / "captures"
    exact = {}
    for room in range(args.rooms):
        exact |= write_capture(captures / f"room_{room}", room, args.photos)
    print(f"{captures}: {args.rooms} rooms, {args.photos} photos each, {POINTS} depths a photo")

    common = [f"example={args.out}", *args.overrides]
    teacher = args.out / "teacher_smoke" / EXPORT
    # So small a teacher is a rough one: labels are taken that would be refused of a grown one.
    options = ["--process-res", str(max(SIZE)), "--max-scale-error", "0.3", "--max-residual", "0.4"]
    for command, words in (
        (train.main, ["experiment=geometry/teacher_smoke", *common]),
        (label.main, [str(captures), "--model", str(teacher), *options]),
    ):
        status = tell(command, words)
        if status:
            return status
    print(judge(captures, exact))
    return tell(train.main, ["experiment=geometry/student_smoke", "ablation=none,no_teacher", *common])


def tell(command, words: list[str]) -> int:
    """Run a command of this project in this process, shown as one would type it."""
    print(f"$ geometry {command.__module__.rpartition('.')[2]} {' '.join(words)}", flush=True)
    return command(words)


def write_capture(folder: Path, room: int, photos: int) -> dict[tuple[str, str], Float[np.ndarray, "H W"]]:
    """Photos of a room with cameras and few, partly wrong depths; the exact depth by (scene, photo).

    The rooms are those of the teacher's training, seen by other cameras: so small a teacher knows no others.
    """
    world = ProceduralDataset(0, kinds=["room"], texture_size=64).world(room)
    generator = torch.Generator().manual_seed(1000 + room)
    cameras = sample_cameras(world, photos, SIZE, generator, "wide", zoom=False)
    seen = render(world, cameras, SIZE)
    pixels = photograph(seen.radiance[0], generator, strength=0.5).movedim(1, -1)
    names = [f"images/{v:03d}.png" for v in range(photos)]
    depth = [seen.depth[0, v].numpy() for v in range(photos)]
    if not folder.exists():
        rng = np.random.default_rng(room)
        with atomic_folder(folder) as new:
            for sub in ("images", "depth"):
                (new / sub).mkdir()
            for v, name in enumerate(names):
                Image.fromarray((pixels[v] * 255).round().byte().numpy()).save(new / name)
                stored = np.rint(measure(depth[v], rng) / UNIT).clip(0, 65535).astype(np.uint16)
                Image.fromarray(stored).save(new / f"depth/{v:03d}.png")
            transforms_json.write_scene(
                new / "transforms.json",
                names,
                *cameras.arrays(),
                [SIZE] * photos,
                per_frame=[{"depth_file_path": f"depth/{v:03d}.png"} for v in range(photos)],
                extra={"depth_unit_scale_factor": UNIT},
            )
    return {(folder.name, name): d for name, d in zip(names, depth)}


def measure(depth: Float[np.ndarray, "H W"], rng: np.random.Generator) -> Float[np.ndarray, "H W"]:
    """A few hundred of the depths, some of them wrong by a random factor; 0 elsewhere."""
    out = np.zeros_like(depth)
    known = np.flatnonzero(depth > 0)
    chosen = rng.choice(known, min(POINTS, len(known)), replace=False)
    wrong = rng.random(len(chosen)) < WRONG
    out.flat[chosen] = depth.flat[chosen] * np.where(wrong, rng.uniform(0.3, 3, len(chosen)), 1)
    return out


def judge(captures: Path, exact: dict[tuple[str, str], Float[np.ndarray, "H W"]]) -> str:
    """What the labels are worth: AbsRel to the exact depth, and cover.

    Beside them what they were aligned to, and what guessing one depth for a whole photo, the median of the
    measured ones, would have.
    """
    source = TransformsFolders(captures)
    found: dict[str, list[tuple[float, float]]] = {"measured": [], "labels": [], "guessing": []}
    failures = []
    for scene in (source.read(name) for name in source.names):
        reports = {r["frame"]: r for r in read_reports(label_folder(scene, FOLDER))}
        for frame in scene.frames:
            truth = exact[scene.name, frame.name]
            measured = frame.load_depth()
            found["measured"].append(absrel(measured, truth))
            found["guessing"].append(absrel(np.full_like(truth, np.median(measured[measured > 0])), truth))
            if reports[frame.name]["failure"] is None:
                found["labels"].append(absrel(read_label(label_path(scene, frame, FOLDER)), truth))
            else:
                failures.append(f"  {scene.name} {frame.name}: {reports[frame.name]['failure']}")
    lines = []
    for name, scores in found.items():
        error, cover = np.mean(scores, axis=0) if scores else (np.nan, 0.0)
        lines.append(f"{name}: {len(scores)} photos, AbsRel {error:.3f} where there is depth, on {cover:.0%}")
    shown = [*failures[:MOST_FAILURES], *(["  ..."] if len(failures) > MOST_FAILURES else [])]
    return "\n".join([*lines, f"without a label: {len(failures)} photos", *shown])


def absrel(depth: Float[np.ndarray, "H W"], truth: Float[np.ndarray, "H W"]) -> tuple[float, float]:
    """Mean |d - d*| / d* over pixels with both, and their share of the pixels with truth."""
    both = (depth > 0) & (truth > 0)
    if not both.any():
        return np.nan, 0.0
    return float((np.abs(depth - truth)[both] / truth[both]).mean()), float(both.sum() / (truth > 0).sum())


if __name__ == "__main__":
    sys.exit(run_command(main))
