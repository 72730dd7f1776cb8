"""Cameras for a world: lenses and checked poses, connected by overlap."""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from geometry.ops import se3
from geometry.ops.pinhole import project, resize_intrinsics, unproject
from geometry.views import Cameras
from geometry.worlds import kernel
from geometry.worlds.paths import PATHS, SHARES, Proposal, look_at
from geometry.worlds.rendering import WorldViews, render
from geometry.worlds.world import World

PROBE = 24  # side of the small pictures on which views are checked
MIN_OVERLAP = 0.25  # mean share of what one view sees that its neighbour sees too
PLAIN = 0.78  # greatest share of what a view sees that may lie on one plane
ATTEMPTS, REPAIRS = 10, 3


def sample_lens(
    rng: np.random.Generator, n_views: int, image_size: tuple[int, int], zoom: bool = True
) -> Float[Tensor, "V 3 3"]:
    """Intrinsics of one clip: one lens for all views, or at times (if ``zoom``) one that changes.

    The field of view of the longer side lies in 30..100 degrees; in a third of the clips the principal
    point is off-centre and in a fifth the pixels are not quite square.
    """
    H, W = image_size
    fov = np.radians(np.clip(rng.triangular(25, 62, 105), 30, 100))
    focal = 0.5 * max(H, W) / math.tan(fov / 2) * np.ones(n_views)
    if rng.random() < 0.2 and zoom:
        widest = 0.5 * max(H, W) / math.tan(math.radians(50))
        focal = np.maximum(focal * np.exp(rng.normal(0, 0.15, n_views)), widest)
        focal = np.minimum(focal, 0.5 * max(H, W) / math.tan(math.radians(15)))
    K = np.tile(np.eye(3), (n_views, 1, 1))
    K[:, 0, 0] = focal
    K[:, 1, 1] = focal * (rng.uniform(0.97, 1.03) if rng.random() < 0.2 else 1.0)
    shift = rng.normal(0, 0.05, 2).clip(-0.15, 0.15) if rng.random() < 0.33 else np.zeros(2)
    K[:, 0, 2], K[:, 1, 2] = W * (0.5 + shift[0]), H * (0.5 + shift[1])
    return torch.from_numpy(K).float()


def sample_cameras(
    world: World,
    n_views: int,
    image_size: tuple[int, int],
    generator: torch.Generator,
    path: str | None = None,
    threads: int | None = None,
    zoom: bool = True,
) -> Cameras:
    """Cameras [1, n_views] that see something, stand free, and are connected by overlap.

    No camera lies in a solid or nearer to what it sees than ``world.near``; none looks only at one
    plain surface or mostly at the sky. Any two views are joined by a chain of views of which neighbours
    share at least a quarter of what they see. Checks run on small pictures.

    Args:
        image_size: (H, W) of the pictures to take.
        generator: a CPU generator.
        path: a name of `paths.PATHS`; drawn by default.
        zoom: let the focal length change within some clips.

    Raises:
        ValueError: unknown path.
        RuntimeError: the world offers not one usable view (it is empty, or walled in).
    """
    if path is not None and path not in PATHS:
        raise ValueError(f"path must be one of {', '.join(PATHS)}, got {path!r}")
    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    stand, focus = world.stand.double().numpy(), world.focus.double().numpy()
    best: Proposal | None = None
    best_lens = None
    for attempt in range(ATTEMPTS):
        name = path or list(PATHS)[rng.choice(len(PATHS), p=SHARES)]
        lens = sample_lens(rng, n_views, image_size, zoom)
        proposal = PATHS[name](rng, stand, focus, n_views)
        proposal = proposal._replace(centres=np.clip(proposal.centres, *stand))
        for repair in range(REPAIRS + 1):
            cameras = _cameras(proposal, lens)
            keep = usable(world, cameras, image_size, threads)
            if keep.all():
                return cameras
            if not keep.any():
                break
            anchors = np.flatnonzero(keep)
            best, best_lens = _take(proposal, anchors), lens[anchors]
            proposal = _jittered(rng, proposal, anchors, np.flatnonzero(~keep), 0.5**repair, stand)
        # Later attempts require less: a clip of fewer good views is filled up by small moves around them.
        if best is not None and len(best.centres) >= n_views * (1 - (attempt + 1) / ATTEMPTS):
            break
    if best is None:
        raise RuntimeError(
            f"world {world.name!r}, seed {world.seed}: no view of {ATTEMPTS * n_views} is usable"
        )
    # Ever smaller moves around the views that there are.
    source, todo = np.arange(n_views) % len(best.centres), np.arange(len(best.centres), n_views)
    base, lens = _take(best, source), best_lens[source]
    proposal = _take(base, np.arange(n_views))
    for size in (0.5, 0.25, 0.12, 0.06, 0.0):
        # The last resort, the view itself, is always good.
        moved = _jittered(rng, base, np.arange(n_views), todo, size, stand) if size else base
        for part, new in zip(proposal, moved):
            part[todo] = new[todo]
        cameras = _cameras(proposal, lens)
        todo = np.flatnonzero(~usable(world, cameras, image_size, threads))
        todo = todo[todo >= len(best.centres)]
        if not len(todo):
            break
    return cameras


def _cameras(proposal: Proposal, lens: Float[Tensor, "V 3 3"]) -> Cameras:
    pose = torch.from_numpy(look_at(*proposal)).float()
    return Cameras(extrinsics=pose[None], intrinsics=lens[None])


def _take(proposal: Proposal, index: NDArray) -> Proposal:
    return Proposal(*(part[index] for part in proposal))


def _jittered(
    rng: np.random.Generator, proposal: Proposal, anchors: NDArray, bad: NDArray, size: float, stand: NDArray
) -> Proposal:
    """Replace the bad views by good ones nearest in the sequence, moved and turned a little."""
    source = anchors[np.abs(anchors[None] - bad[:, None]).argmin(1)]
    centres, targets, roll = (part.copy() for part in proposal)
    reach = np.linalg.norm(targets[source] - centres[source], axis=-1, keepdims=True)
    centres[bad] = centres[source] + size * 0.2 * reach * rng.standard_normal((len(bad), 3)) * (1, 1, 0.4)
    targets[bad] = targets[source] + size * 0.15 * reach * rng.standard_normal((len(bad), 3))
    roll[bad] = roll[source]
    return Proposal(np.clip(centres, *stand), targets, roll)


def usable(
    world: World, cameras: Cameras, image_size: tuple[int, int], threads: int | None = None
) -> Bool[np.ndarray, " V"]:
    """The largest set of views that stand free, see something, and are joined by chains of overlap."""
    intrinsics = resize_intrinsics(cameras.intrinsics, image_size, (PROBE, PROBE))
    small = Cameras(extrinsics=cameras.extrinsics, intrinsics=intrinsics)
    probes = render(world, small, (PROBE, PROBE), smooth=False, threads=threads)
    good, overlap = judge(world, small, probes), overlaps(small, probes)
    link = (overlap + overlap.T > 2 * MIN_OVERLAP) & (torch.minimum(overlap, overlap.T) > 0.4 * MIN_OVERLAP)
    good = good.numpy()
    _, group = connected_components(link.numpy() & good[:, None] & good, directed=False)
    return good & (group == np.bincount(group, weights=good).argmax())


def largest_plane(
    probes: WorldViews, points: Float[Tensor, "V h w 3"], references: int = 32
) -> Float[Tensor, " V"]:
    """Share of the solid pixels that lie on one plane, the fullest of those through some of them."""
    point, normal = points.flatten(1, 2), probes.normals[0].flatten(1, 2)
    depth, solid = probes.depth[0].flatten(1), ~probes.sky[0].flatten(1)
    chosen = torch.linspace(0, point.shape[1] - 1, references).long()
    base, axis = point[:, chosen], normal[:, chosen]  # [V, references, 3]
    height = (axis @ point.mT - (axis * base).sum(-1, keepdim=True)).abs()
    on = (height < 0.015 * depth[:, None]) & (axis @ normal.mT > 0.97) & solid[:, None]
    return on.sum(-1).amax(1) / solid.sum(1).clamp(min=1)


def judge(world: World, cameras: Cameras, probes: WorldViews) -> Bool[Tensor, " V"]:
    """Which views stand free and see something: shape, texture or both."""
    arrays = kernel.arrays_of(world)
    centres = se3.centres(cameras.extrinsics[0])
    free = torch.tensor([not kernel.inside(arrays, *c) for c in centres.double().tolist()])
    solid = ~probes.sky[0].flatten(1)
    depth = torch.where(solid, probes.depth[0].flatten(1), torch.inf)
    clear = depth.min(1).values > world.near
    seen = solid.float().mean(1) > 0.3
    several = largest_plane(probes, unproject(probes.depth, cameras)[0]) < PLAIN
    ordered = depth.sort(1).values
    count = solid.sum(1).clamp(min=1)
    near, far = (ordered.gather(1, ((count - 1) * q).long()[:, None])[:, 0] for q in (0.1, 0.9))
    deep = far > 1.2 * near
    light = probes.rgb[0].mean(1).flatten(1)
    bright = (light.mean(1) > 0.06) & (light.mean(1) < 0.95) & (light.std(1) > 0.04)
    return free & clear & seen & several & deep & bright


def overlaps(cameras: Cameras, probes: WorldViews) -> Float[Tensor, "V V"]:
    """Entry (a, b): share of the solid pixels of view a whose points view b sees too, at its depth."""
    V = cameras.extrinsics.shape[1]
    points = unproject(probes.depth, cameras)[0].flatten(1, 2)  # [V, n, 3]
    every = cameras.map(lambda t: t.expand(V, *t.shape[1:]))
    pixels, depth = project(points[:, None].expand(V, V, -1, 3), every)
    i = pixels.floor().long()
    framed = (i >= 0).all(-1) & (i < PROBE).all(-1) & (depth > 0)
    i = i.clamp(0, PROBE - 1)
    seen = probes.depth[0].flatten(1)[None].expand(V, -1, -1).gather(2, i[..., 1] * PROBE + i[..., 0])
    # Probes are coarse: a tenth of the depth covers a cell on a slanted surface.
    matched = framed & (seen > 0) & ((depth - seen).abs() < 0.1 * depth)
    solid = ~probes.sky[0].flatten(1)[:, None]
    return (matched & solid).sum(-1) / solid.sum(-1).clamp(min=1)
