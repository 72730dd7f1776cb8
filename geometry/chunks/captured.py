"""All photos of a capture placed in chunks: what `--all` does."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from geometry.capture import Capture, load_views, most_views
from geometry.capture.place import NETWORK
from geometry.chunks.passes import Passes
from geometry.chunks.whole import Reconstruction, reconstruct
from geometry.console import say
from geometry.ops.align import align_cameras
from geometry.options import NetworkOptions, PhotoOptions
from geometry.predict import Network
from geometry.sampling.preprocess import PixelMap
from geometry.views import Cameras, Views
from geometry.weights.files import fingerprint


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A capture whose photos went through the network in chunks."""

    capture: Capture  # all with cameras, but of a monocular network
    views: Views  # context and held-out photos, with these cameras
    maps: tuple[PixelMap, ...]
    whole: Reconstruction  # of these views


def too_many(capture: Capture, options: PhotoOptions, device: torch.device) -> bool:
    """Whether all photos are wanted, and are more than one pass takes."""
    return options.all_photos and len(capture.context) > most_views(options, device)


def work_folder(out: Path) -> Path:
    """Where the chunks of a command with this output lie until it is done."""
    return out.absolute().with_name(f".{out.absolute().name}.chunks")


@contextmanager
def working_in(folder: Path | None) -> Iterator[Path]:
    """The folder, or without one a temporary one that is empty and goes."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    else:
        with tempfile.TemporaryDirectory(prefix="chunks-") as temporary:
            yield Path(temporary)


def place_in_chunks(
    capture: Capture,
    network: Network,
    options: PhotoOptions,
    running: NetworkOptions,
    device: torch.device,
    folder: Path,
    **choices: object,
) -> Placed:
    """Depth of all chosen photos, and cameras of those that have none, in the world of those that have some.

    Args:
        folder: where finished chunks are kept, and looked for.
        choices: further options of `geometry.predict.predict_geometry`.
    """
    chosen = sorted((*capture.context, *capture.targets))
    views, maps = load_views(capture, chosen, options, device)
    if any(folder.glob("*.npz")):
        say(f"{folder}: chunks of an earlier run are there and are used where nothing has changed")
    passes = Passes(
        network=network,
        views=views,
        device=device,
        folder=folder,
        key=fingerprint(network.state_dict()),
        precision=running.precision,
        options={"reference": running.reference, "chunk": running.chunk, **choices},
    )
    whole = reconstruct(passes, most_views(options, device))
    scene = capture.scene.select(chosen)
    found = whole.geometry.cameras
    if not scene.posed and found is not None:
        known = torch.tensor(scene.known, dtype=torch.long)
        poses, lenses = found.arrays()
        if len(known):
            given = torch.from_numpy(scene.select(scene.known).extrinsics)
            carry, error = align_cameras(torch.from_numpy(poses)[known], given)
            poses = carry.extrinsics(torch.from_numpy(poses)).numpy()
            whole.geometry.depth.mul_(float(carry.scale))
            say(f"cameras: {NETWORK} sees those that are known {100 * float(error):.0f}% of their spread off")
        frames = []
        for frame, pixel_map, pose, K in zip(scene.frames, maps, poses, lenses):
            own = pixel_map.photo_intrinsics(K) if frame.intrinsics is None else frame.intrinsics
            new = not len(known) or frame.extrinsics is None
            pose = pose if new else frame.extrinsics
            frames.append(replace(frame, extrinsics=pose, intrinsics=own, placed=new and bool(len(known))))
        source = f"{scene.source}; the others by {NETWORK}" if len(known) else f"{NETWORK}, in chunks"
        scene = replace(scene, frames=tuple(frames), source=source, estimated=not len(known))
        K = np.stack([m.network_intrinsics(f.intrinsics) for f, m in zip(frames, maps)])
        found = Cameras(
            extrinsics=torch.from_numpy(scene.extrinsics)[None].float(),
            intrinsics=torch.from_numpy(K)[None].float(),
        )
    rows = {index: row for row, index in enumerate(chosen)}
    context, targets = ([rows[i] for i in part] for part in (capture.context, capture.targets))
    return Placed(
        capture=replace(capture, scene=scene, context=context, targets=targets),
        views=replace(views, cameras=None if found is None else found.to(device)),
        maps=maps,
        whole=replace(whole, geometry=replace(whole.geometry, cameras=found)),
    )
