"""Cameras for a world: lenses and checked poses, connected by overlap."""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from geometry.ops import se3
from geometry.ops.pinhole import project, resize_intrinsics, unproject
from geometry.views import Cameras
from geometry.worlds import kernel
from geometry.worlds.paths import PATHS, Proposal, look_at
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
        name = path or list(PATHS)[rng.choice(len(PATHS), p=PATH_SHARES)]
        lens = sample_lens(rng, n_views, image_size, zoom)
        proposal = PATHS[name](rng, stand, focus, n_views)
        proposal = _inside_stand(proposal, stand)
        for repair in range(REPAIRS + 1):
            cameras = _cameras(proposal, lens)
            probes = _probe(world, cameras, image_size, threads)
            good = judge(world, cameras, probes, image_size)
            if good.any():
                keep = _connected(overlaps(cameras, probes, image_size), good)
                if keep.all():
                    return cameras
                anchors = torch.nonzero(keep)[:, 0].numpy()
                best, best_lens = _take(proposal, anchors), lens[anchors]
                proposal = _jittered(rng, proposal, anchors, np.nonzero(~keep.numpy())[0], 0.5**repair, stand)
            else:
                break
        # Later attempts require less: a clip of fewer good views is filled up by small moves around them.
        if best is not None and len(best.centres) >= n_views * (1 - (attempt + 1) / ATTEMPTS):
            break
    if best is None:
        raise RuntimeError(
            f"world {world.name!r}, seed {world.seed}: no view of {ATTEMPTS * n_views} is usable"
        )
    return _filled(rng, world, best, best_lens, n_views, image_size, threads)


PATH_SHARES = (0.22, 0.15, 0.17, 0.14, 0.12, 0.12, 0.08)  # in the order of `PATHS`


def _cameras(proposal: Proposal, lens: Float[Tensor, "V 3 3"]) -> Cameras:
    pose = torch.from_numpy(look_at(*proposal)).float()
    return Cameras(extrinsics=pose[None], intrinsics=lens[None])


def _inside_stand(proposal: Proposal, stand: NDArray) -> Proposal:
    return proposal._replace(centres=np.clip(proposal.centres, stand[0], stand[1]))


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
    return _inside_stand(Proposal(centres, targets, roll), stand)


def _filled(
    rng: np.random.Generator,
    world: World,
    best: Proposal,
    lens: Tensor,
    n_views: int,
    image_size: tuple[int, int],
    threads: int | None,
) -> Cameras:
    """Fill up a connected clip that is too short with ever smaller moves around its views."""
    source = np.arange(n_views) % len(best.centres)
    fixed = np.arange(n_views) < len(best.centres)
    stand = world.stand.double().numpy()
    base, lens = _take(best, source), lens[source]
    todo = np.nonzero(~fixed)[0]
    proposal = base
    for size in (0.5, 0.25, 0.12, 0.06, 0.0):
        if size:
            moved = _jittered(rng, base, np.arange(n_views), todo, size, stand)
        else:  # the view itself, a last resort that is always good
            moved = base
        for part, new in zip(proposal, moved):
            part[todo] = new[todo]
        cameras = _cameras(proposal, lens)
        probes = _probe(world, cameras, image_size, threads)
        good = judge(world, cameras, probes, image_size)
        keep = _connected(overlaps(cameras, probes, image_size), good).numpy()
        todo = np.nonzero(~(keep | fixed))[0]
        if not len(todo):
            break
    return cameras


def _probe(world: World, cameras: Cameras, image_size: tuple[int, int], threads: int | None) -> WorldViews:
    small = cameras_of_probes(cameras, image_size)
    return render(world, small, (PROBE, PROBE), smooth=False, threads=threads)


def cameras_of_probes(cameras: Cameras, image_size: tuple[int, int]) -> Cameras:
    """The same cameras taking small square pictures."""
    intrinsics = resize_intrinsics(cameras.intrinsics, image_size, (PROBE, PROBE))
    return Cameras(extrinsics=cameras.extrinsics, intrinsics=intrinsics)


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


def judge(
    world: World, cameras: Cameras, probes: WorldViews, image_size: tuple[int, int]
) -> Bool[Tensor, " V"]:
    """Which views stand free and see something: shape, texture or both."""
    arrays = kernel.arrays_of(world)
    centres = se3.centres(cameras.extrinsics[0])
    free = torch.tensor([not kernel.inside(arrays, *c) for c in centres.double().tolist()])
    solid = ~probes.sky[0].flatten(1)
    depth = torch.where(solid, probes.depth[0].flatten(1), torch.inf)
    clear = depth.min(1).values > world.near
    seen = solid.float().mean(1) > 0.3
    points = unproject(probes.depth, cameras_of_probes(cameras, image_size))[0]
    several = largest_plane(probes, points) < PLAIN
    ordered = depth.sort(1).values
    count = solid.sum(1).clamp(min=1)
    near, far = (ordered.gather(1, ((count - 1) * q).long()[:, None])[:, 0] for q in (0.1, 0.9))
    deep = far > 1.2 * near
    light = probes.rgb[0].mean(1).flatten(1)
    bright = (light.mean(1) > 0.06) & (light.mean(1) < 0.95) & (light.std(1) > 0.04)
    return free & clear & seen & several & deep & bright


def overlaps(cameras: Cameras, probes: WorldViews, image_size: tuple[int, int]) -> Float[Tensor, "V V"]:
    """Entry (a, b): share of the solid pixels of view a whose points view b sees too, at its depth."""
    V = cameras.extrinsics.shape[1]
    small = cameras_of_probes(cameras, image_size)
    points = unproject(probes.depth, small)[0].flatten(1, 2)  # [V, n, 3]
    every = small.map(lambda t: t.expand(V, *t.shape[1:]))
    pixels, depth = project(points[:, None].expand(V, V, -1, 3), every)
    i = pixels.floor().long()
    framed = (i >= 0).all(-1) & (i < PROBE).all(-1) & (depth > 0)
    i = i.clamp(0, PROBE - 1)
    seen = probes.depth[0].flatten(1)[None].expand(V, -1, -1).gather(2, i[..., 1] * PROBE + i[..., 0])
    # Probes are coarse: a tenth of the depth covers a cell on a slanted surface.
    matched = framed & (seen > 0) & ((depth - seen).abs() < 0.1 * depth)
    solid = ~probes.sky[0].flatten(1)[:, None]
    return (matched & solid).sum(-1) / solid.sum(-1).clamp(min=1)


def _connected(overlap: Float[Tensor, "V V"], good: Bool[Tensor, " V"]) -> Bool[Tensor, " V"]:
    """The largest set of good views joined by chains of overlap."""
    link = 0.5 * (overlap + overlap.T) > MIN_OVERLAP
    link &= torch.minimum(overlap, overlap.T) > 0.4 * MIN_OVERLAP
    link &= good[:, None] & good[None]
    best = torch.zeros_like(good)
    for start in torch.nonzero(good)[:, 0].tolist():
        if best[start]:
            continue
        reached = torch.zeros_like(good)
        reached[start] = True
        while True:
            grown = reached | link[reached].any(0)
            if (grown == reached).all():
                break
            reached = grown
        if reached.sum() > best.sum():
            best = reached
    return best
