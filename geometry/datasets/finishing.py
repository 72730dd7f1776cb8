"""What a set needs after unpacking: indices, lists of scenes that can be read, undistortion, checks.

Every step takes the root and returns what is still missing or wrong, a line each.
"""

import json
import shutil
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path

from geometry.atomic import atomic_file, atomic_folder
from geometry.console import say
from geometry.datasets.co3d import INDEX_FOLDER, read_frames, read_qualities
from geometry.datasets.dl3dv import DL3DV, IMAGE_FOLDERS
from geometry.datasets.megadepth import DEPTHS, MegaDepthColmap
from geometry.datasets.scannetpp import ScanNetPP
from geometry.datasets.sources import SceneSource, existing_folder, photo_folder, read_hashes
from geometry.datasets.tanks_and_temples import TRAINING_SCENES, TanksAndTemples
from geometry.errors import InputError
from geometry.formats import colmap

DL3DV_BENCHMARK, DL3DV_BENCHMARK_META = "DL3DV/DL3DV-Benchmark", "benchmark-meta.csv"
MEGADEPTH_BENCHMARK = tuple(str(place) for place in range(5000, 5019))
_SCANNETPP_NEEDS = {
    "dslr": "common/render.py, which renders depth of the DSLR photos",
    "iphone": "iphone/prepare_iphone_data.py for the frames, then common/render.py for their depth",
}
_COLMAP_COMMANDS = """  colmap feature_extractor --image_path {images} --database_path {folder}/database.db \
--ImageReader.single_camera 1 --ImageReader.camera_model OPENCV
  colmap exhaustive_matcher --database_path {folder}/database.db
  mkdir -p {folder}/sparse && colmap mapper --image_path {images} --database_path {folder}/database.db \
--output_path {folder}/sparse"""


def index_co3d(root: Path, *, out: Path | None = None) -> list[str]:
    """Cut CO3D's annotations into one file per sequence, in ``_sequences`` by default."""
    out = out or root / INDEX_FOLDER
    annotations = sorted(root.glob("*/frame_annotations.jgz"))
    if not annotations:
        raise InputError(f"{root}: expected <category>/frame_annotations.jgz, found none")
    for path in annotations:
        category, frames = path.parent.name, read_frames(path)
        qualities = read_qualities(path.parent / "sequence_annotations.jgz")
        there = sorted(name for name in frames if (path.parent / name / "images").is_dir())
        for name in there:
            _write(out / category / f"{name}.json", json.dumps(frames[name]))
        # Last: its presence says that all are there.
        _write(out / f"{category}.json", json.dumps({name: qualities.get(name) for name in there}))
        absent = len(frames) - len(there)
        say(f"{category}: {len(there)} sequences" + (f", {absent} without photos here" if absent else ""))
    return []


def list_dl3dv(root: Path, *, benchmark: Path) -> list[str]:
    """Write ``train.txt``: the scenes that can be read and whose hashes are not in ``benchmark``."""
    source, path = DL3DV(root, exclude=benchmark), root / "train.txt"
    listed = _list_readable(source, path, "left out")
    say(
        f"{listed} scenes in {path}; {len(source) - listed} cannot be read; {len(source.excluded)} benchmark "
        "scenes are left out"
    )
    return []


def list_scannetpp(root: Path, *, device: str = "dslr") -> list[str]:
    """Write ``ready_<device>.txt``: the scenes for which the set's toolbox has done its work."""
    source, path = ScanNetPP(root, device=device, depth=True), root / f"ready_{device}.txt"  # type: ignore[arg-type]
    listed = _list_readable(source, path, "not ready")
    say(f"{listed} scenes ready, listed in {path}; {len(source) - listed} not")
    if listed < len(source):
        say(f"still to run in the set's toolbox: {_SCANNETPP_NEEDS[device]}")
    return []


def check_dl3dv_benchmark(root: Path, *, fetch: bool = False, resolution: str = "480P") -> list[str]:
    """Whether every listed scene is there with all its photos; ``fetch`` downloads first."""
    if fetch:
        _fetch_dl3dv_benchmark(root, IMAGE_FOLDERS[resolution])
    source = DL3DV(root, exclude=None, resolution=resolution, points=False)
    meta = root / DL3DV_BENCHMARK_META
    if meta.is_file():
        faults = [f"{name}: missing" for name in sorted(read_hashes(meta) - set(source.names))]
    else:
        faults = [f"{meta}: missing, so nobody knows which scenes should be here; fetch it too"]
    return faults + [fault for name in source.names for fault in _faults(source, name)]


def _fetch_dl3dv_benchmark(root: Path, images: str) -> None:
    """The scene list, poses and one folder of photos per scene; files that are there stay."""
    # Imported here: checking what lies on the disk needs no network library.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    wanted = [DL3DV_BENCHMARK_META, "*/nerfstudio/transforms.json", f"*/nerfstudio/{images}/*"]
    try:
        snapshot_download(DL3DV_BENCHMARK, repo_type="dataset", local_dir=root, allow_patterns=wanted)
    except (HfHubHTTPError, LocalTokenNotFoundError) as error:
        raise InputError(
            f"https://huggingface.co/datasets/{DL3DV_BENCHMARK}: could not fetch "
            f"({str(error).strip().splitlines()[0]}); accept the terms there and log in with `hf auth login`"
        ) from error


def check_tanks(root: Path, *, intrinsics: Path | None = None) -> list[str]:
    """Whether the six training scenes can be read, with the COLMAP commands for those without cameras."""
    faults = []
    for name in TRAINING_SCENES:
        folder = root / name
        if not folder.is_dir():
            faults.append(f"{name}: missing: no {folder}")
        elif colmap.find_model(folder) is None and intrinsics is None:
            faults.append(f"{name}: no COLMAP model and no --intrinsics; to do:")
            faults.append(_COLMAP_COMMANDS.format(images=photo_folder(folder), folder=folder))
        else:
            try:
                source = TanksAndTemples(root, intrinsics=intrinsics, scenes=[name])
            except InputError as error:
                faults.append(f"{name}: {error}")
            else:
                faults += _faults(source, name)
    return faults


def undistort_megadepth(
    root: Path,
    *,
    undistort: bool = False,
    scenes: Sequence[str] | None = None,
    benchmark: bool = False,
) -> list[str]:
    """Undistort scenes with COLMAP, or say how, and compare the sizes of depth and photos.

    Args:
        scenes: place numbers; by default those with depth.
        benchmark: take the benchmark's scenes, all of which must be there in the end.
    """
    undistorted = root / "Undistorted_SfM"
    if benchmark:
        scenes = MEGADEPTH_BENCHMARK
    elif not scenes:
        depths = existing_folder(root / DEPTHS, "MegaDepth's depth")
        scenes = sorted(p.name for p in depths.iterdir() if (p / "dense0/depths").is_dir())

    def missing() -> list[str]:
        return [scene for scene in scenes if colmap.find_model(undistorted / scene) is None]

    for scene in missing():
        _undistort(root / "MegaDepth_v1_SfM" / scene, undistorted / scene, run=undistort)
    faults = _compare_sizes(root, scenes) if undistorted.is_dir() else []
    still = missing()
    if benchmark and still and not faults:
        faults = [f"no split yet: {len(still)} of {len(scenes)} scenes are missing ({still[0]}, ...)"]
    return faults


def _undistort(place: Path, out: Path, *, run: bool) -> None:
    model = place / "sparse/manhattan/0"
    command = ["colmap", "image_undistorter", "--image_path", str(place / "images")]
    command += ["--input_path", str(model), "--output_path"]
    if not model.is_dir():
        say(f"{place.name}: left out, no model in {model}")
    elif not run:
        say(f"to do: {' '.join(command)} {out}")
    elif shutil.which("colmap") is None:
        raise InputError(f"colmap: expected the program on the path to undistort {place.name}, found none")
    else:
        with atomic_folder(out) as folder:  # a model that is half there must not look whole
            done = subprocess.run([*command, str(folder)], capture_output=True, text=True)
            if done.returncode != 0:
                raise InputError(f"{place}: colmap image_undistorter failed: {done.stderr.strip()[-300:]}")
        say(f"{place.name}: undistorted")


def _compare_sizes(root: Path, scenes: Sequence[str]) -> list[str]:
    """Depth and photo of a frame have one shape, or the undistortion used another size."""
    source, faults = MegaDepthColmap(root), []
    for name in sorted(set(scenes).intersection(source.names)):
        scene = source.read(name)
        frames = [frame for frame in scene.frames if frame.depth is not None]
        say(f"{name}: {len(scene)} photos, {len(frames)} with depth")
        for frame in frames[:3]:
            shape = frame.load_depth().shape
            if tuple(frame.image_size) != shape:
                faults.append(f"{name}, {frame.name}: photo (H, W) {frame.image_size}, depth {shape}")
    return faults


def _faults(source: SceneSource, name: str) -> list[str]:
    """What keeps a scene from being read whole; a reader warns of photos that it leaves out."""
    faults = []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            say(f"{name}: {len(source.read(name))} photos with poses")
        except InputError as error:
            faults.append(f"{name}: {error}")
    return faults + [f"{name}: {warning.message}" for warning in said]


def _list_readable(source: SceneSource, path: Path, otherwise: str) -> int:
    """Write the names of the scenes that can be read, one a line; how many, and what is wrong with others."""
    readable = []
    for name in source.names:
        try:
            source.read(name)
            readable.append(name)
        except InputError as error:
            say(f"{otherwise}: {error}")
    _write(path, "".join(f"{name}\n" for name in readable))
    return len(readable)


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
