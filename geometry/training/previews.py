"""Pictures of a validation sample: depth, cameras and points, prediction beside truth."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from geometry.ops import se3
from geometry.ops.align import DegenerateAlignment, fit_scale, umeyama
from geometry.ops.pinhole import unproject
from geometry.prediction import Geometry
from geometry.views import Cameras, Truth
from geometry.visualize import colour_depth, contact_sheet, depth_limits

MOST_VIEWS = 6
PLAN = 240  # pixels on a side of a plan view
PAPER = 236  # grey of its background, so that plans side by side are distinguishable
COLOURS = {"truth": (40, 160, 60), "decoder": (200, 60, 40), "rays": (50, 90, 220)}


def any_view_previews(
    images: Float[Tensor, "B V 3 H W"], truth: Truth, posed: Geometry, found: Mapping[str, Cameras]
) -> dict[str, Float[Tensor, "3 _ _"]]:
    """Sheets of the batch's first sample: ``depth``, and plans of ``cameras`` and ``points`` from above.

    Args:
        truth: in the frame of the first view, so that the plans look along its y axis.
        posed: prediction with the cameras given.
        found: cameras found without any given, by where they came from.
    """
    return {
        "depth": depth_preview(images[0], truth, posed.depth),
        "cameras": camera_preview(truth.cameras, found),
        "points": point_preview(images[0], truth, posed.depth),
    }


def depth_preview(
    images: Float[Tensor, "V 3 H W"], truth: Truth, depth: Float[Tensor, "B V H W"]
) -> Float[Tensor, "3 h w"]:
    """Photos, true and predicted depth of the first sample, the prediction scaled to the truth."""
    wanted = torch.where(truth.valid[0], truth.depth[0], 0.0)[:MOST_VIEWS].float().cpu().numpy()
    came = _scaled(depth, truth)[0, :MOST_VIEWS].float().cpu().numpy()
    limits = depth_limits(wanted)
    photos = (images[:MOST_VIEWS].movedim(1, -1).clamp(0, 1) * 255).byte().cpu().numpy()
    rows = {
        "photos": list(photos),
        "true depth": list(colour_depth(wanted, limits)),
        "predicted depth": list(colour_depth(came, limits)),
    }
    return _picture(rows)


def camera_preview(truth: Cameras, found: Mapping[str, Cameras]) -> Float[Tensor, "3 h w"]:
    """Camera centres and viewing directions from above, each estimate aligned to the truth."""
    wanted = se3.invert(truth.extrinsics[0]).double().cpu()
    poses = {"truth": wanted}
    for name, cameras in found.items():
        poses[name] = lay_over(se3.invert(cameras.extrinsics[0]).double().cpu(), wanted)
    window = _window(wanted[:, :3, 3].numpy())
    length = 0.12 * window[1]
    plans = []
    for name, pose in poses.items():
        plan = None
        for at in np.linspace(0, 1, 20):  # a stroke from the centre along the viewing direction
            stroke = (pose[:, :3, 3] + at * length * pose[:, :3, 2]).numpy()
            plan = _dots(stroke, COLOURS[name], window, 1, plan)
        plans.append(_dots(pose[:, :3, 3].numpy(), COLOURS[name], window, 3, plan))
    return _picture({f"cameras from above: {', '.join(poses)}": plans})


def lay_over(came: Float[Tensor, "V 4 4"], wanted: Float[Tensor, "V 4 4"]) -> Float[Tensor, "V 4 4"]:
    """Camera-to-world poses moved, turned and scaled as one onto the wanted ones.

    By their centres (Umeyama). Centres of a pair, or along a line, leave a turn open: these lie on the first
    camera, as far from it on average as wanted.
    """
    try:
        move = umeyama(came[:, :3, 3], wanted[:, :3, 3])
    except DegenerateAlignment:
        came = se3.invert(came[0]) @ came
        reach = (wanted[:, :3, 3] - wanted[0, :3, 3]).norm(dim=-1).mean()
        came[:, :3, 3] *= reach / came[:, :3, 3].norm(dim=-1).mean().clamp(min=1e-12)
        return wanted[0] @ came
    return se3.from_rotation_translation(move.rotation @ came[:, :3, :3], move.points(came[:, :3, 3]))


def point_preview(
    images: Float[Tensor, "V 3 H W"], truth: Truth, depth: Float[Tensor, "B V H W"]
) -> Float[Tensor, "3 h w"]:
    """Points of all views from above under the true cameras: true depth, and predicted depth scaled to it."""
    valid, cameras = truth.valid[0], truth.cameras[:1]
    colours = (images.movedim(1, -1)[valid] * 255).byte().cpu().numpy()
    both = (truth.depth[:1], _scaled(depth, truth).to(truth.depth))
    points = [unproject(depth, cameras)[0][valid].float().cpu().numpy() for depth in both]
    window = _window(points[0]) if len(points[0]) else (np.zeros(2), 1.0)
    return _picture(
        {"points from above: true depth, predicted depth": [_dots(p, colours, window, 0) for p in points]}
    )


def _scaled(depth: Float[Tensor, "B V H W"], truth: Truth) -> Float[Tensor, "1 V H W"]:
    """The first sample's depth at the truth's scale."""
    scale = fit_scale(depth[0].flatten().float(), truth.depth[0].flatten(), truth.valid[0].flatten())
    return depth[:1] * scale


def _window(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre (x, z) and width of a square that holds most of the points."""
    low, high = np.percentile(points[:, [0, 2]], (2, 98), axis=0)
    return (low + high) / 2, float(max((high - low).max(), 1e-6)) * 1.4


def _dots(
    points: np.ndarray,
    colours: np.ndarray | tuple[int, int, int],
    window: tuple[np.ndarray, float],
    radius: int,
    plan: np.ndarray | None = None,
) -> np.ndarray:
    """Paint squares into a plan, or a new one; x to the right, z (away from the first camera) up."""
    plan = np.full((PLAN, PLAN, 3), PAPER, np.uint8) if plan is None else plan
    centre, width = window
    places = (points[:, [0, 2]] - centre) / width * PLAN * (1, -1) + PLAN / 2
    inside = np.isfinite(places).all(-1) & (np.abs(places - PLAN / 2) < PLAN / 2 - radius - 1).all(-1)
    columns, rows = places[inside].astype(int).T
    colours = np.broadcast_to(colours, points.shape)[inside]
    for i in range(-radius, radius + 1):
        for j in range(-radius, radius + 1):
            plan[rows + i, columns + j] = colours
    return plan


def _picture(rows: Mapping[str, list[np.ndarray]]) -> Float[Tensor, "3 h w"]:
    sheet = contact_sheet(rows, width=900)
    return torch.from_numpy(np.ascontiguousarray(sheet)).movedim(-1, 0).float() / 255
