"""What users of the Python API give as photos and cameras."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from geometry.capture.capture import Capture, open_capture, open_with
from geometry.capture.find_cameras import check_choice
from geometry.console import heard
from geometry.errors import InputError
from geometry.options import CAMERAS, PhotoOptions
from geometry.scenes.scene import Scene
from geometry.views import Cameras


def open_given(
    photos: Any,
    cameras: Cameras | str | Path | bool | None,
    options: PhotoOptions,
    device: torch.device,
    *,
    every_photo: bool = False,
) -> tuple[Capture, PhotoOptions]:
    """Photos and cameras as `geometry.api.Model.predict` takes them, opened, and the options they come to.

    Raises:
        InputError: photos or cameras that cannot be used.
    """
    record = cameras if isinstance(cameras, Cameras) else None
    if cameras is False:
        options = replace(options, cameras="network")
    elif cameras is True:
        raise InputError(
            "cameras: expected Cameras, a path, False or one of " + ", ".join(CAMERAS) + ", got True"
        )
    elif isinstance(cameras, str) and cameras in CAMERAS:
        options = replace(options, cameras=cameras)  # type: ignore[arg-type]
    elif isinstance(cameras, (str, Path)):
        options = replace(options, poses=cameras)
    check_choice(options.camera_source)
    if not isinstance(photos, Scene):
        photos = open_with(options, photos, cameras=record, in_order=True, partly=True)
    elif record is not None or options.poses is not None:
        raise InputError("cameras: expected none beside an opened scene, which has its own")
    elif options.ignore_poses:
        photos = photos.without_cameras()
    capture = open_capture(photos, options, device, every_photo=every_photo)
    if options.context is None and options.max_views is None and len(capture.context) < len(photos):
        used, total = len(capture.context), len(photos) - len(capture.targets)
        if used < total and not heard():
            warnings.warn(f"the network takes {used} of {total} photos; max_views=N takes more", stacklevel=3)
    return capture, options
