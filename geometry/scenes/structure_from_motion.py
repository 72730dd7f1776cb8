"""Cameras of photos that have none, by classical structure from motion with COLMAP's library, pycolmap.

SIFT features, matches of the pairs that share most, incremental mapping; no network. Photos are handed over
reduced, upright and grey, so that EXIF turns, videos and odd file formats are settled by our own reader;
`Frame.load` then undoes the distortion that is found. pycolmap is an optional package, imported when it is
needed.

Source: Schönberger and Frahm 2016 (COLMAP).
"""

import importlib.util
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float

from geometry.errors import InputError
from geometry.formats.colmap import ColmapCamera, ColmapModel, read_model
from geometry.formats.distortion import pinhole_intrinsics
from geometry.formats.images import ExifLens, read_exif_lens
from geometry.ops import se3
from geometry.scenes import panorama
from geometry.scenes.calibration import FILM_WIDTH_MM
from geometry.scenes.features import Features, find_features, largest, pairs_to_match
from geometry.scenes.mapping import best_model
from geometry.scenes.scene import Frame, Scene

SOURCE = "structure from motion"  # what a `Scene` of placed photos calls the source of its cameras
SIDE = 960  # pixels of the long side that features are found in
ALL_PAIRS = 40  # photos at most of which all pairs are matched
# Per photo, the strongest; matching grows with the square. More photos than those show everything more often.
FEATURES, FEATURES_OF_MANY = 6144, 3072
PARTNERS = 12  # of more photos, how many each is matched with at least: those that share most with it
_GUESSED_FOCAL = 1.2  # in long sides, where EXIF says nothing: a phone's, and where COLMAP starts too


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Photos that structure from motion could place."""

    scene: Scene  # the placed photos, all with cameras, in the order asked for
    indices: list[int]  # their places in the scene that was given
    missing: list[int]  # those that were asked for and not placed

    @property
    def share(self) -> str:
        """``5 of 6``."""
        return f"{len(self.indices)} of {len(self.indices) + len(self.missing)}"


def available() -> bool:
    """Whether pycolmap is installed."""
    return importlib.util.find_spec("pycolmap") is not None


def require() -> None:
    """Raise now what `place_photos` would raise later.

    Raises:
        InputError: pycolmap is not installed; the message says how to install it.
    """
    if not available():
        raise InputError(
            "structure from motion: expected the package pycolmap, which is not installed; "
            "install it with: pip install pycolmap (or this project's extra 'sfm')"
        )


def place_photos(scene: Scene, photos: Sequence[int] | None = None, *, seed: int = 0) -> Placed:
    """Poses and intrinsics of photos from nothing but the photos.

    The world is the first placed photo's camera (x right, y down, z forward); its scale is arbitrary.
    Photos of one size share a lens unless EXIF names different cameras or focal lengths. If the photos fall
    into several unconnected groups, the largest is kept.

    Args:
        scene: its poses are ignored; intrinsics that it has are kept, and lens distortion stays undone.
        photos: indices of the photos to use, None for all.
        seed: of every random choice; the same seed gives the same cameras.

    Raises:
        InputError: pycolmap is missing, or a photo cannot be read.
    """
    require()
    photos = list(range(len(scene))) if photos is None else sorted(set(photos))
    intrinsics = [pinhole_intrinsics(f.lens) if f.rig and f.lens else f.intrinsics for f in scene.frames]
    scene = scene.without_cameras()
    scene = replace(scene, frames=tuple(replace(f, intrinsics=K) for f, K in zip(scene.frames, intrinsics)))
    model = None
    if len(photos) > 1:
        with tempfile.TemporaryDirectory(prefix="sfm-") as folder, _silent():
            groups = _write_photos(Path(folder) / "photos", scene, photos)
            model = _reconstruct(Path(folder), groups, count=len(photos), seed=seed)
    found = {} if model is None else {int(Path(i.name).stem): i for i in model.images.values()}
    placed_at = panorama.snapped(scene, {i: image.extrinsics for i, image in found.items()}, photos)
    indices = sorted(placed_at)
    frames: list[Frame] = []
    if found:
        poses = torch.from_numpy(np.stack([placed_at[i] for i in indices]))
        poses = se3.relative(poses, poses[0]).numpy()
        cameras = [model.cameras[found[i].camera_id] if i in found else None for i in indices]
        frames = [_with_camera(scene.frames[i], *camera) for i, *camera in zip(indices, poses, cameras)]
    placed = replace(scene, frames=tuple(frames), source=SOURCE, estimated=True)
    return Placed(scene=placed, indices=indices, missing=[i for i in photos if i not in placed_at])


def _with_camera(frame: Frame, extrinsics: Float[np.ndarray, "4 4"], camera: ColmapCamera | None) -> Frame:
    """The frame with a camera that was found in its reduced copy, or with the intrinsics that it has."""
    if frame.intrinsics is not None or camera is None:
        return replace(frame, extrinsics=extrinsics)
    lens = camera.lens().resized(frame.image_size)
    known = frame.lens is not None or lens.is_pinhole  # `load` undoes a known distortion already
    return replace(
        frame, extrinsics=extrinsics, intrinsics=pinhole_intrinsics(lens), lens=frame.lens if known else lens
    )


# Names of photos that share a lens, COLMAP's model, known parameters, and whether these are exact.
_Group = tuple[list[str], str, str, bool]


def _write_photos(folder: Path, scene: Scene, photos: list[int]) -> list[_Group]:
    """Reduced grey copies, named by index, masks in a folder beside them, and which photos share a lens."""
    folder.mkdir()

    masks = folder.with_name("masks")
    if masked := any(scene.frames[i].mask or scene.frames[i].transparent for i in photos):
        masks.mkdir()

    def reduce(index: int) -> tuple[int, int]:
        grey = cv2.cvtColor(scene.frames[index].load(), cv2.COLOR_RGB2GRAY)
        keep = scene.frames[index].load_mask() if masked else None
        factor = SIDE / max(grey.shape)
        if factor < 1:
            size = [round(side * factor) for side in grey.shape[::-1]]
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / _name(index)), grey, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        if keep is not None:
            keep = cv2.resize(keep.astype(np.uint8), grey.shape[::-1])
            cv2.imwrite(str(masks / _name(index)), keep * 255)
        return grey.shape

    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        sizes = dict(zip(photos, threads.map(reduce, photos)))
    shared: dict[tuple, list[int]] = {}
    for index in photos:
        frame = scene.frames[index]
        lens = read_exif_lens(frame.image) if isinstance(frame.image, Path) else ExifLens()
        # A reduced size can be equal where the photo's is not: another camera.
        key = (frame.image_size, sizes[index], lens, frame.lens is None, str(frame.intrinsics))
        shared.setdefault(key, []).append(index)
    groups = []
    for (_, (H, W), lens, distorted, _), members in shared.items():
        # Without distortion where it was undone; else one coefficient, as many as casual photos support.
        model = "SIMPLE_RADIAL" if distorted else "SIMPLE_PINHOLE"
        focal = lens.focal_35mm and lens.focal_35mm / FILM_WIDTH_MM * max(H, W)
        # Stated parameters count as known: mapping starts from them.
        params = f"{focal},{W / 2},{H / 2}{',0' * distorted}" if focal else ""
        frame = scene.frames[members[0]]
        if frame.intrinsics is not None:
            smaller = np.diag([W / frame.image_size[1], H / frame.image_size[0]])
            (fx, _, cx), (_, fy, cy) = smaller @ frame.intrinsics[:2]
            model, params = "PINHOLE", f"{fx},{fy},{cx},{cy}"
        groups.append(([_name(index) for index in members], model, params, frame.intrinsics is not None))
    return groups


def _name(index: int) -> str:
    return f"{index:06d}.png"


def _reconstruct(folder: Path, groups: list[_Group], *, count: int, seed: int) -> ColmapModel | None:
    """The largest model of the photos in ``folder / "photos"``, None if no two of them are connected."""
    import pycolmap

    database, photos, model = folder / "database.db", folder / "photos", folder / "model"
    pycolmap.Database.open(database).close()  # makes the file
    for names, lens, params, _ in groups:
        reader = pycolmap.ImageReaderOptions(
            camera_model=lens, camera_params=params, default_focal_length_factor=_GUESSED_FOCAL
        )
        pycolmap.import_images(database, photos, pycolmap.CameraMode.SINGLE, names, reader)
    _match(database, photos, seed)
    # Cameras are numbered from 1 in the order in which they were made.
    exact = {number for number, (*_, known) in enumerate(groups, start=1) if known}
    best = best_model(database, photos, count=count, exact=exact, seed=seed)
    if best is None:
        return None
    model.mkdir()
    best.write_binary(model)
    return read_model(model)


def _match(database: Path, photos: Path, seed: int) -> None:
    """Write features of all photos, and verified matches of pairs that show the same, to the database."""
    import pycolmap

    threads = torch.get_num_threads()
    with pycolmap.Database.open(database) as rows:
        numbers = {image.name: image.image_id for image in rows.read_all_images()}
        names = sorted(numbers)
        most, partners = (FEATURES, ALL_PAIRS) if len(names) <= ALL_PAIRS else (FEATURES_OF_MANY, PARTNERS)
        few = []
        with ThreadPoolExecutor(threads) as pool:
            for name, found in zip(names, pool.map(lambda name: _features(photos / name, most), names)):
                few.append(largest(found))
                stored = (512 * found.descriptors).round().clip(0, 255).astype(np.uint8)
                sift = pycolmap.FeatureDescriptors(pycolmap.FeatureExtractorType.SIFT, stored)
                places = np.column_stack([found.places, found.scales, found.angles])
                rows.write_keypoints(numbers[name], places)
                rows.write_descriptors(numbers[name], sift)
    pairs = database.with_name("pairs.txt")
    pairs.write_text("".join(f"{names[i]} {names[j]}\n" for i, j in pairs_to_match(few, partners)))
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = seed
    pycolmap.match_image_pairs(
        database,
        pycolmap.FeatureMatchingOptions(num_threads=threads, use_gpu=False),
        pairing_options=pycolmap.ImportedPairingOptions(match_list_path=pairs),
        verification_options=verification,
        device=pycolmap.Device.cpu,
    )


def _features(photo: Path, most: int) -> Features:
    mask = photo.parents[1] / "masks" / photo.name
    keep = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE) > 0 if mask.is_file() else None
    return find_features(cv2.imread(str(photo), cv2.IMREAD_GRAYSCALE), most, keep=keep)


@contextmanager
def _silent() -> Iterator[None]:
    """pycolmap logs every step to standard error; what matters reaches the caller as a result."""
    import pycolmap

    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = pycolmap.logging.FATAL.value
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before
