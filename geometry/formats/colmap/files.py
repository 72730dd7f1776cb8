"""The files of a COLMAP model: where they lie, which form they have."""

from pathlib import Path

from geometry.atomic import atomic_file
from geometry.errors import InputError
from geometry.formats.colmap import binary, text
from geometry.formats.colmap.records import ColmapModel, points_from_rows


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
    if not is_model(folder):
        raise InputError(f"{folder}: expected a COLMAP model (cameras and images, .bin or .txt), found none")
    is_binary = all((folder / f"{name}.bin").is_file() for name in ("cameras", "images"))
    form, suffix = (binary, ".bin") if is_binary else (text, ".txt")
    cameras = form.read_cameras(folder / f"cameras{suffix}")
    images = form.read_images(folder / f"images{suffix}")
    points_file = folder / f"points3D{suffix}"
    points = form.read_points(points_file) if points_file.is_file() else points_from_rows([], [])
    for image in images.values():
        if image.camera_id not in cameras:
            raise InputError(
                f"{folder}: image {image.name} refers to camera {image.camera_id}, which is not listed"
            )
    return ColmapModel(cameras=cameras, images=images, points=points)


def write_model(folder: Path, model: ColmapModel, *, binary_form: bool = True) -> None:
    """Write cameras, images and points3D into ``folder``, as .bin or .txt; each file whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    form, suffix = (binary, ".bin") if binary_form else (text, ".txt")
    for name, content in form.contents(model).items():
        with atomic_file(folder / f"{name}{suffix}") as path:
            path.write_bytes(content)
