"""Where the photos' cameras come from: what ``--cameras`` names."""

import warnings
from dataclasses import replace

import torch

from geometry.capture.capture import Capture
from geometry.console import say, some
from geometry.errors import InputError
from geometry.ops.align import align_cameras
from geometry.scenes import structure_from_motion as sfm
from geometry.scenes.calibration import with_exif
from geometry.scenes.view_selection import evenly_spaced, select_views

_BESIDE = 8  # photos with cameras that help to place one without
_BETWEEN = 60  # photos at most, with those that are only there to connect the others
_FAR_OFF = 0.1  # of their spread: cameras of structure from motion that lie further off are not believed


def check_choice(cameras: str) -> None:
    """Raise before the photos are read what would be raised after; ``cameras`` as of `find_cameras`.

    Raises:
        InputError: structure from motion is asked for by name, and its package is missing.
    """
    if cameras == "sfm":
        sfm.require()


def find_cameras(capture: Capture, wanted: str, *, trust_network: bool, seed: int) -> Capture:
    """The capture with the cameras that ``wanted`` names; unposed where the network shall find them.

    Photos that the network is left with have the focal length that EXIF states, if they have no other.

    ``auto`` keeps given poses; without any it takes structure from motion where the network's cameras are
    worth less, and the network's where that is not installed or cannot place enough of the photos. After
    structure from motion only the placed photos are left in the capture. Where some photos have cameras, the
    others are placed among them: by a network that is trusted, for which they stay as they are, else by
    structure from motion, or they are left out.

    Args:
        wanted: `PhotoOptions.camera_source`; without poses for ``sfm`` and ``network``.
        trust_network: its cameras are worth more than those of structure from motion on few photos.

    Raises:
        InputError: given poses are wanted and there are none, or structure from motion is wanted and placed
            fewer than two thirds of the photos.
    """
    found = _found(capture, wanted, trust_network=trust_network, seed=seed)
    scene = found.scene if found.scene.posed else with_exif(found.scene)
    return found if scene is found.scene else replace(found, scene=scene)


def _found(capture: Capture, wanted: str, *, trust_network: bool, seed: int) -> Capture:
    if wanted == "given" and not capture.scene.posed:
        raise InputError("--cameras given: expected a transforms.json or a COLMAP model, found neither")
    if capture.scene.partly_posed:
        if trust_network and wanted != "given":
            return capture
        return _completed(capture, seed, place=wanted != "given")
    if capture.scene.posed or wanted in ("given", "network"):
        return capture
    photos = len(capture.context) + len(capture.targets)
    if wanted == "auto" and (trust_network or photos < 2):
        return capture
    if wanted == "auto" and not sfm.available():
        say(
            "WARNING: pycolmap, which finds the cameras of such photos, is not installed: this network "
            "guesses them, and the views will be wrong. Install it first: pip install pycolmap"
        )
        return capture
    placed = _place(capture, seed)
    missing = some([capture.scene.frames[i].name for i in placed.missing], 6)
    if _enough(placed, capture):
        left_out = f"; left out: {missing}" if missing else ""
        say(f"cameras: structure from motion placed {placed.share} photos{left_out}")
        return _placed_capture(capture, placed)
    if wanted == "auto":
        say(
            f"cameras: the network's, because structure from motion found too few: {missing} could not be "
            "placed"
        )
        return capture
    raise InputError(
        f"--cameras sfm: expected at least two thirds of the photos placed, got {placed.share}: {missing} "
        "could not be placed. Add photos between those, so that each shares half of what it shows with its "
        "neighbour, remove photos of other places, or use --cameras network"
    )


def _completed(capture: Capture, seed: int, *, place: bool) -> Capture:
    """A capture with cameras for some photos: the others placed among these, or left out with a warning."""
    scene, known = capture.scene, capture.scene.known
    missing = [i for i in (*capture.context, *capture.targets) if i not in set(known)]
    frames = dict(enumerate(scene.frames))
    placed, found = [], 0.0
    if place and missing and len(known) > 1 and sfm.available():
        beside = sorted(known, key=lambda i: min(abs(i - m) for m in missing))
        beside = beside[: max(_BESIDE, min(_BETWEEN, _BESIDE * len(missing)))]
        solved = sfm.place_photos(scene, [*missing, *beside], seed=seed)
        rows = [row for row, i in enumerate(solved.indices) if i in set(known)]
        if len(rows) > 1:
            ours = torch.from_numpy(solved.scene.extrinsics)
            theirs = torch.from_numpy(scene.select(solved.indices[row] for row in rows).extrinsics)
            carry, found = align_cameras(ours[rows], theirs)
            for frame, i, E in zip(solved.scene.frames, solved.indices, carry.extrinsics(ours).numpy()):
                if i in missing and found < _FAR_OFF:
                    frames[i] = replace(frame, extrinsics=E, placed=True)
                    placed.append(i)
    if placed:
        say(
            f"cameras: structure from motion placed {len(placed)} of {len(missing)} photos among those with "
            f"cameras ({100 * float(found):.1f}% of their spread off)"
        )
    if left := [scene.frames[i].name for i in missing if i not in placed]:
        warnings.warn(
            f"{scene.source}: {len(left)} of {len(scene)} photos have no camera there ({some(left, 6)}); "
            "they are left out",
            stacklevel=3,
        )
    chosen = sorted(({*capture.context, *capture.targets} & {*known}) | {*placed})
    rows = {index: row for row, index in enumerate(chosen)}
    source = f"{scene.source}; {len(placed)} placed by {sfm.SOURCE}" if placed else scene.source
    whole = replace(scene, frames=tuple(frames[i] for i in range(len(scene))), source=source).select(chosen)
    kept = ([rows[i] for i in part if i in rows] for part in (capture.context, capture.targets))
    context, targets = kept
    return replace(capture, scene=whole, context=context, targets=targets)


def _place(capture: Capture, seed: int) -> sfm.Placed:
    """Structure from motion of the chosen photos; where that is too little, of those between them too."""
    photos = [*capture.context, *capture.targets]
    say(f"cameras: looking for those of {len(photos)} photos by structure from motion")
    placed = sfm.place_photos(capture.scene, photos, seed=seed)
    candidates = [i for i in range(len(capture.scene)) if i not in capture.targets]
    room = _BETWEEN - len(capture.targets)
    if _enough(placed, capture) or len(candidates) == len(capture.context) or room <= len(capture.context):
        return placed
    more = [candidates[i] for i in evenly_spaced(len(candidates), room)]
    say(f"cameras: structure from motion placed {placed.share} photos; trying again with those between them")
    return sfm.place_photos(capture.scene, [*more, *capture.targets], seed=seed)


def _enough(placed: sfm.Placed, capture: Capture) -> bool:
    """Whether two thirds of the photos, two of the input and, of a hold-out, at least one have a place."""
    targets = set(capture.targets) & set(placed.indices)
    most = 2 * len(placed.missing) <= len(placed.indices)
    return most and len(placed.indices) - len(targets) >= 2 and (bool(targets) or not capture.targets)


def _placed_capture(capture: Capture, placed: sfm.Placed) -> Capture:
    """The placed photos as a capture of their own, with as many as before as context if there are."""
    kept_out = set(capture.targets)
    targets = [row for row, index in enumerate(placed.indices) if index in kept_out]
    candidates = [row for row, index in enumerate(placed.indices) if index not in kept_out]
    scene = placed.scene
    context = select_views(scene.extrinsics, len(scene), len(capture.context), candidates)
    return replace(capture, scene=scene, context=context, targets=targets)
