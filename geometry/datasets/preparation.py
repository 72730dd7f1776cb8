"""Downloads into the layouts that the readers expect: a table of sets. Can be interrupted and run again."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from geometry.console import say
from geometry.datasets import finishing
from geometry.datasets.registry import open_source
from geometry.datasets.tanks_and_temples import TRAINING_SCENES
from geometry.datasets.unpack import below, unpack
from geometry.errors import InputError
from geometry.formats.images import IMAGE_SUFFIXES

# Path in an archive, and the archive's own path in the folder of archives -> path under the root, or None.
Place = Callable[[PurePosixPath, PurePosixPath], PurePosixPath | None]


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What one set needs between its download and its reader.

    ``finish(root, **options)`` runs after unpacking; it returns a line for all that is still missing or
    wrong, and says the rest. Without it the reader's scenes are counted.
    """

    finish: Callable[..., list[str]] | None = None
    scenes: str = "scenes"  # what the set calls them
    archives: tuple[str, ...] = ()  # patterns below the folder of archives
    needed: bool = False  # without an archive there is nothing to do
    place: Place = lambda path, archive: path


def prepare(
    name: str,
    root: Path,
    *,
    archives: Path | None = None,
    delete_archives: bool = False,
    **options: Any,
) -> list[str]:
    """Unpack a set's archives below ``root`` and do what its reader needs besides.

    Args:
        name: a set of `PREPARATIONS`.
        archives: folder of the archives, ``root`` by default.
        delete_archives: delete each archive once it is unpacked.
        options: of the set's step in `geometry.datasets.finishing`.

    Returns:
        What is still missing or wrong, a line each.

    Raises:
        InputError: no archives, a damaged one, or a download that is not there.
    """
    preparation = PREPARATIONS[name]
    folder = archives or root
    found = sorted({path for pattern in preparation.archives for path in folder.glob(pattern)})
    if preparation.needed and not found:
        raise InputError(f"{folder}: expected archives {', '.join(preparation.archives)}, found none")
    for archive in found:
        relative = PurePosixPath(archive.relative_to(folder).as_posix())
        written, present = unpack(archive, root, lambda path, at=relative: preparation.place(path, at))  # type: ignore[misc]
        say(f"{relative}: {written} files written, {present} there already")
        if delete_archives and written + present > 0:
            archive.unlink()
    if preparation.finish is not None:
        return preparation.finish(root, **options)
    say(f"{len(open_source(root, name))} {preparation.scenes}")
    return []


_TARTANAIR = below("Easy", "Hard", "Data_easy", "Data_hard")
_SCENES = below("Scene*", keep=0)
_BLENDED_MVS = below("blended_images", "cams", "rendered_depth_maps")
_HYPERSIM = re.compile(
    r"(_detail/metadata_scene\.csv"
    r"|_detail/cam_\d+/camera_keyframe_(positions|orientations|frame_indices)\.hdf5"
    r"|images/scene_cam_\d+_final_preview/frame\.\d+\.tonemap\.jpg"
    r"|images/scene_cam_\d+_geometry_hdf5/frame\.\d+\.depth_meters\.hdf5)$"
)


def _dl3dv(path: PurePosixPath, archive: PurePosixPath) -> PurePosixPath:
    """Archives hold the scene's folder, with or without the batch's above it, or its contents."""
    parts = list(path.parts)
    while parts and (parts[0] == archive.stem or re.fullmatch(r"\d+K", parts[0])):
        parts.pop(0)
    return PurePosixPath(archive.parent.name, archive.stem, *parts)


def _tanks(path: PurePosixPath, archive: PurePosixPath) -> PurePosixPath | None:
    """Photos go to <Scene>/, whatever folders the archive has around them."""
    return PurePosixPath(archive.stem, path.name) if path.suffix.lower() in IMAGE_SUFFIXES else None


def _vkitti2(path: PurePosixPath, archive: PurePosixPath) -> PurePosixPath | None:
    scene = _SCENES(path)
    return None if scene is None else PurePosixPath(archive.name.split(".tar")[0], scene)


PREPARATIONS = {
    "blended_mvs": Preparation(
        archives=("*.zip", "*.tar", "*.gz"),
        needed=True,
        place=lambda path, archive: _BLENDED_MVS(path),
        scenes="projects",
    ),
    "co3d": Preparation(
        finish=finishing.index_co3d,
    ),
    "dl3dv": Preparation(
        archives=("*/" + 64 * "[0-9a-f]" + ".zip",),
        place=_dl3dv,
        finish=finishing.list_dl3dv,
    ),
    "dl3dv_benchmark": Preparation(
        finish=finishing.check_dl3dv_benchmark,
    ),
    "hypersim": Preparation(
        archives=("ai_*.zip",),
        needed=True,
        place=lambda path, archive: path if _HYPERSIM.search(path.as_posix()) else None,
        scenes="camera paths",
    ),
    "megadepth": Preparation(
        finish=finishing.undistort_megadepth,
    ),
    "scannetpp": Preparation(
        finish=finishing.list_scannetpp,
    ),
    "tanks_and_temples": Preparation(
        archives=tuple(f"{scene}.zip" for scene in TRAINING_SCENES),
        place=_tanks,
        finish=finishing.check_tanks,
    ),
    "tartanair": Preparation(
        archives=("**/*.zip",),
        needed=True,
        # The path in the archive, or else the archive's own folders, name environment and difficulty.
        place=lambda path, archive: _TARTANAIR(path) or _TARTANAIR(archive.parent / path),
        scenes="flights",
    ),
    "vkitti2": Preparation(
        archives=("vkitti_*.tar*",),
        needed=True,
        place=_vkitti2,
        scenes="drives",
    ),
}
