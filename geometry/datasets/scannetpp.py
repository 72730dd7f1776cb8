"""ScanNet++: laser-scanned rooms with DSLR (fisheye) photos and iPhone video, in metres.

``<root>/data/<scene>/{dslr, iphone, scans}`` (or ``<root>/<scene>``):

- dslr: ``resized_images/*.JPG``, ``resized_anon_masks/*.png`` (0 = anonymised), cameras in
  ``nerfstudio/transforms.json`` (OPENCV_FISHEYE; training photos in ``frames``, held-out ones in
  ``test_frames``; ``is_bad`` marks blur and the like);
- iphone: ``rgb/frame_%06d.jpg`` (extracted by the set's tools), ``nerfstudio/transforms.json``;
- both: ``render_depth/<stem>.png``, rendered from the mesh by the set's tools: uint16 millimetres along
  z, 0 = invalid, in the geometry of the distorted photo. Optional here.

Poses are nerfstudio's (OpenGL, camera-to-world), in metres, one world for both devices. Fisheye photos and
their depth are undistorted by `Frame.load` and `Frame.load_depth`.

Source: scannetpp/scannetpp ``common/scene_release.py``, ``common/render.py``, README. Not yet tested on a
real scene.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from geometry.datasets.sources import SceneSource, existing_folder, scene_names
from geometry.errors import InputError
from geometry.formats.depth_files import read_png_depth
from geometry.scenes import transforms_json
from geometry.scenes.scene import Frame, Scene

_IMAGES = {"dslr": "resized_images", "iphone": "rgb"}
_MASKS = {"dslr": "resized_anon_masks", "iphone": "rgb_masks"}


class ScanNetPP(SceneSource):
    """Scenes of ScanNet++, one device at a time.

    Args:
        root: folder with ``data``, or of the scenes.
        device: ``dslr`` or ``iphone``.
        split: ``frames``, or ``test_frames`` for the held-out DSLR photos.
        depth: whether rendered depth must be there; None takes it where it is.
        keep_bad: keep frames marked ``is_bad``.
        scenes: names to take, or a file with one per line (the set's split files); None takes all.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        device: Literal["dslr", "iphone"] = "dslr",
        split: str = "frames",
        depth: bool | None = None,
        keep_bad: bool = False,
        scenes: str | Path | Sequence[str] | None = None,
    ) -> None:
        root = existing_folder(root, "ScanNet++ scenes")
        self.root = root / "data" if (root / "data").is_dir() else root
        if device not in _IMAGES:
            raise InputError(f"{root}: expected device dslr or iphone, got {device}")
        self.device, self.split, self.depth, self.keep_bad = device, split, depth, keep_bad
        names = [p.parents[2].name for p in sorted(self.root.glob(f"*/{device}/nerfstudio/transforms.json"))]
        self.names = scene_names(names, scenes, self.root, f"scenes with {device}/nerfstudio/transforms.json")

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether scenes with a DSLR capture are there."""
        places = (root, root / "data")
        return any(any(p.glob("*/dslr/nerfstudio/transforms.json")) for p in places)

    def read(self, name: str) -> Scene:
        folder = self.root / self._require(name, self.root) / self.device
        path = folder / "nerfstudio" / "transforms.json"
        images = existing_folder(folder / _IMAGES[self.device], "photos (iPhone frames must be extracted)")
        scene = transforms_json.read_scene(path, images, split=self.split)
        bad = set() if self.keep_bad else _bad_frames(path, self.split)
        frames = tuple(self._with_maps(f, folder) for f in scene.frames if f.name not in bad)
        if not frames:
            raise InputError(f"{path}: expected usable frames, all {len(scene)} are marked is_bad")
        return replace(scene, name=name, frames=frames, metric=True)

    def _with_maps(self, frame: Frame, folder: Path) -> Frame:
        stem = Path(frame.name).stem
        depth = folder / "render_depth" / f"{stem}.png"
        mask = folder / _MASKS[self.device] / f"{stem}.png"
        wanted = depth.is_file() if self.depth is None else self.depth
        if wanted and not depth.is_file():
            raise InputError(f"{depth}: expected rendered depth of {frame.name}, found no such file")
        return replace(
            frame,
            depth=partial(read_png_depth, depth, unit=1e-3) if wanted else None,
            mask=mask if mask.is_file() else None,
        )


def _bad_frames(path: Path, split: str) -> set[str]:
    # `read_scene` has already checked that this is a list of objects with a file_path.
    listed = json.loads(path.read_text(encoding="utf-8"))[split]
    return {entry["file_path"] for entry in listed if entry.get("is_bad")}
