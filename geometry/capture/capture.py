"""Photos opened, checked, divided into input and hold-out, and prepared for a network."""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geometry.console import counted, say
from geometry.options import PhotoOptions
from geometry.results import keep_apart
from geometry.sampling.framing import show_frames
from geometry.sampling.preprocess import PixelMap, prepare_views
from geometry.scenes.photos import open_photos
from geometry.scenes.scene import Scene
from geometry.scenes.view_selection import evenly_spaced, holdout_split, select_views
from geometry.views import Cameras, Views

MAX_VIEWS = {"cpu": 16, "cuda": 64}
IN_MEMORY = 300  # photos; the images of more lie on the disk
MOST_KEYFRAMES = 300  # of a video, unless all are asked for


@dataclass(frozen=True)
class Capture:
    """Photos of one place, divided into context and held-out photos."""

    scene: Scene
    context: list[int]  # photos that the network takes, in capture order
    targets: list[int]  # held-out photos, in capture order; empty without a hold-out
    store: Path | None = None  # where images lie that are too many for memory; None: they are not

    @property
    def names(self) -> list[str]:
        """Names of the context photos."""
        return [self.scene.frames[i].name for i in self.context]

    @property
    def target_names(self) -> list[str]:
        return [self.scene.frames[i].name for i in self.targets]

    def limited(self, most: int, option: str = "--max-views") -> "Capture":
        """The capture with at most so many photos as context, saying so, and which ``option`` takes more."""
        if len(self.context) <= most:
            return self
        poses = self.scene.extrinsics if self.scene.posed else None
        known = [i for i in self.context if i in set(self.scene.known)] if self.scene.partly_posed else []
        if known:  # half of them at least, where there are so many
            others = sorted({*self.context} - {*known})
            known = [known[i] for i in evenly_spaced(len(known), max(most - len(others), (most + 1) // 2))]
            rest = max(0, most - len(known))
            context = sorted(known + [others[i] for i in evenly_spaced(len(others), rest)] if rest else known)
        else:
            context = select_views(poses, len(self.scene), most, self.context)
        how = "an even spread" if poses is None else "farthest-point sampling of their poses"
        say(
            f"the network takes {len(context)} of {len(self.context)} photos, chosen by {how}; "
            f"{option} N takes more" + (", --all all of them in chunks" if option == "--max-views" else "")
        )
        return replace(self, context=context)

    @property
    def origin(self) -> list[float]:
        """Where the origin of results lies in the given poses' world."""
        return [0.0, 0.0, 0.0] if self.scene.origin is None else self.scene.origin.tolist()

    @property
    def world(self) -> str:
        """The frame that results in this capture's world are in, in words."""
        if self.scene.estimated:
            return f"the world of {self.scene.source}: the first placed photo's axes at its place, any scale"
        if self.scene.origin is not None:
            return f"the given poses' world with its origin moved to {self.scene.origin.tolist()}"
        if self.scene.posed:
            return "the given poses' world"
        return "the network's world: the reference camera's axes at its place (x right, y down, z forward)"


def open_capture(
    photos: str | Path | Sequence[str | Path] | Scene,
    options: PhotoOptions,
    device: torch.device,
    *,
    out: Path | None = None,
    every_photo: bool = False,
    partly: bool = False,
) -> Capture:
    """Open photos and choose the context, saying what was done.

    Args:
        photos: what `open_photos` takes, or what it gave.
        device: that of the network; it decides how many photos are taken by default.
        out: the output folder, in which none of the photos may lie.
        every_photo: the context is all photos that are not kept out (or ``options.context`` of them), more
            than one pass of the network takes; see `Capture.limited`.
        partly: photos for which the cameras found have none stay, unless given cameras are asked for.

    Raises:
        InputError: no usable photos, poses that contradict themselves, or photos in the output folder.
    """
    scene = photos if isinstance(photos, Scene) else open_with(options, photos, partly=partly)
    if out is not None:  # photos may lie elsewhere than what was typed: links, paths in a JSON
        keep_apart(out, [frame.image for frame in scene.frames if isinstance(frame.image, Path)])
    say(f"{counted(len(scene), 'photo')}; poses: {scene.source}")
    if masked := sum(frame.mask is not None for frame in scene.frames):
        say(f"masks: {masked} of {counted(len(scene), 'photo')} have one")
    if scene.origin is not None:
        say(
            "the cameras lie too far out for single precision: results are relative to "
            f"{scene.origin.tolist()}, which scene.json states as origin"
        )
    every = options.holdout
    candidates, targets = holdout_split(len(scene), every) if every else (list(range(len(scene))), [])
    many = options.all_photos or len(scene) > IN_MEMORY
    store = (Path(tempfile.gettempdir()) if out is None else out.absolute().parent) if many else None
    whole = Capture(scene, candidates, targets, store)
    if options.context or not every_photo:
        option = "--context" if options.context else "--max-views"
        whole = whole.limited(options.context or most_views(options, device), option)
    return whole


def open_with(
    options: PhotoOptions,
    photos: Any,
    *,
    cameras: Cameras | None = None,
    in_order: bool = False,
    partly: bool,
) -> Scene:
    """What `open_photos` makes of photos under these options."""
    return open_photos(
        photos,
        poses=options.poses,
        cameras=cameras,
        unposed=options.ignore_poses,
        panorama=options.panorama,
        check=options.pose_check,
        in_order=in_order,
        whole=True,
        masks=options.masks,
        background=options.backdrop,
        focal=options.focal,
        partly=partly and options.cameras != "given",
        max_video_frames=sys.maxsize if options.all_photos else MOST_KEYFRAMES,
    )


def most_views(options: PhotoOptions, device: torch.device) -> int:
    """How many photos one pass of the network takes."""
    return options.max_views or MAX_VIEWS.get(device.type, 16)


def load_views(
    capture: Capture, indices: Sequence[int], options: PhotoOptions, device: torch.device
) -> tuple[Views, tuple[PixelMap, ...]]:
    """Photos as network input, and where its pixels lie in the photos."""
    views, maps = prepare_views(
        capture.scene,
        list(indices),
        process_res=options.process_res,
        released_crop=options.released_crop,
        store=capture.store,
    )
    if views.mask is not None:
        say(f"masks hide {100 * float(1 - views.mask.float().mean()):.1f}% of {counted(len(maps), 'photo')}")
    cut = [1 - m.kept for m in maps]
    if max(cut) > 0.02:
        worst, (H, W) = int(np.argmax(cut)), maps[0].network_size
        name = capture.scene.frames[indices[worst]].name
        say(f"photos of mixed shapes share a canvas of {H}x{W} (H x W): {name} loses {100 * cut[worst]:.0f}%")
    if capture.store is not None:  # images stay on the disk, and go to the device a few at a time
        return views if views.cameras is None else replace(views, cameras=views.cameras.to(device)), maps
    return views.to(device), maps


def show_views(
    capture: Capture,
    indices: Sequence[int],
    maps: Sequence[PixelMap],
    size: tuple[int, int],
    dtype: torch.dtype = torch.float32,
) -> Views:
    """What `load_views` showed (``maps``) at another size, read again: no image is resized twice."""
    frames = [capture.scene.frames[i] for i in indices]
    (views,) = show_frames(frames, [(m.resized(size),) for m in maps], dtype=dtype, store=capture.store)
    return views
