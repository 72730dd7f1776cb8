"""The files of a COLMAP model: where they lie, which form they have."""

from pathlib import Path
from types import ModuleType

from geometry.atomic import atomic_file
from geometry.errors import InputError
from geometry.formats.colmap import binary, text
from geometry.formats.colmap.records import ColmapCamera, ColmapModel, points_from_rows


def find_model(folder: Path) -> Path | None:
    """The folder that holds a model: ``folder``, or in it ``sparse``, ``colmap/sparse`` or ``colmap``.

    Where COLMAP left several numbered ones (``sparse/0``, ``sparse/1``), that of the most photos.
    """
    if is_model(folder):
        return folder
    places = [folder / name for name in ("sparse", "colmap/sparse", "colmap")]
    if folder.name == "sparse":
        places.insert(0, folder)
    for place in places:
        if models := numbered_models(place):
            return models[0]
        if is_model(place):
            return place
    return None


def numbered_models(folder: Path) -> list[Path]:
    """Models in sub-folders named by numbers, that of the most photos first."""
    inner = [p for p in folder.iterdir() if p.name.isdecimal() and is_model(p)] if folder.is_dir() else []
    return inner if len(inner) < 2 else sorted(inner, key=lambda p: (-count_photos(p), int(p.name)))


def count_photos(folder: Path) -> int:
    """How many photos a model places, by the shortest reading; 0 where the file is damaged."""
    if _form(folder)[1] == ".bin":
        with (folder / "images.bin").open("rb") as file:
            return int.from_bytes(file.read(8), "little")
    try:
        return len(photo_names(folder))
    except InputError:
        return 0


def photo_names(folder: Path) -> list[str]:
    """The photos that a model places, as it names them.

    Raises:
        InputError: the file is damaged, with the place in the file.
    """
    form, suffix = _form(folder)
    return [image.name for image in form.read_images(folder / f"images{suffix}").values()]


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
    form, suffix = _form(folder)
    cameras = form.read_cameras(folder / f"cameras{suffix}")
    images = form.read_images(folder / f"images{suffix}")
    points_file = folder / f"points3D{suffix}"
    points = form.read_points(points_file) if points_file.is_file() else points_from_rows([], [])
    for image in images.values():
        if image.camera_id not in cameras:
            raise InputError(
                f"{folder}: image {image.name} refers to camera {image.camera_id}, which is not listed"
            )
        if fault := cameras[image.camera_id].fault:
            raise InputError(fault)
    return ColmapModel(cameras=cameras, images=images, points=points)


def read_cameras(path: Path) -> dict[int, ColmapCamera]:
    """The cameras of a cameras.txt or cameras.bin, by id."""
    return (binary if path.suffix.lower() == ".bin" else text).read_cameras(path)


def _form(folder: Path) -> tuple[ModuleType, str]:
    """How a model is stored, and the suffix of its files."""
    is_binary = all((folder / f"{name}.bin").is_file() for name in ("cameras", "images"))
    return (binary, ".bin") if is_binary else (text, ".txt")


def write_model(folder: Path, model: ColmapModel) -> None:
    """Write cameras, images and points3D (.bin) into ``folder``; each file whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in binary.contents(model).items():
        with atomic_file(folder / f"{name}.bin") as path:
            path.write_bytes(content)
