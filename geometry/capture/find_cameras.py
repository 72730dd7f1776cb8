"""Where the photos' cameras come from: what ``--cameras`` names."""

from geometry.capture.capture import Capture
from geometry.console import say, some
from geometry.errors import InputError
from geometry.scenes import structure_from_motion as sfm
from geometry.scenes.view_selection import evenly_spaced, select_views


def check_choice(cameras: str) -> None:
    """Raise before the photos are read what would be raised after; ``cameras`` as of `find_cameras`.

    Raises:
        InputError: structure from motion is asked for by name, and its package is missing.
    """
    if cameras == "sfm":
        sfm.require()


def find_cameras(capture: Capture, wanted: str, *, trust_network: bool, seed: int) -> Capture:
    """The capture with the cameras that ``wanted`` names; unposed where the network shall find them.

    ``auto`` keeps given poses; without any it takes structure from motion where the network's cameras are
    worth less, and the network's where that is not installed or cannot place enough of the photos. After
    structure from motion only the placed photos are left in the capture.

    Args:
        wanted: `PhotoOptions.camera_source`; without poses for ``sfm`` and ``network``.
        trust_network: its cameras are worth more than those of structure from motion on few photos.

    Raises:
        InputError: given poses are wanted and there are none, or structure from motion is wanted and placed
            fewer than two thirds of the photos.
    """
    if wanted == "given" and not capture.scene.posed:
        raise InputError("--cameras given: expected a transforms.json or a COLMAP model, found neither")
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


def _place(capture: Capture, seed: int) -> sfm.Placed:
    """Structure from motion of the chosen photos; where that is too little, of those between them too."""
    placed = sfm.place_photos(capture.scene, [*capture.context, *capture.targets], seed=seed)
    candidates = [i for i in range(len(capture.scene)) if i not in capture.targets]
    room = sfm.EXHAUSTIVE - len(capture.targets)
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
    return Capture(scene, context, targets)
