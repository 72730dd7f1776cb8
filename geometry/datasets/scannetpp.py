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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from geometry.datasets.sources import DataSet, existing_folder, if_there
from geometry.errors import InputError
from geometry.formats.depth_files import read_png_depth
from geometry.formats.text import read_text
from geometry.scenes import transforms_json
from geometry.scenes.scene import Frame, Scene

_IMAGES = {"dslr": "resized_images", "iphone": "rgb"}
_MASKS = {"dslr": "resized_anon_masks", "iphone": "rgb_masks"}


@dataclass(eq=False, kw_only=True)
class ScanNetPP(DataSet):
    """Scenes of ScanNet++, one device at a time.

    Args:
        root: folder with ``data``, or of the scenes.
        device: ``dslr`` or ``iphone``.
        split: ``frames``, or ``test_frames`` for the held-out DSLR photos.
        depth: whether rendered depth must be there; None takes it where it is.
        keep_bad: keep frames marked ``is_bad``.
        scenes: names to take, or a file with one per line (the set's split files); None takes all.
    """

    holds = "ScanNet++ scenes with <device>/nerfstudio/transforms.json"
    device: Literal["dslr", "iphone"] = "dslr"
    split: str = "frames"
    depth: bool | None = None
    keep_bad: bool = False

    @classmethod
    def find(cls, root: Path, device: str = "dslr") -> dict[str, Path]:
        base = root / "data" if (root / "data").is_dir() else root
        return {p.parents[2].name: p for p in sorted(base.glob(f"*/{device}/nerfstudio/transforms.json"))}

    def _list(self) -> dict[str, Path]:
        if self.device not in _IMAGES:
            raise InputError(f"{self.base}: expected device dslr or iphone, got {self.device}")
        return self.find(self.base, self.device)

    def _read(self, name: str, place: Path) -> Scene:
        folder = place.parents[1]
        images = existing_folder(folder / _IMAGES[self.device], "photos (iPhone frames must be extracted)")
        scene = transforms_json.read_scene(place, images, split=self.split)
        # `read_scene` has already checked that this is a list of objects with a file_path.
        listed = json.loads(read_text(place))[self.split]
        bad = {entry["file_path"] for entry in listed if entry.get("is_bad") and not self.keep_bad}
        frames = tuple(self._with_maps(f, folder) for f in scene.frames if f.name not in bad)
        return replace(scene, name=name, frames=frames, metric=True)

    def _with_maps(self, frame: Frame, folder: Path) -> Frame:
        stem = Path(frame.name).stem
        mask, depth = folder / _MASKS[self.device] / f"{stem}.png", folder / "render_depth" / f"{stem}.png"
        there = None if self.depth is False else if_there(read_png_depth, depth, unit=1e-3)
        if self.depth and there is None:
            raise InputError(f"{depth}: expected rendered depth of {frame.name}, found no such file")
        return replace(frame, depth=there, mask=mask if mask.is_file() else None)
