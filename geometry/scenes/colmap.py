"""A COLMAP model and its photos as one scene."""

from pathlib import Path

from geometry.errors import InputError
from geometry.formats.colmap.files import read_model
from geometry.scenes.panorama import with_views
from geometry.scenes.photo_files import find_named
from geometry.scenes.scene import Frame, Scene, photo_frame, photos_present, readable_frames


def read_colmap(model_folder: Path, image_folder: Path, *, only: set[str] | None = None) -> Scene:
    """Posed photos of a model, in natural order of names, with its points and their observations.

    Photos that the model names and the folder lacks are skipped with one warning that counts them; names
    need not be written as the files are (`geometry.scenes.photo_files.find_named`).

    Args:
        only: resolved paths to keep, when the caller chose some of the photos.

    Raises:
        InputError: no photo of the model is there, or a photo has another shape than its camera.
    """
    model = read_model(model_folder)
    if not model.images:
        raise InputError(f"{model_folder}: expected a COLMAP model with registered photos, got an empty one")
    images = {image.name: image for image in model.images.values()}
    paths = find_named(list(images), image_folder, photos_from=image_folder)

    def frame_of(name: str) -> Frame:
        image, where = images[name], f"{model_folder}, image {name}"
        try:
            lens = model.cameras[image.camera_id].lens()
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        return photo_frame(paths[name], name=name, extrinsics=image.extrinsics, lens=lens, where=where)

    names = photos_present(paths, only, model_folder, image_folder)
    frames = readable_frames(names, frame_of)
    visibility = [model.points.rows(images[frame.name].point_ids) for frame in frames]
    has_points = len(model.points.ids) > 0
    return with_views(
        Scene(
            name=image_folder.name,
            frames=tuple(frames),
            source=str(model_folder),
            points=model.points.xyz if has_points else None,
            visibility=tuple(visibility) if has_points else None,
            folder=image_folder,
        )
    )
