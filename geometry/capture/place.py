"""The network's cameras for photos that have none, beside cameras or intrinsics that are known."""

from dataclasses import replace

import numpy as np
import torch

from geometry.capture.capture import Capture, load_views
from geometry.console import counted, say
from geometry.options import NetworkOptions, PhotoOptions
from geometry.predict import Network, place_views
from geometry.views import Cameras

NETWORK = "the network"


def place_by_network(
    capture: Capture, network: Network, options: PhotoOptions, running: NetworkOptions, device: torch.device
) -> Capture:
    """The capture with a camera for every chosen photo, in the world of those that have one.

    One pass of the network that is told what is known; the next one, for depth, is told all cameras. Nothing
    is done where every photo has a camera, and where nothing is known: then the network's own world is the
    result's, and one pass is enough.
    """
    chosen = sorted((*capture.context, *capture.targets))
    frames = [capture.scene.frames[i] for i in chosen]
    known = [i in set(capture.scene.known) for i in chosen]
    if capture.scene.posed or not any(frame.intrinsics is not None for frame in frames):
        return capture
    rows = {index: row for row, index in enumerate(chosen)}
    context, targets = ([rows[i] for i in part] for part in (capture.context, capture.targets))
    if all(known):
        return replace(capture, scene=capture.scene.select(chosen), context=context, targets=targets)
    views, maps = load_views(capture, chosen, options, device)
    H, W = views.image_size
    guess = np.array([[1.2 * max(H, W), 0, W / 2], [0, 1.2 * max(H, W), H / 2], [0, 0, 1]])  # told to nobody
    E, K = [np.eye(4)] * len(frames), [guess] * len(frames)
    for row, (frame, pixel_map, told) in enumerate(zip(frames, maps, known)):
        if told:
            E[row], K[row] = frame.extrinsics, pixel_map.network_intrinsics(frame.intrinsics)  # type: ignore[assignment, arg-type]
    cameras = Cameras(extrinsics=_stacked(E), intrinsics=_stacked(K))
    views = replace(views, cameras=cameras.to(device), known=torch.tensor([known], device=device))
    found, error = place_views(network, views, reference=running.reference, chunk=running.chunk)  # type: ignore[arg-type]
    placed = []
    for frame, told, pixel_map, pose, ours in zip(frames, known, maps, *found.arrays()):
        if not told:
            own = pixel_map.photo_intrinsics(ours) if frame.intrinsics is None else frame.intrinsics
            frame = replace(frame, extrinsics=pose, intrinsics=own, placed=any(known))
        placed.append(frame)
    count = counted(known.count(False), "photo")
    if any(known):
        source = f"{capture.scene.source}; {count} placed by {NETWORK}"
        say(f"cameras: {NETWORK} placed {count} among those with cameras ({_doubt(error)})")
    else:
        source = f"{NETWORK}, with known intrinsics"
        say(f"cameras: {source}")
    scene = replace(
        capture.scene.select(chosen), frames=tuple(placed), source=source, estimated=not any(known)
    )
    return replace(capture, scene=scene, context=context, targets=targets)


def networks_world(capture: Capture) -> bool:
    """Whether the capture's world is the network's own: neither given nor found by structure from motion."""
    return not capture.scene.posed or capture.scene.source.startswith(NETWORK)


def _doubt(error: float) -> str:
    return f"it sees the known ones {100 * error:.0f}% of their spread off"


def _stacked(matrices: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(matrices))[None].float()
