"""Downloads into the layouts that the readers expect: a table of sets. Can be interrupted and run again."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from geometry.console import say
from geometry.datasets import finishing
from geometry.datasets.registry import READERS
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

    get: str  # where the set comes from and under which terms
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
    say(f"{len(READERS[name](root))} {preparation.scenes}")
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
        get="BlendedMVS or BlendedMVG: the links of YoYo000/BlendedMVS, CC BY 4.0.",
        archives=("*.zip", "*.tar", "*.gz"),
        needed=True,
        place=lambda path, archive: _BLENDED_MVS(path),
        scenes="projects",
    ),
    "co3d": Preparation(
        get="CO3D v2: the download script of facebookresearch/co3d, CC BY-NC 4.0. Annotations are cut into "
        "one small file per sequence; photos stay where they are.",
        finish=finishing.index_co3d,
    ),
    "dl3dv": Preparation(
        get="DL3DV-10K: the gated Hugging Face repositories DL3DV/DL3DV-ALL-480P (about 730 GB) or -960P "
        "(about 2.8 TB) with their download.py, to ROOT/<1K..11K>/<hash>.zip. CC BY-NC 4.0 with terms of"
        " use; accept them there. Writes ROOT/train.txt: all scenes that can be read, but for the "
        "benchmark's.",
        archives=("*/" + 64 * "[0-9a-f]" + ".zip",),
        place=_dl3dv,
        finish=finishing.list_dl3dv,
    ),
    "dl3dv_benchmark": Preparation(
        get="DL3DV's benchmark: 140 scenes in the gated repository DL3DV/DL3DV-Benchmark on Hugging Face, CC"
        " BY-NC 4.0 with terms of use: accept them there and log in (`hf auth login`, or HF_TOKEN). "
        "Checks that every scene is there with all its photos, and writes ROOT/split.json.",
        finish=finishing.check_dl3dv_benchmark,
    ),
    "hypersim": Preparation(
        get="Hypersim: ai_VVV_NNN.zip with the download script of apple/ml-hypersim, CC BY-SA 3.0, and from "
        "there contrib/mikeroberts3000/metadata_camera_parameters.csv, to ROOT. Only tone-mapped photos,"
        " distances and camera paths are unpacked.",
        archives=("ai_*.zip",),
        needed=True,
        place=lambda path, archive: path if _HYPERSIM.search(path.as_posix()) else None,
        scenes="camera paths",
    ),
    "megadepth": Preparation(
        get="MegaDepth: its page at Cornell has MegaDepth_v1 (depth; unpacks to "
        "phoenix/S6/zl548/MegaDepth_v1) and MegaDepth_v1_SfM (models and photos, which are Flickr's, "
        "each under its own licence). Depth belongs to photos that COLMAP has undistorted to "
        "ROOT/Undistorted_SfM/<scene>.",
        finish=finishing.undistort_megadepth,
    ),
    "scannetpp": Preparation(
        get="ScanNet++: on request at its own site, under its terms of use. Depth is rendered and iPhone "
        "frames are extracted by the set's toolbox (scannetpp/scannetpp). Writes ROOT/ready_<device>.txt"
        " for ``scenes=``.",
        finish=finishing.list_scannetpp,
    ),
    "tanks_and_temples": Preparation(
        get="Tanks and Temples: image sets of the training scenes but Courthouse, and their poses "
        "(<Scene>_COLMAP_SfM.log), from tanksandtemples.org/download, to ROOT; licence on the same site."
        " No official file has intrinsics: without a COLMAP model, the commands that make one are "
        "printed. Checks all six scenes and writes ROOT/split.json.",
        archives=tuple(f"{scene}.zip" for scene in TRAINING_SCENES),
        place=_tanks,
        finish=finishing.check_tanks,
    ),
    "tartanair": Preparation(
        get="TartanAir: image and depth archives of the left camera, with castacks/tartanair_tools (first "
        "version) or the tartanair package (V2); terms at tartanair.org.",
        archives=("**/*.zip",),
        needed=True,
        # The path in the archive, or else the archive's own folders, name environment and difficulty.
        place=lambda path, archive: _TARTANAIR(path) or _TARTANAIR(archive.parent / path),
        scenes="flights",
    ),
    "vkitti2": Preparation(
        get="Virtual KITTI 2: vkitti_2.0.3_{rgb, depth, textgt}.tar, and for a sky mask by class "
        "_classSegmentation.tar, from its page at Naver Labs Europe, CC BY-NC-SA 3.0.",
        archives=("vkitti_*.tar*",),
        needed=True,
        place=_vkitti2,
        scenes="drives",
    ),
}
