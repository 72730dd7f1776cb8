"""What fixes the scale of a result, and whether it is in metres: known depth, a distance, the network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from geometry.capture.capture import IN_MEMORY, Capture
from geometry.console import counted, say
from geometry.errors import InputError
from geometry.formats.images import read_exif_position
from geometry.models.da3 import MonocularDepth
from geometry.ops import se3
from geometry.ops.align import DegenerateAlignment, fit_scale, umeyama
from geometry.ops.metric import metric_depth
from geometry.ops.sky import SKY_THRESHOLD
from geometry.options import PhotoOptions
from geometry.sampling.framing import show_map
from geometry.sampling.preprocess import PixelMap
from geometry.scenes.view_selection import evenly_spaced
from geometry.views import Cameras, Views
from geometry.weights.checkpoint import find_checkpoint, load_network

METRIC_MODEL = "metric-large"
_LEAST = 100  # pixels of known depth
_GPS_LEAST, _GPS_ERROR = 5, 0.05  # photos; median distance, as a share of their spread
_AGREEMENT = 1.5  # factor between photos' scales up to which known depth is believed


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Results times ``factor`` are in metres, if ``metric``."""

    factor: float = 1.0
    metric: bool = False
    source: str  # where that comes from, in words

    def as_json(self) -> dict[str, object]:
        return {"metric": self.metric, "scale_from": self.source, "scale_factor": self.factor}


def find_scale(
    capture: Capture,
    options: PhotoOptions,
    views: Views,
    maps: Sequence[PixelMap],
    depth: Float[Tensor, "1 V h w"],
    *,
    model: str | None = None,
) -> Scale:
    """The scale of what was found of a capture's context photos.

    In order: a distance that was stated; metric cameras that were given; known depth and the photos' GPS,
    unless given cameras fix the scale and metres are not asked for; a network that answers in metres; and,
    where metres are asked for, the metric model.

    Args:
        views: the photos with their cameras in the result's world.
        maps: how their pixels lie in the photos.
        depth: z-depth in that world, on any grid.
        model: the network that brought world and depth to metres, if it did.

    Raises:
        InputError: a distance between photos that are not there, or at one place.
    """
    scene, cameras = capture.scene, views.cameras
    given = scene.posed and not scene.estimated
    if options.distance is not None and cameras is not None:
        return _by_distance(options.distance, capture.names, cameras)
    if given and scene.metric:
        return Scale(metric=True, source=f"given cameras: {scene.source}")
    if not given or options.metric:
        found = _by_depth(capture, maps, depth) or _by_gps(capture, cameras)
        if found is not None:
            return found
    if model is not None:
        return Scale(metric=True, source=f"the network {model}")
    if options.metric and cameras is not None:
        return _by_metric_model(views, depth)
    return Scale(source=f"given cameras: {scene.source}" if given else "nothing: it is arbitrary")


def _by_distance(distance: tuple[str, str, float], names: Sequence[str], cameras: Cameras) -> Scale:
    first, second, metres = distance
    centres = se3.centres(cameras.extrinsics[0].double())
    apart = float((centres[_named(first, names)] - centres[_named(second, names)]).norm())
    if apart <= 1e-9 * float(centres.abs().max()):
        raise InputError(f"--distance {first} {second}: expected photos from different places, got one place")
    return Scale(factor=metres / apart, metric=True, source=f"{first} and {second} are {metres:g} m apart")


def _named(wanted: str, names: Sequence[str]) -> int:
    """The photo that a name means: as it stands, or its end, with or without suffix."""
    paths = [PurePosixPath(name) for name in names]
    file = PurePosixPath(wanted).name
    for forms, asked in ((names, wanted), ([p.name for p in paths], file), ([p.stem for p in paths], file)):
        matching = [i for i, form in enumerate(forms) if form == asked]
        if len(matching) == 1:
            return matching[0]
    raise InputError(
        f"--distance {wanted}: expected the name of one of the {len(names)} photos that are used "
        f"({names[0]}, ...), got another or one that several have"
    )


def _by_depth(capture: Capture, maps: Sequence[PixelMap], depth: Float[Tensor, "1 V h w"]) -> Scale | None:
    """Known depth over ours: the median of every photo's median; None where there is too little."""
    ours, grid = depth[0].float().cpu().numpy(), (depth.shape[-2], depth.shape[-1])
    ratios = []
    for view, (index, window) in enumerate(zip(capture.context, maps)):
        known = capture.scene.frames[index].load_depth()
        if known is None:
            continue
        known = show_map(known, window.resized(grid))
        use = (known > 0) & np.isfinite(ours[view]) & (ours[view] > 0)
        if use.sum() >= _LEAST:
            ratios.append(float(np.median(known[use] / ours[view][use])))
    if not ratios:
        return None
    low, factor, high = np.percentile(ratios, (25, 50, 75))
    if high > _AGREEMENT * low:
        say(
            f"known depth is not used: photos differ in its scale by {high / low:.1f} times, so it is no "
            "measured one, or ours is wrong"
        )
        return None
    return Scale(factor=float(factor), metric=True, source=f"known depth of {counted(len(ratios), 'photo')}")


def _by_gps(capture: Capture, cameras: Cameras | None) -> Scale | None:
    """How far apart photos were by GPS, which is metres off: drones go far enough for that, people seldom."""
    if cameras is None:
        return None
    places, found = [], []
    for index, centre in zip(capture.context, se3.centres(cameras.extrinsics[0].double()).cpu()):
        photo = capture.scene.frames[index].image
        place = read_exif_position(photo) if isinstance(photo, Path) else None
        if place is not None:
            places.append(place)
            found.append(centre)
    if len(places) < _GPS_LEAST:
        return None
    target = torch.from_numpy(np.array(places))
    target = target - target.mean(dim=0)
    try:
        weights = torch.ones(len(found), dtype=torch.float64)
        for _ in range(10):  # a few photos whose GPS was lost do not count
            similarity = umeyama(torch.stack(found), target, weights, min_rank=1)
            error = (similarity.points(torch.stack(found)) - target).norm(dim=-1)
            weights = 1 / error.clamp(min=float(error.median()) + 1e-9)
    except DegenerateAlignment:
        return None
    off, spread = float(error.median()), float(target.norm(dim=-1).square().mean().sqrt())
    if off > _GPS_ERROR * spread:
        say(f"GPS is not used: it is off by {off:.1f} m, at places that are {spread:.1f} m from their middle")
        return None
    source = f"GPS of {counted(len(found), 'photo')}, off by {off:.2g} m"
    return Scale(factor=float(similarity.scale), metric=True, source=source)


def _by_metric_model(views: Views, depth: Float[Tensor, "1 V h w"]) -> Scale:
    """Of the metric model's depth on what is not sky."""
    say(f"--metric: the scale is that of {METRIC_MODEL}")
    V = views.images.shape[1]
    if V > IN_MEMORY:
        some = evenly_spaced(V, 64)
        views, depth = views[:, some], depth[:, some]
    network = load_network(find_checkpoint(METRIC_MODEL)).to(depth.device)
    assert isinstance(network, MonocularDepth)
    assert views.cameras is not None
    with torch.no_grad():
        found = network(Views(images=views.images.to(depth.device)))
    metres = metric_depth(found.depth, views.cameras.intrinsics)
    ground = torch.where(found.sky < SKY_THRESHOLD, metres, 0.0)
    ground = F.interpolate(ground, size=depth.shape[-2:], mode="nearest-exact")
    use = (ground > 0) & (depth > 0) & depth.isfinite()
    factor = fit_scale(depth.flatten(), ground.flatten(), use.flatten())
    return Scale(factor=float(factor), metric=True, source=f"the network {METRIC_MODEL}")
