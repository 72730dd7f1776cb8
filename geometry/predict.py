"""Running a geometry network on views, with the world handled: given cameras in, given world out."""

from dataclasses import replace

from geometry.models.da3 import DepthAnything3, MonocularDepth
from geometry.models.nested import NestedDepthAnything3
from geometry.ops.align import Similarity, camera_scale, normalise_extrinsics
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
