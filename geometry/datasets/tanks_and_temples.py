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

from dataclasses import dataclass, replace
from pathlib import Path

from geometry.datasets.sources import DataSet, photo_folder
from geometry.datasets.tanks_log import read_log
from geometry.errors import InputError
from geometry.formats import colmap
from geometry.formats.distortion import Lens
from geometry.formats.images import read_header
from geometry.formats.text import read_json
from geometry.scenes.colmap import read_colmap
from geometry.scenes.photo_files import photos_in
from geometry.scenes.scene import Scene, photo_frame
from geometry.scenes.transforms_json import lens_from_keys

TRAINING_SCENES = ("Barn", "Caterpillar", "Church", "Ignatius", "Meetingroom", "Truck")  # but Courthouse


@dataclass(eq=False, kw_only=True)
class TanksAndTemples(DataSet):
    """Scenes in COLMAP form, and in official form where intrinsics are given.

    Args:
        root: folder of the scene folders.
        intrinsics: JSON for the official form: scene name -> the keys of a transforms.json (``fl_x``,
            ``fl_y``, ``cx``, ``cy``, ``w``, ``h``, distortion); they may describe another resolution.
            Scenes in COLMAP form need none.
    """

    holds = "Tanks and Temples scenes with a COLMAP model or a _COLMAP_SfM.log"
    intrinsics: str | Path | None = None

    @classmethod
    def find(cls, root: Path) -> dict[str, Path]:
        """Scenes in official form; the COLMAP form is any COLMAP folder."""
        return {p.name: p for p in sorted(root.iterdir()) if p.is_dir() and _find_log(p) is not None}

    def _list(self) -> dict[str, Path]:
        folders = (p for p in sorted(self.base.glob("[!.]*")) if p.is_dir())
        return {p.name: p for p in folders if colmap.find_model(p) is not None or _find_log(p) is not None}

    def _read(self, name: str, place: Path) -> Scene:
        photos, model = photo_folder(place), colmap.find_model(place)
        if model is not None:
            return replace(read_colmap(model, photos), name=name)
        files = photos_in(photos)
        if not files:
            raise InputError(f"{photos}: expected photos, found none")
        return read_official(files, _find_log(place), self._lens(name, files[0]), name=name)

    def _lens(self, name: str, photo: Path) -> Lens:
        if self.intrinsics is None:
            raise InputError(
                f"{photo.parent}: expected intrinsics of {name}, but the official files have none: give a "
                f"JSON with fl_x, fl_y, cx, cy, w, h for {name}"
            )
        content = read_json(Path(self.intrinsics).expanduser(), "intrinsics of scenes")
        if not isinstance(content, dict) or not isinstance(content.get(name), dict):
            raise InputError(f"{self.intrinsics}: expected an object with intrinsics of {name}, found none")
        return lens_from_keys({}, content[name], f"{self.intrinsics}, {name}", read_header(photo).stored_size)


def read_official(photos: list[Path], log: Path, lens: Lens, *, name: str) -> Scene:
    """Registered photos with the poses of a .log file.

    Photos with numbered names keep their place in the log when others are missing; otherwise there must
    be exactly one photo for each entry.

    Raises:
        InputError: the log is damaged, or does not belong to these photos.
    """
    extrinsics, registered = read_log(log)
    entries = len(extrinsics)
    places = list(range(entries))
    if all(photo.stem.isdigit() for photo in photos):
        places = [int(photo.stem) - 1 for photo in photos]
    elif len(photos) != entries:
        raise InputError(f"{log}: expected one entry for each of {len(photos)} photos, got {entries}")
    frames = []
    for photo, place in zip(photos, places):
        if not 0 <= place < entries:
            raise InputError(f"{log}: expected an entry for {photo.name}, got only {entries} entries")
        if registered[place]:
            frames.append(photo_frame(photo, name=photo.name, extrinsics=extrinsics[place], lens=lens))
    return Scene(name=name, frames=tuple(frames), source=str(log), folder=photos[0].parent)


def _find_log(folder: Path) -> Path | None:
    name = f"{folder.name}_COLMAP_SfM.log"
    return next((place / name for place in (folder.parent, folder) if (place / name).is_file()), None)
