"""Running a geometry network on views, with the world handled: given cameras in, given world out."""

from dataclasses import replace
from typing import Any

import torch

from geometry.models.da3 import DepthAnything3, MonocularDepth
from geometry.models.nested import NestedDepthAnything3
from geometry.ops.align import Similarity, align_cameras, camera_scale, normalise_extrinsics
from geometry.ops.ray_pose import cameras_from_rays
from geometry.prediction import Geometry
from geometry.views import Cameras, Views

Network = DepthAnything3 | NestedDepthAnything3 | MonocularDepth


def condition(given: Cameras) -> tuple[Cameras, Similarity]:
    """Given cameras as the network takes them, and the way back from that world to the given one."""
    extrinsics, world = normalise_extrinsics(given.extrinsics)
    return replace(given, extrinsics=extrinsics), world


def predict_geometry(
    network: Network,
    views: Views,
    *,
    reference: str = "saddle_balanced",
    chunk: int = 8,
    ray_pose: bool = False,
    rays: bool = False,
    seed: int = 0,
) -> Geometry:
    """Geometry of views in 0..1: in the given cameras' world where there are any, else in the network's.

    With given cameras these are returned, and the depth is scaled to them by comparing camera centres.

    Args:
        ray_pose: cameras from the ray maps instead of the camera decoder.
        rays: keep the ray maps (in the network's world; left out where cameras are given).
        seed: of the robust fit of cameras to rays.
    """
    if isinstance(network, MonocularDepth):
        return replace(network(views, chunk=chunk), cameras=views.cameras)
    given, world = None, None
    if views.cameras is not None:
        given, world = condition(views.cameras)
    geometry = network(replace(views, cameras=given), reference=reference, chunk=chunk, rays=rays or ray_pose)
    if ray_pose:
        from_rays = cameras_from_rays(geometry.rays, geometry.ray_conf, views.image_size, seed=seed)
        geometry = replace(geometry, cameras=from_rays.cameras)
    return geometry if given is None else in_given_world(geometry, views.cameras, given, world)


def place_views(
    network: DepthAnything3 | NestedDepthAnything3, views: Views, *, chunk: int = 8, **options: Any
) -> tuple[Cameras, float]:
    """Cameras of one scene's views of which some, none or all have their own, in the world of those.

    What `predict_partly` finds is carried to the given world by the similarity of the known cameras in both
    (`geometry.ops.align.align_cameras`).

    Returns:
        Cameras of all views, the known ones as they were given, and how far the network's own estimates of
        these lie off after the similarity, over their spread; 0 without known ones.
    """
    assert views.cameras is not None
    assert views.known is not None
    known = views.known[0].nonzero()[:, 0]
    if len(known) == 0:
        return network(
            replace(views, cameras=None, known=None), chunk=chunk, rays=False, **options
        ).cameras, 0.0
    found = predict_partly(network, views, chunk=chunk).cameras
    carry, error = align_cameras(found.extrinsics[0, known], views.cameras.extrinsics[0, known])
    placed = carry.extrinsics(found.extrinsics[0].double()).to(found.extrinsics)[None]
    which = views.known[..., None, None]
    return Cameras(
        extrinsics=torch.where(which, views.cameras.extrinsics, placed),
        intrinsics=torch.where(which, views.cameras.intrinsics, found.intrinsics),
    ), float(error)


def predict_partly(
    network: DepthAnything3 | NestedDepthAnything3, views: Views, *, chunk: int = 8, **_: Any
) -> Geometry:
    """Geometry of one scene's views of which some have cameras, in the network's own world.

    Known cameras go to the network as camera tokens, those of the known views alone; in the others' place are
    the tokens that it learned for views without pose.
    """
    known = views.known[0].nonzero()[:, 0]
    given, _ = condition(views.cameras[:, known])
    extrinsics = torch.eye(4).to(given.extrinsics).repeat(1, views.known.shape[1], 1, 1)
    extrinsics[:, known] = given.extrinsics
    told = replace(views, cameras=replace(views.cameras, extrinsics=extrinsics))
    return network(told, reference=known[:1], chunk=chunk, rays=False)


def in_given_world(geometry: Geometry, original: Cameras, given: Cameras, world: Similarity) -> Geometry:
    """Predicted depth under the original given cameras.

    Args:
        given: the original cameras as `condition` made them, in the world of ``geometry``.
        world: from that world to the original one.
    """
    factor = world.scale * camera_scale(given.extrinsics, geometry.cameras.extrinsics).to(world.scale)
    return replace(
        geometry,
        depth=geometry.depth * factor[:, None, None, None],
        cameras=original,
        rays=None,
        ray_conf=None,
    )
