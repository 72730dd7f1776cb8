"""Tanks and Temples: photos of outdoor and indoor places, in either of two forms.

- COLMAP: ``<Scene>/images`` and a model in ``<Scene>/sparse/0`` (the re-release that papers on novel views
  use);
- official: photos ``<Scene>/000001.jpg ...`` (1-based), ``<Scene>_COLMAP_SfM.log`` beside or in the folder,
  and intrinsics from elsewhere, since no official file has any.

The .log (`geometry.datasets.tanks_log`) has one entry for each photo in name order, registered or not. Scale
is arbitrary. No depth.

Source: isl-org/TanksAndTemples ``python_toolbox/convert_to_logfile.py``, ``evaluation/``. Checked on real
frames of Barn.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from geometry.datasets import tanks_log
from geometry.datasets.sources import SceneSource, existing_folder, scene_names
from geometry.errors import InputError
from geometry.formats import colmap
from geometry.formats.distortion import Lens
from geometry.formats.images import IMAGE_SUFFIXES, natural_key, read_header
from geometry.formats.text import read_json
from geometry.scenes.colmap import read_colmap
from geometry.scenes.scene import Scene, photo_frame
from geometry.scenes.transforms_json import lens_from_keys

TRAINING_SCENES = ("Barn", "Caterpillar", "Church", "Ignatius", "Meetingroom", "Truck")  # but Courthouse


class TanksAndTemples(SceneSource):
    """Scenes in COLMAP form, and in official form where intrinsics are given.

    Args:
        root: folder of the scene folders.
        intrinsics: JSON for the official form: scene name -> the keys of a transforms.json (``fl_x``,
            ``fl_y``, ``cx``, ``cy``, ``w``, ``h``, distortion); they may describe another resolution.
            Scenes in COLMAP form need none.
        scenes: names to take, or a file with one per line; None takes all.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        intrinsics: str | Path | None = None,
        scenes: str | Path | Sequence[str] | None = None,
    ) -> None:
        self.root = existing_folder(root, "Tanks and Temples scenes")
        self.intrinsics = None if intrinsics is None else Path(intrinsics).expanduser()
        folders = sorted(p for p in self.root.iterdir() if p.is_dir())
        names = [p.name for p in folders if colmap.find_model(p) is not None or _find_log(p) is not None]
        self.names = scene_names(names, scenes, self.root, "scenes with a COLMAP model or a _COLMAP_SfM.log")

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether the folder holds scenes in official form (the COLMAP form is any COLMAP folder)."""
        return root.is_dir() and any(p.is_dir() and _find_log(p) is not None for p in root.iterdir())

    def read(self, name: str) -> Scene:
        folder = self.root / self._require(name, self.root)
        model = colmap.find_model(folder)
        if model is not None:
            images = folder / "images" if (folder / "images").is_dir() else folder
            return replace(read_colmap(model, images), name=name)
        return read_official(_photo_folder(folder), _find_log(folder), self._lens(name, folder), name=name)

    def _lens(self, name: str, folder: Path) -> Lens:
        if self.intrinsics is None:
            raise InputError(
                f"{folder}: expected intrinsics of {name}, but the official files have none: give a JSON "
                f"with fl_x, fl_y, cx, cy, w, h for {name}"
            )
        content = read_json(self.intrinsics, "intrinsics of scenes")
        if not isinstance(content, dict) or not isinstance(content.get(name), dict):
            raise InputError(f"{self.intrinsics}: expected an object with intrinsics of {name}, found none")
        size = read_header(_photos(_photo_folder(folder))[0]).stored_size
        return lens_from_keys({}, content[name], f"{self.intrinsics}, {name}", size)


def read_official(photos: Path, log: Path, lens: Lens, *, name: str) -> Scene:
    """Registered photos of a folder with the poses of a .log file.

    Photos with numbered names keep their place in the log when others are missing; otherwise there must
    be exactly one photo for each entry.

    Raises:
        InputError: the log is damaged, or does not belong to these photos.
    """
    trajectory = tanks_log.read_log(log)
    entries = len(trajectory.extrinsics)
    files = _photos(photos)
    if not files:
        raise InputError(f"{photos}: expected photos, found none")
    if all(file.stem.isdigit() for file in files):
        places = [int(file.stem) - 1 for file in files]
    elif len(files) == entries:
        places = list(range(entries))
    else:
        raise InputError(f"{log}: expected one entry for each of {len(files)} photos, got {entries}")
    frames = []
    for file, place in zip(files, places):
        if not 0 <= place < entries:
            raise InputError(f"{log}: expected an entry for {file.name}, got only {entries} entries")
        if trajectory.registered[place]:
            pose = trajectory.extrinsics[place]
            frames.append(photo_frame(file, name=file.name, extrinsics=pose, lens=lens))
    if not frames:
        raise InputError(f"{log}: expected registered photos, none of {len(files)} is")
    return Scene(name=name, frames=tuple(frames), source=str(log), folder=photos)


def _find_log(folder: Path) -> Path | None:
    name = f"{folder.name}_COLMAP_SfM.log"
    return next((place / name for place in (folder.parent, folder) if (place / name).is_file()), None)


def _photo_folder(folder: Path) -> Path:
    return folder / "images" if (folder / "images").is_dir() else folder


def _photos(folder: Path) -> list[Path]:
    files = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(files, key=lambda p: natural_key(p.name))
