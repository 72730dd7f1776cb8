"""Photos in, a folder of novel views out: what `nvs render` and `nvs.render` do."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from geometry.capture import (
    Capture,
    check_choice,
    find_cameras,
    find_scale,
    load_views,
    most_views,
    open_capture,
    place_by_network,
    show_views,
)
from geometry.capture.place import networks_world
from geometry.chunks import place_in_chunks, too_many, work_folder, working_in
from geometry.console import Stopwatch, announce, say
from geometry.device import machine, pick_device, precision
from geometry.models.nested import NestedDepthAnything3
from geometry.ops.scale import rescale_cameras
from geometry.options import NetworkOptions, PhotoOptions
from geometry.results import RENDERED, require_results, result_folder
from geometry.sampling.preprocess import PixelMap
from geometry.scenes import structure_from_motion
from geometry.verdict import Verdict
from geometry.version import version
from geometry.views import Cameras, Views
from geometry.weights.checkpoint import Checkpoint, find_checkpoint
from geometry.weights.files import fingerprint
from nvs import report
from nvs.cameras import camera_path
from nvs.cameras.files import cameras_from_file
from nvs.cameras.fit import default_size, fit_cameras, scaled_size, window_size
from nvs.cameras.transform import turn_cameras
from nvs.cameras.up_axis import y_up_turn
from nvs.gaussians.transform import turn_gaussians
from nvs.holdout import Holdout, evaluate, place_targets
from nvs.model.pooling import resize_cameras
from nvs.model.splatter import Splatter, load_splatter
from nvs.options import METRICS, PATHS, VIDEO_SIDE, RenderOptions, ViewOptions
from nvs.outputs import write_outputs
from nvs.pipeline import Pipeline
from nvs.rasterizer.backends import choose_backend
from nvs.refine import Refined
from nvs.scene import SplatScene
from nvs.verdict import Circumstances, judge


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """What a rendering left."""

    scene: SplatScene  # in the world of the files
    folder: Path
    metrics: dict[str, Any] | None  # of the held-out photos; None without a hold-out
    verdict: Verdict  # whether to trust it


@torch.no_grad()
def render_photos(
    photos: str | Path | Sequence[str | Path],
    out: str | Path,
    options: RenderOptions,
    *,
    command: str = "nvs.render",
) -> Rendered:
    """Gaussians of photos, a video and frames of novel views, depth and cameras, in the folder ``out``.

    Args:
        photos: as `geometry.open_photos` takes them.
        command: what was called, for scene.json and the report.

    Raises:
        InputError: photos, weights or options that cannot be used, or an output folder that holds files of
            others.
    """
    watch, out = Stopwatch(), Path(out)
    device = pick_device(options.network.device)
    choose_backend(options.gaussians.backend, device)  # here for its error or warning: before any work
    if options.views.path and options.views.path not in PATHS:
        cameras_from_file(options.views.path)  # for its errors, too
    sources = [photos] if isinstance(photos, (str, Path)) else list(photos)
    require_results(out, RENDERED, [*sources, options.photos.poses])
    taken = options.photos
    check_choice(taken.camera_source)
    with watch("photos"):
        capture = open_capture(photos, taken, device, out=out, every_photo=True, partly=True)
    with watch("model"):
        checkpoint = find_checkpoint(options.model)
        announce(checkpoint)
        splatter = load_splatter(checkpoint).to(device)
        if splatter.head is None and checkpoint.trained:
            say(
                f"{checkpoint.variant!r} has no Gaussian head: every pixel becomes one Gaussian of its own "
                "colour at the predicted depth"
            )
    pipeline = Pipeline(
        splatter=splatter,
        options=options.gaussians,
        network=options.network,
        at_a_time=taken.max_views,
        report=say,
        watch=watch,
        in_chunks=capture.store is not None,
    )
    facts = Circumstances(
        asked=len(capture.context) + len(capture.targets),
        cameras=taken.camera_source,
        sfm_installed=structure_from_motion.available(),
        model=checkpoint.variant,
        knows_depth=splatter.knows_depth,
        trained=checkpoint.trained,
    )
    with watch("cameras"):
        capture = find_cameras(
            capture, taken.camera_source, trust_network=splatter.knows_depth, seed=options.gaussians.seed
        )
    prepared = prepare(capture, pipeline, taken, device, work_folder(out))
    capture, views, maps = prepared.capture, prepared.views, prepared.maps
    background = background_colour(taken.background, views)
    scene = replace(
        pipeline.splat(views, background=background, known=prepared.depth),
        names=tuple(capture.names),
        origin=tuple(capture.origin),
    )

    size = options.views.size or default_size(window_size(maps))
    metrics, holdout = None, None
    if capture.targets:
        with watch("hold-out"):
            holdout = hold_out(capture, taken, pipeline, views, scene.cameras, size)
            metrics = score(scene, holdout)
    if options.gaussians.refines:
        with watch("photos"):
            refined_on = refinement_photos(capture, maps, views, scene.cameras, size)
        scene = pipeline.refine(scene, refined_on, move=placed_views(capture))
        if holdout is not None:
            with watch("hold-out"):
                metrics = gained(metrics, score(scene, holdout), scene.refined)
    verdict = judge(scene, capture, facts)
    verdict = replace(verdict, problems=(*verdict.problems, *prepared.problems))
    if metrics is not None:
        metrics |= {"context": capture.names, **verdict.as_json()}
    size = options.views.size or scaled_size(window_size(maps), VIDEO_SIDE)
    path = render_path(options.views, scene, size, capture.scene.origin)
    scene = in_metres(capture, taken, splatter, scene, maps)
    path = rescale_cameras(path, scene.depth.new_full((1,), scene.scale.factor))
    if options.views.world == "y-up":
        scene, path = y_up(scene, path)
    with result_folder(out) as folder:
        with watch("render and write"):
            samples = write_outputs(
                folder, scene, path, size, fps=options.views.fps, note=verdict.title, keep=report.FRAMES
            )
        about = {
            **describe(options, checkpoint, capture, scene, path, size),
            **verdict.as_json(),
            "timing": watch.as_json(),
            "provenance": provenance(command, options, checkpoint),
        }
        (folder / "scene.json").write_text(json.dumps(about, indent=2, default=str) + "\n")
        if metrics is not None:
            (folder / "metrics.json").write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n")
        name = out.resolve().name
        report.write(folder / "report.html", scene, path, size, samples, about, verdict, metrics, title=name)
    shutil.rmtree(work_folder(out), ignore_errors=True)
    say(watch.summary())
    verdict.tell()
    return Rendered(scene=scene, folder=out, metrics=metrics, verdict=verdict)


def render_path(
    options: ViewOptions,
    scene: SplatScene,
    size: tuple[int, int],
    origin: Float[np.ndarray, " 3"] | None = None,
) -> Cameras:
    """The cameras of the video, for images of ``size``.

    Args:
        origin: of the scene's world, where that was moved.
    """
    name = options.path or ("spline" if scene.depth.shape[1] > 1 else "wander")
    if name not in PATHS:
        return cameras_from_file(name, size, origin).to(scene.depth)
    cameras = camera_path(name, scene.cameras, scene.image_size, depth=scene.depth, frames=options.frames)
    return fit_cameras(cameras, scene.image_size, size)


def refinement_photos(
    capture: Capture, maps: Sequence[PixelMap], views: Views, cameras: Cameras, size: tuple[int, int]
) -> Views:
    """The context photos in their own shape, as large as the novel views, at the ``cameras`` of ``views``."""
    target = scaled_size(window_size(maps), max(size))
    # Half precision is finer than a photo's 8 bits, and hundreds of photos take half the memory.
    photos = show_views(capture, capture.context, maps, target, torch.float16).to(views.images.device)
    return replace(photos, cameras=resize_cameras(cameras, views.image_size, target))


def hold_out(
    capture: Capture,
    options: PhotoOptions,
    pipeline: Pipeline,
    views: Views,
    cameras: Cameras,
    size: tuple[int, int],
) -> Holdout:
    """The held-out photos, placed in the Gaussians' world."""
    targets, maps = load_views(capture, capture.targets, options, views.images.device)
    network, running = pipeline.splatter.network, pipeline.network
    with precision(running.precision, network):  # type: ignore[arg-type]
        holdout = place_targets(
            network,  # type: ignore[arg-type]
            views,
            cameras,
            targets,
            capture.target_names,
            show_views(capture, capture.targets, maps, size).to(views.images.device),
            reference=running.reference,
            chunk=running.chunk,
        )
    if capture.scene.estimated:
        return replace(holdout, alignment=f"{capture.scene.source} over input and hold-out together")
    return holdout


def score(scene: SplatScene, holdout: Holdout) -> dict[str, Any]:
    """Metrics of the scene against the held-out photos."""
    return evaluate(scene.gaussians, holdout, background=scene.background, backend=scene.backend)


def gained(before: dict[str, Any], after: dict[str, Any], refined: Refined) -> dict[str, Any]:
    """Metrics after refinement, with those from before it and the gain a second."""
    known = before["psnr"] is not None and after["psnr"] is not None
    gain = after["psnr"] - before["psnr"] if known else None
    gained = {"gain_db": gain, "gain_db_per_s": gain / max(refined.seconds, 1e-9) if known else None}
    first = {name: before[name] for name in METRICS}
    return {**after, "refinement": {**refined.as_json(), "before": first, **gained}}


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Photos as the pipeline takes them."""

    capture: Capture
    views: Views  # the context photos
    maps: Sequence[PixelMap]
    depth: Float[Tensor, "1 V H W"] | None = None  # the network's, where it was asked in chunks
    problems: tuple[str, ...] = ()


def prepare(
    capture: Capture, pipeline: Pipeline, taken: PhotoOptions, device: torch.device, work: Path | None = None
) -> Prepared:
    """A capture with the network's cameras where it has none, and its context photos.

    All photos, where they are wanted and are too many for one pass, go through the network in chunks.
    Held-out photos are placed with the others; depth is then asked for again, of the context alone.

    Args:
        work: where finished chunks lie; None: a temporary folder.
    """
    splatter, network, watch = pipeline.splatter, pipeline.network, pipeline.watch
    swept = capture.scene.posed and not (
        pipeline.options.depth == "network" or (pipeline.options.depth == "auto" and splatter.knows_depth)
    )
    if swept or not too_many(capture, taken, device):
        with watch("cameras"):
            capture = placed_by_network(capture, splatter, taken, network, device)
        with watch("photos"):
            views, maps = load_views(capture, capture.context, taken, device)
            views = views.to(device) if views.cameras is None else views  # for one pass
        return Prepared(capture=capture, views=views, maps=maps)
    with watch("chunks"), working_in(work) as folder:
        arguments = (splatter.network, taken, network, device, folder)
        problems: tuple[str, ...] = ()
        if capture.targets and not capture.scene.posed:
            placed = place_in_chunks(capture, *arguments)  # type: ignore[arg-type]
            capture, problems = placed.capture, placed.whole.problems
        placed = place_in_chunks(replace(capture, targets=[]), *arguments)  # type: ignore[arg-type]
    if not capture.targets:
        capture = placed.capture
    return Prepared(
        capture=capture,
        views=placed.views,
        maps=placed.maps,
        depth=placed.whole.geometry.depth,
        problems=problems + placed.whole.problems,
    )


def placed_by_network(
    capture: Capture, splatter: Splatter, options: PhotoOptions, running: NetworkOptions, device: torch.device
) -> Capture:
    """The capture with at most as many photos as one pass takes, if a network must place some of them.

    A network that is trusted places them now where some cameras or intrinsics are known; else with the depth.
    """
    if capture.scene.posed:
        return capture
    capture = capture.limited(most_views(options, device))
    if not splatter.knows_depth:
        return capture
    return place_by_network(capture, splatter.network, options, running, device)  # type: ignore[arg-type]


def placed_views(capture: Capture) -> list[int]:
    """Context photos that were placed among given cameras: their poses are estimates."""
    return [row for row, i in enumerate(capture.context) if capture.scene.frames[i].placed]


def in_metres(
    capture: Capture, options: PhotoOptions, splatter: Splatter, scene: SplatScene, maps: Sequence[PixelMap]
) -> SplatScene:
    """The scene at the scale that is known (`geometry.capture.scale`)."""
    metric = isinstance(splatter.network, NestedDepthAnything3) and networks_world(capture)
    scale = find_scale(
        capture, options, scene.views, maps, scene.depth, model="nested-giant-large" if metric else None
    )
    if scale.factor == 1:
        return replace(scene, scale=scale)
    g, cameras = scene.gaussians, rescale_cameras(scene.cameras, scene.depth.new_full((1,), scale.factor))
    return replace(
        scene,
        gaussians=replace(g, means=g.means * scale.factor, scales=g.scales * scale.factor),
        views=replace(scene.views, cameras=cameras),
        seed_depth=scene.seed_depth * scale.factor,
        scale=scale,
    )


def y_up(scene: SplatScene, path: Cameras) -> tuple[SplatScene, Cameras]:
    """Scene and path in a world whose y points up."""
    turn = y_up_turn(scene.cameras)
    turned = replace(
        scene,
        gaussians=turn_gaussians(scene.gaussians, turn),
        views=replace(scene.views, cameras=turn_cameras(scene.cameras, turn)),
    )
    return turned, turn_cameras(path, turn)


def background_colour(name: str, views: Views) -> Float[Tensor, " 3"]:
    """The colour that ``--background`` names."""
    if name == "mean":
        return views.mean_colour()[0]
    return views.images.new_full((3,), 1.0 if name == "white" else 0.0)


def describe(
    options: RenderOptions,
    checkpoint: Checkpoint,
    capture: Capture,
    scene: SplatScene,
    path: Cameras,
    size: tuple[int, int],
) -> dict[str, Any]:
    """What was done, for the folder's scene.json."""
    turned = (
        "turned so that +y is up and the first camera looks along -z"
        if options.views.world == "y-up"
        else "not turned (OpenCV cameras: x right, y down, z forward)"
    )
    return {
        "model": checkpoint.variant,
        "weights": checkpoint.source,
        "trained": checkpoint.trained,
        "licence": checkpoint.licence,
        "poses": capture.scene.source,
        "photos": len(capture.scene),
        "depth": scene.depth_kind,
        "depth_trusted": None if scene.trusted is None else round(scene.trusted, 4),
        "refine_steps": 0 if scene.refined is None else scene.refined.steps,
        "background": [round(value, 4) for value in scene.background.tolist()],
        "context": capture.names,
        "seeds": [capture.names[v] for v in scene.seeds],
        "world": f"{capture.world}; {turned}",
        "origin": capture.origin,
        **(scene.scale.as_json() if scene.scale else {}),
        "gaussians": scene.gaussians.means.shape[1],
        "frames": path.extrinsics.shape[1],
        "frame_size": list(size),
        "fps": options.views.fps,
    }


def provenance(command: str, options: RenderOptions, checkpoint: Checkpoint) -> dict[str, Any]:
    """What made a folder, so that it can be made again."""
    weights = fingerprint(checkpoint.state | checkpoint.gaussian_head)
    return {
        "version": version(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "seed": options.gaussians.seed,
        "weights_sha256": weights,  # of names, shapes and numbers
        "settings": asdict(options),
        "machine": machine(),
    }
