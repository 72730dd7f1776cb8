"""COLMAP sparse models, binary and text, read and written.

Poses are world-to-camera with OpenCV axes and pixels put the first centre at (0.5, 0.5): our own
conventions, so nothing is converted but the quaternion (scalar first).

Source: layouts as COLMAP's documentation gives them ("Output Format").
"""

import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from geometry.atomic import atomic_file
from geometry.data.scene import Scene, photo_frame
from geometry.errors import InputError
from geometry.formats.distortion import Lens
from geometry.formats.images import natural_key
from geometry.ops import rotations

# model id, name, whether there are two focal lengths, distortion family, where each further parameter
# goes in the family's order.
_MODELS = (
    (0, "SIMPLE_PINHOLE", 1, "opencv", ()),
    (1, "PINHOLE", 2, "opencv", ()),
    (2, "SIMPLE_RADIAL", 1, "opencv", (0,)),
    (3, "RADIAL", 1, "opencv", (0, 1)),
    (4, "OPENCV", 2, "opencv", (0, 1, 2, 3)),
    (5, "OPENCV_FISHEYE", 2, "fisheye", (0, 1, 2, 3)),
    (6, "FULL_OPENCV", 2, "opencv", (0, 1, 2, 3, 4, 5, 6, 7)),
    (7, "FOV", 2, "fov", (0,)),
    (8, "SIMPLE_RADIAL_FISHEYE", 1, "fisheye", (0,)),
    (9, "RADIAL_FISHEYE", 1, "fisheye", (0, 1)),
    (10, "THIN_PRISM_FISHEYE", 2, "fisheye", (0, 1, 4, 5, 2, 3, 6, 7)),
)
_BY_ID = {row[0]: row for row in _MODELS}
_BY_NAME = {row[1]: row for row in _MODELS}


@dataclass(frozen=True, kw_only=True)
class ColmapCamera:
    """One camera, parameters in COLMAP's own order."""

    model: str  # COLMAP's name, for example SIMPLE_RADIAL
    image_size: tuple[int, int]  # (H, W)
    params: tuple[float, ...]

    def lens(self) -> Lens:
        """The same camera in our terms."""
        _, _, focals, family, places = _BY_NAME[self.model]
        coefficients = [0.0] * (max(places, default=-1) + 1)
        for place, value in zip(places, self.params[focals + 2 :]):
            coefficients[place] = value
        return Lens(
            image_size=self.image_size,
            focal=(self.params[0], self.params[focals - 1]),
            principal=(self.params[focals], self.params[focals + 1]),
            family=family,
            coefficients=tuple(coefficients),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ColmapImage:
    """One registered photo."""

    name: str  # may contain sub-folders
    camera_id: int
    extrinsics: Float[np.ndarray, "4 4"]  # world-to-camera
    keypoints: Float[np.ndarray, "n 2"]  # pixels
    point_ids: Int[np.ndarray, " n"]  # id of each keypoint's 3D point, -1 without


@dataclass(frozen=True, kw_only=True, eq=False)
class ColmapPoints:
    """Sparse points, one row each."""

    ids: Int[np.ndarray, " n"]
    xyz: Float[np.ndarray, "n 3"]
    rgb: UInt8[np.ndarray, "n 3"]
    errors_px: Float[np.ndarray, " n"]
    tracks: tuple[Int[np.ndarray, "_ 2"], ...]  # (image id, index of the keypoint)


@dataclass(frozen=True, kw_only=True, eq=False)
class ColmapModel:
    """A sparse model: cameras and images by id, points."""

    cameras: dict[int, ColmapCamera]
    images: dict[int, ColmapImage]
    points: ColmapPoints


def find_model(folder: Path) -> Path | None:
    """The folder among ``folder``, ``sparse/0``, ``sparse``, ``colmap/sparse/0`` that holds a model."""
    for place in (".", "sparse/0", "sparse", "colmap/sparse/0", "colmap"):
        if is_model(folder / place):
            return folder / place if place != "." else folder
    return None


def is_model(folder: Path) -> bool:
    """Whether the folder holds cameras and images of a COLMAP model."""
    return any(all((folder / f"{n}{s}").is_file() for n in ("cameras", "images")) for s in (".bin", ".txt"))


def read_model(folder: Path) -> ColmapModel:
    """Read a model; binary files are preferred where both forms lie in the folder. Points may be absent.

    Raises:
        InputError: no model there, or a file is damaged, with the place in the file.
    """
    binary = (folder / "cameras.bin").is_file() and (folder / "images.bin").is_file()
    if not binary and not is_model(folder):
        raise InputError(f"{folder}: wanted a COLMAP model (cameras and images, .bin or .txt), found none")
    if binary:
        cameras, images = _cameras_bin(folder / "cameras.bin"), _images_bin(folder / "images.bin")
        points_file, read_points = folder / "points3D.bin", _points_bin
    else:
        cameras, images = _cameras_txt(folder / "cameras.txt"), _images_txt(folder / "images.txt")
        points_file, read_points = folder / "points3D.txt", _points_txt
    points = read_points(points_file) if points_file.is_file() else _no_points()
    for image in images.values():
        if image.camera_id not in cameras:
            raise InputError(
                f"{folder}: image {image.name} wants camera {image.camera_id}, which is not listed"
            )
    return ColmapModel(cameras=cameras, images=images, points=points)


def read_scene(model_folder: Path, image_folder: Path, *, only: set[str] | None = None) -> Scene:
    """Posed photos of a model, in natural order of names, with its points and who saw them.

    Photos that the model names and the folder lacks are skipped with one warning that counts them. A
    name that is not found as it stands is looked up by its last part, if that is unique.

    Args:
        only: resolved paths to keep, when the caller chose some of the photos.

    Raises:
        InputError: no photo of the model is there, or a photo has another shape than its camera.
    """
    model = read_model(model_folder)
    if not model.images:
        raise InputError(f"{model_folder}: wanted a COLMAP model with registered photos, came an empty one")
    registered = sorted(model.images.values(), key=lambda image: natural_key(image.name))
    paths = _locate([image.name for image in registered], image_folder)
    present = [image for image in registered if paths[image.name] is not None]
    if only is not None:
        present = [image for image in present if str(paths[image.name].resolve()) in only]
    if not present:
        raise InputError(
            f"{model_folder}: wanted a COLMAP model of the photos in {image_folder}, came one of other "
            f"photos: none of its {len(registered)} names ({registered[0].name}, ...) is among them"
        )
    if only is None and len(present) < len(registered):
        missing = next(image.name for image in registered if paths[image.name] is None)
        warnings.warn(
            f"{model_folder}: {len(registered) - len(present)} of {len(registered)} photos are missing in "
            f"{image_folder} ({missing}, ...); they are skipped",
            stacklevel=2,
        )
    row_of = {int(point_id): row for row, point_id in enumerate(model.points.ids)}
    frames, visibility = [], []
    for image in present:
        lens = model.cameras[image.camera_id].lens()
        path = paths[image.name]
        frames.append(photo_frame(path, name=image.name, extrinsics=image.extrinsics, lens=lens))
        seen = [row_of[int(i)] for i in image.point_ids if int(i) in row_of]
        visibility.append(np.unique(np.array(seen, dtype=np.int64)))
    has_points = len(model.points.ids) > 0
    return Scene(
        name=image_folder.name,
        frames=tuple(frames),
        source=f"COLMAP model {model_folder}",
        points=model.points.xyz if has_points else None,
        visibility=tuple(visibility) if has_points else None,
        folder=image_folder,
    )


def model_from_cameras(
    names: Sequence[str],
    extrinsics: Float[np.ndarray, "V 4 4"],
    intrinsics: Float[np.ndarray, "V 3 3"],
    image_sizes: Sequence[tuple[int, int]],
    *,
    points: Float[np.ndarray, "N 3"] | None = None,
    colours: UInt8[np.ndarray, "N 3"] | None = None,
    seen_by: Int[np.ndarray, " N"] | None = None,
) -> ColmapModel:
    """A PINHOLE model of known cameras, one camera per photo, ids from 1.

    Args:
        image_sizes: (H, W) of each photo, to which its intrinsics refer.
        seen_by: the one view that observes each point; its keypoint is the projection there. Without
            it the points have empty tracks.
    """
    cameras, images = {}, {}
    xyz = np.zeros((0, 3)) if points is None else np.asarray(points, dtype=np.float64)
    tracks: list[np.ndarray] = [np.zeros((0, 2), np.int64)] * len(xyz)
    for v, name in enumerate(names):
        K, pose = np.asarray(intrinsics[v], dtype=np.float64), np.asarray(extrinsics[v], dtype=np.float64)
        params = (K[0, 0], K[1, 1], K[0, 2], K[1, 2])
        cameras[v + 1] = ColmapCamera(
            model="PINHOLE", image_size=tuple(image_sizes[v]), params=tuple(map(float, params))
        )
        rows = np.flatnonzero(seen_by == v) if seen_by is not None else np.zeros(0, np.int64)
        local = xyz[rows] @ pose[:3, :3].T + pose[:3, 3]
        keypoints = local[:, :2] / local[:, 2:] * (K[0, 0], K[1, 1]) + K[:2, 2]
        for index, row in enumerate(rows):
            tracks[row] = np.array([[v + 1, index]])
        images[v + 1] = ColmapImage(
            name=name, camera_id=v + 1, extrinsics=pose, keypoints=keypoints, point_ids=rows + 1
        )
    grey = np.full((len(xyz), 3), 128, np.uint8)
    return ColmapModel(
        cameras=cameras,
        images=images,
        points=ColmapPoints(
            ids=np.arange(1, len(xyz) + 1),
            xyz=xyz,
            rgb=grey if colours is None else np.asarray(colours, np.uint8),
            errors_px=np.zeros(len(xyz)),
            tracks=tuple(tracks),
        ),
    )


def write_model(folder: Path, model: ColmapModel, *, binary: bool = True) -> None:
    """Write cameras, images and points3D into ``folder``, as .bin or .txt; each file whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    writers = (_write_bin, ".bin") if binary else (_write_txt, ".txt")
    for name, content in writers[0](model).items():
        with atomic_file(folder / f"{name}{writers[1]}") as path:
            path.write_bytes(content)


def _locate(names: list[str], folder: Path) -> dict[str, Path | None]:
    """The photo of each name; models made elsewhere may carry sub-folders that are not here."""
    last_parts = [Path(name).name for name in names]
    shared = len(set(last_parts)) < len(names)  # cam1/001.jpg and cam2/001.jpg must not meet in one file
    found: dict[str, Path | None] = {}
    for name, last in zip(names, last_parts):
        candidates = [folder / name] if shared else [folder / name, folder / last]
        found[name] = next((path for path in candidates if path.is_file()), None)
    return found


def _quat_to_pose(quat_wxyz: Sequence[float], translation: Sequence[float], where: str) -> np.ndarray:
    quat = torch.tensor(quat_wxyz, dtype=torch.float64)
    if not torch.isfinite(quat).all() or not np.isfinite(translation).all() or quat.norm() < 1e-9:
        raise InputError(f"{where}: wanted a finite pose, came q {list(quat_wxyz)}, t {list(translation)}")
    pose = np.eye(4)
    pose[:3, :3] = rotations.matrix_from_quat_xyzw(rotations.xyzw_from_wxyz(quat)).numpy()
    pose[:3, 3] = translation
    return pose


def _camera(
    model: tuple | None, label: object, width: int, height: int, params: tuple, where: str
) -> ColmapCamera:
    if model is None:
        raise InputError(f"{where}: wanted a camera model among {', '.join(_BY_NAME)}, came {label}")
    wanted = 2 + model[2] + len(model[4])
    if len(params) != wanted:
        raise InputError(f"{where}: wanted {wanted} parameters of {model[1]}, came {len(params)}")
    return ColmapCamera(model=model[1], image_size=(height, width), params=params)


def _points(rows: list[tuple], tracks: list[np.ndarray]) -> ColmapPoints:
    return ColmapPoints(
        ids=np.array([r[0] for r in rows], dtype=np.int64),
        xyz=np.array([r[1:4] for r in rows], dtype=np.float64).reshape(-1, 3),
        rgb=np.array([r[4:7] for r in rows], dtype=np.uint8).reshape(-1, 3),
        errors_px=np.array([r[7] for r in rows], dtype=np.float64),
        tracks=tuple(tracks),
    )


def _no_points() -> ColmapPoints:
    return _points([], [])


class _Bytes:
    """A cursor over a binary file that says where it broke off."""

    def __init__(self, path: Path) -> None:
        self.path, self.data, self.offset = path, path.read_bytes(), 0

    def take(self, layout: str) -> tuple:
        layout = "<" + layout
        self._need(struct.calcsize(layout))
        values = struct.unpack_from(layout, self.data, self.offset)
        self.offset += struct.calcsize(layout)
        return values

    def array(self, count: int, dtype: np.dtype | str) -> np.ndarray:
        dtype = np.dtype(dtype)
        self._need(count * dtype.itemsize)
        values = np.frombuffer(self.data, dtype, count, self.offset)
        self.offset += count * dtype.itemsize
        return values

    def name(self) -> str:
        end = self.data.find(b"\0", self.offset)
        if end < 0:
            raise InputError(f"{self.path}: wanted a name ending in NUL at byte {self.offset}, the file ends")
        raw, self.offset = self.data[self.offset : end], end + 1
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(
                f"{self.path}: wanted a name in UTF-8 before byte {end}, came {raw[:40]!r}"
            ) from None

    def end(self) -> None:
        if self.offset != len(self.data):
            raise InputError(
                f"{self.path}: wanted the end at byte {self.offset}, the file has {len(self.data)}"
            )

    def _need(self, size: int) -> None:
        if self.offset + size > len(self.data):
            raise InputError(
                f"{self.path}: wanted {size} more bytes at byte {self.offset}, the file ends at "
                f"{len(self.data)} (truncated, or not a COLMAP file)"
            )


_KEYPOINT = np.dtype([("xy", "<f8", 2), ("point", "<i8")])


def _cameras_bin(path: Path) -> dict[int, ColmapCamera]:
    file, cameras = _Bytes(path), {}
    for _ in range(file.take("Q")[0]):
        where = f"{path}, byte {file.offset}"
        camera_id, model_id, width, height = file.take("iiQQ")
        model = _BY_ID.get(model_id)
        count = 2 + model[2] + len(model[4]) if model else 0
        cameras[camera_id] = _camera(model, f"id {model_id}", width, height, file.take(f"{count}d"), where)
    file.end()
    return cameras


def _images_bin(path: Path) -> dict[int, ColmapImage]:
    file, images = _Bytes(path), {}
    for _ in range(file.take("Q")[0]):
        where = f"{path}, byte {file.offset}"
        image_id, *pose, camera_id = file.take("I7dI")
        name = file.name()
        keypoints = file.array(file.take("Q")[0], _KEYPOINT)
        images[image_id] = ColmapImage(
            name=name,
            camera_id=camera_id,
            extrinsics=_quat_to_pose(pose[:4], pose[4:], f"{where}, image {name}"),
            keypoints=keypoints["xy"].copy(),
            point_ids=keypoints["point"].copy(),
        )
    file.end()
    return images


def _points_bin(path: Path) -> ColmapPoints:
    file, rows, tracks = _Bytes(path), [], []
    for _ in range(file.take("Q")[0]):
        *row, length = file.take("Q3d3BdQ")
        rows.append(tuple(row))
        tracks.append(file.array(2 * length, "<u4").reshape(-1, 2).astype(np.int64))
    file.end()
    return _points(rows, tracks)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and words of a text file; comment lines are left out, empty ones kept."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: wanted a text file in UTF-8, came other bytes at {error.start}") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.startswith("#"):
            yield number, line.split()


def _cameras_txt(path: Path) -> dict[int, ColmapCamera]:
    cameras = {}
    for number, words in _lines(path):
        if not words:
            continue
        where = f"{path}, line {number}"
        with _parsing(where, "CAMERA_ID MODEL WIDTH HEIGHT PARAMS"):
            camera_id, label, width, height = int(words[0]), words[1], int(words[2]), int(words[3])
            params = tuple(map(float, words[4:]))
        cameras[camera_id] = _camera(_BY_NAME.get(label), label, width, height, params, where)
    return cameras


def _images_txt(path: Path) -> dict[int, ColmapImage]:
    images, lines = {}, _lines(path)
    for number, words in lines:
        if not words:
            continue
        where = f"{path}, line {number}"
        with _parsing(where, "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"):
            image_id, pose, camera_id = int(words[0]), list(map(float, words[1:8])), int(words[8])
            name = " ".join(words[9:])
            if not name:
                raise IndexError("no name")
        number, observed = next(lines, (number, []))
        with _parsing(f"{path}, line {number}", "triples X Y POINT3D_ID"):
            values = np.array(observed, dtype=np.float64).reshape(-1, 3)
        images[image_id] = ColmapImage(
            name=name,
            camera_id=camera_id,
            extrinsics=_quat_to_pose(pose[:4], pose[4:], f"{where}, image {name}"),
            keypoints=values[:, :2],
            point_ids=values[:, 2].astype(np.int64),
        )
    return images


def _points_txt(path: Path) -> ColmapPoints:
    rows, tracks = [], []
    for number, words in _lines(path):
        if not words:
            continue
        with _parsing(f"{path}, line {number}", "POINT3D_ID X Y Z R G B ERROR TRACK"):
            rows.append((int(words[0]), *map(float, words[1:4]), *map(int, words[4:7]), float(words[7])))
            tracks.append(np.array(words[8:], dtype=np.int64).reshape(-1, 2))
    return _points(rows, tracks)


class _parsing:
    """Turn a malformed line into one error that says what the line should hold."""

    def __init__(self, where: str, wanted: str) -> None:
        self.where, self.wanted = where, wanted

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (ValueError, IndexError)):
            raise InputError(f"{self.where}: wanted {self.wanted}, could not read it ({error})") from error


def _pose_numbers(image: ColmapImage) -> list[float]:
    """qw qx qy qz tx ty tz."""
    rotation = torch.from_numpy(np.ascontiguousarray(image.extrinsics[:3, :3]))
    quat = rotations.wxyz_from_xyzw(rotations.quat_xyzw_from_matrix(rotation))
    return [*quat.tolist(), *image.extrinsics[:3, 3].tolist()]


def _write_bin(model: ColmapModel) -> dict[str, bytes]:
    cameras = [struct.pack("<Q", len(model.cameras))]
    for camera_id, camera in model.cameras.items():
        (height, width), n = camera.image_size, len(camera.params)
        cameras.append(
            struct.pack(f"<iiQQ{n}d", camera_id, _BY_NAME[camera.model][0], width, height, *camera.params)
        )
    images = [struct.pack("<Q", len(model.images))]
    for image_id, image in model.images.items():
        images.append(struct.pack("<I7dI", image_id, *_pose_numbers(image), image.camera_id))
        images.append(image.name.encode() + b"\0" + struct.pack("<Q", len(image.keypoints)))
        keypoints = np.empty(len(image.keypoints), _KEYPOINT)
        keypoints["xy"], keypoints["point"] = image.keypoints, image.point_ids
        images.append(keypoints.tobytes())
    points = [struct.pack("<Q", len(model.points.ids))]
    for point_id, xyz, rgb, error, track in _point_rows(model.points):
        points.append(struct.pack("<Q3d3BdQ", point_id, *xyz, *rgb, error, len(track)))
        points.append(np.asarray(track, "<u4").tobytes())
    return {"cameras": b"".join(cameras), "images": b"".join(images), "points3D": b"".join(points)}


def _write_txt(model: ColmapModel) -> dict[str, bytes]:
    cameras = [
        "# Camera list with one line of data per camera:",
        "#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]",
        f"# Number of cameras: {len(model.cameras)}",
    ]
    for camera_id, camera in model.cameras.items():
        height, width = camera.image_size
        cameras.append(_line(camera_id, camera.model, width, height, *camera.params))
    observed = sum(len(image.keypoints) for image in model.images.values()) / max(len(model.images), 1)
    images = [
        "# Image list with two lines of data per image:",
        "#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME",
        "#   POINTS2D[] as (X, Y, POINT3D_ID)",
        f"# Number of images: {len(model.images)}, mean observations per image: {observed:g}",
    ]
    for image_id, image in model.images.items():
        images.append(_line(image_id, *_pose_numbers(image), image.camera_id, image.name))
        triples = zip(image.keypoints.tolist(), image.point_ids.tolist())
        images.append(" ".join(_line(x, y, point) for (x, y), point in triples))
    lengths = [len(track) for track in model.points.tracks]
    points = [
        "# 3D point list with one line of data per point:",
        "#   POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX)",
        f"# Number of points: {len(lengths)}, mean track length: {np.mean(lengths) if lengths else 0:g}",
    ]
    for point_id, xyz, rgb, error, track in _point_rows(model.points):
        points.append(_line(point_id, *xyz, *rgb, error, *np.asarray(track).ravel().tolist()))
    lists = {"cameras": cameras, "images": images, "points3D": points}
    return {name: ("\n".join(lines) + "\n").encode() for name, lines in lists.items()}


def _point_rows(points: ColmapPoints) -> Iterator[tuple]:
    return zip(
        points.ids.tolist(),
        points.xyz.tolist(),
        points.rgb.tolist(),
        points.errors_px.tolist(),
        points.tracks,
    )


def _line(*values: object) -> str:
    """Numbers separated by blanks; floats keep every digit."""
    return " ".join(repr(v) if isinstance(v, float) else str(v) for v in values)
