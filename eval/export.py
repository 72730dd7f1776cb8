"""A benchmark as files for programs in any language: context photos as scored, and all cameras.

```
split.json                   the split
<scene>/context/<photo>.png  context photos, undistorted, cut and scaled to the scored size
<scene>/transforms.json      their cameras
<scene>/targets.json         cameras of the targets; file_path is the name of the picture to draw
```

Cameras are in nerfstudio's form, pinhole, for images of the scored size. A program that draws
``<folder>/<scene>/<file_path>`` for every entry of targets.json takes part by ``method=renders
renders.folder=<folder>``. Photos of targets are not there.
"""

from pathlib import Path

import numpy as np

from eval.options import Benchmark
from eval.protocols.framing import Framing, framed_cameras, framed_image
from eval.protocols.splits import DividedScene, Split, checksum, divided_scene, read_split, write_split
from eval.run import chosen_split, make_split_file
from geometry.console import say
from geometry.errors import InputError
from geometry.results import file_names, keep_apart, require_results, result_folder
from geometry.scenes import transforms_json
from geometry.visualize import to_bytes, write_image

_FILES = ("context/*.png", "transforms.json", "targets.json")


def export_benchmark(
    benchmark: Benchmark, out: Path | str, *, split: Path | str | None = None, verify: str = "files"
) -> Split:
    """Write a benchmark's scenes into the folder ``out``; the same call again replaces what it wrote.

    ``split`` and ``verify`` are as in `eval.options.RunOptions`.

    Raises:
        InputError: the data or the split do not fit, or ``out`` holds files of others.
    """
    out = Path(out).expanduser()
    keep_apart(out, [benchmark.root])
    path = out / "split.json" if split is None else Path(split).expanduser()
    if split is None and not path.exists():
        make_split_file(benchmark, path)
    divided = chosen_split(read_split(path), benchmark, path)
    for scene in divided.scenes:  # before any photo is decoded
        require_results(out / scene.name, _FILES, [benchmark.root])
    if not (out / "split.json").is_file():
        write_split(out / "split.json", divided)
    elif read_split(out / "split.json") != divided:  # pictures of both would lie side by side
        raise InputError(
            f"{out}: holds an export of another split than {checksum(divided)[:8]}; give another out="
        )
    for scene in divided.scenes:
        with result_folder(out / scene.name) as folder:
            _write_scene(folder, divided_scene(scene, benchmark.source, verify), benchmark.framing)
        say(f"{scene.name}: {len(scene.context)} context photos, {len(scene.targets)} targets to draw")
    return divided


def _write_scene(folder: Path, scene: DividedScene, framing: Framing) -> None:
    size, split = framing.image_size((*scene.context, *scene.targets)), scene.split
    (folder / "context").mkdir()
    paths = [f"context/{stem}.png" for stem in file_names(split.context)]
    for frame, path in zip(scene.context, paths):
        write_image(folder / path, to_bytes(framed_image(frame, framing, size)[0]))
    draw = {"picture": f"draw {split.name}/<file_path>, h x w pixels, for method=renders"}
    sets: dict[str, tuple] = {
        "transforms.json": (paths, scene.context, {}),
        "targets.json": (split.renders, scene.targets, draw),
    }
    for name, (files, frames, more) in sets.items():
        transforms_json.write_scene(
            folder / name,
            files,
            np.stack([frame.extrinsics for frame in frames]),
            framed_cameras(frames, framing, size).intrinsics[0].double().numpy(),
            [size] * len(frames),
            per_frame=[{"photo": frame.name} for frame in frames],
            extra={"scene": split.name, **more},
        )
