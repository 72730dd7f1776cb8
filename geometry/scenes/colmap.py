"""A COLMAP model and its photos as one scene."""

from pathlib import Path

from geometry.errors import InputError
from geometry.formats.colmap.files import read_model
from geometry.scenes.scene import Scene, photo_frame, photos_present


def read_colmap(model_folder: Path, image_folder: Path, *, only: set[str] | None = None) -> Scene:
    """Posed photos of a model, in natural order of names, with its points and their observations.

    Photos that the model names and the folder lacks are skipped with one warning that counts them. A
    name that is not found as it stands is looked up by its last part, if that is unique.

    Args:
        only: resolved paths to keep, when the caller chose some of the photos.

    Raises:
        InputError: no photo of the model is there, or a photo has another shape than its camera.
    """
    model = read_model(model_folder)
    if not model.images:
        raise InputError(f"{model_folder}: expected a COLMAP model with registered photos, got an empty one")
    images = {image.name: image for image in model.images.values()}
    paths = _locate(list(images), image_folder)
    frames, visibility = [], []
    for name in photos_present(paths, only, model_folder, image_folder):
        image = images[name]
        lens = model.cameras[image.camera_id].lens()
        frames.append(photo_frame(paths[name], name=name, extrinsics=image.extrinsics, lens=lens))
        visibility.append(model.points.rows(image.point_ids))
    has_points = len(model.points.ids) > 0
    return Scene(
        name=image_folder.name,
        frames=tuple(frames),
        source=f"COLMAP model {model_folder}",
        points=model.points.xyz if has_points else None,
        visibility=tuple(visibility) if has_points else None,
        folder=image_folder,
    )


def _locate(names: list[str], folder: Path) -> dict[str, Path | None]:
    """The photo of each name; models made elsewhere may carry sub-folders that are not here."""
    last_parts = {name: Path(name).name for name in names}
    unique = len(set(last_parts.values())) == len(names)  # cam1/001.jpg and cam2/001.jpg must not be one file
    found: dict[str, Path | None] = {}
    for name, last in last_parts.items():
        candidates = [folder / name, *([folder / last] if unique else [])]
        found[name] = next((path for path in candidates if path.is_file()), None)
    return found
