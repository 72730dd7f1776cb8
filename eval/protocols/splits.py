"""Splits as data: which photos of which scene are context and which are targets, with checksums.

A split is a JSON file that says everything needed to repeat a benchmark or to take part in it with a method
of any kind: ordered file names, context, targets, the rule that chose them, the cameras of all photos in use
and the file name under which a rendering of each target is expected. It is made from the data once, and
every run checks that its data is still that.

Cameras in the file: ``extrinsics`` are the first three rows of the world-to-camera matrix, OpenCV axes (x
right, y down, z forward), row by row; ``intrinsics`` are fx / W, fy / H, cx / W, cy / H of the undistorted,
upright photo, so that they hold at every resolution.
"""

import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eval.protocols.selection import AnyRule, Sample, divide, rule_of
from geometry.atomic import atomic_file
from geometry.datasets.sources import SceneSource
from geometry.errors import InputError
from geometry.formats.images import natural_key
from geometry.formats.text import read_object
from geometry.ops import se3
from geometry.options import require_one_of
from geometry.results import file_names
from geometry.scenes.scene import Frame, Scene

FORMAT, VERSION = "feedforward-nvs/split", 1
VERIFY = ("files", "cameras")
_CONVENTION = (
    "extrinsics: world-to-camera 3 x 4, row by row, OpenCV axes (x right, y down, z forward); intrinsics: "
    "fx/W, fy/H, cx/W, cy/H of the undistorted upright photo, first pixel centre at (0.5, 0.5)"
)
_DIGITS = 9  # significant digits of stored cameras
_POSE_TOLERANCE = 1e-4  # of rotation entries, and of centres over the capture's extent
_INTRINSICS_TOLERANCE = 1e-3  # of intrinsics over the image's size: rounding of w and h between resolutions


@dataclass(frozen=True, kw_only=True)
class SceneSplit:
    """One scene's part of a split."""

    name: str
    frames: tuple[str, ...]  # all photos, natural order
    context: tuple[str, ...]
    targets: tuple[str, ...]
    renders: tuple[str, ...]  # file names of the targets' renderings
    cameras: dict[str, dict[str, list[float]]]  # of context and targets
    files: dict[str, str]  # SHA-256 of the photos in use


@dataclass(frozen=True, kw_only=True)
class Split:
    """A benchmark's division of its data."""

    benchmark: str
    rule: AnyRule
    scenes: tuple[SceneSplit, ...]

    def scene(self, name: str) -> SceneSplit:
        return next(scene for scene in self.scenes if scene.name == name)


@dataclass(frozen=True, kw_only=True)
class DividedScene:
    """A scene of the data, and its split, found to belong together."""

    split: SceneSplit
    context: tuple[Frame, ...]
    targets: tuple[Frame, ...]


def make_split(source: SceneSource, benchmark: str, rule: AnyRule) -> Split:
    """Divide every scene of a source; scenes and photos in natural order, whatever the reader's order.

    Raises:
        InputError: a scene has no poses, too few photos, or two photos of one name.
    """
    return Split(
        benchmark=benchmark,
        rule=rule,
        scenes=tuple(_divide(source.read(name), rule) for name in sorted(source.names, key=natural_key)),
    )


def _divide(scene: Scene, rule: AnyRule) -> SceneSplit:
    if not scene.posed and not (isinstance(rule, Sample) and not rule.cameras):
        raise InputError(f"{scene.name}: expected photos with poses and intrinsics, got some without")
    order = sorted(range(len(scene)), key=lambda i: natural_key(scene.frames[i].name))
    frames = [scene.frames[i] for i in order]
    names = [frame.name for frame in frames]
    if len(set(names)) < len(names):
        raise InputError(f"{scene.name}: expected photos of different names, got some twice")
    try:
        posed = scene.posed and not isinstance(rule, Sample)
        context, targets = divide(scene.select(order).extrinsics if posed else [None] * len(frames), rule)
    except InputError as error:
        raise InputError(f"{scene.name}: {error}") from error
    used = sorted({*context, *targets})
    return SceneSplit(
        name=scene.name,
        frames=tuple(names),
        context=tuple(names[i] for i in context),
        targets=tuple(names[i] for i in targets),
        renders=tuple(f"{stem}.png" for stem in file_names([names[i] for i in targets])),
        cameras={names[i]: camera_numbers(frames[i]) for i in used if frames[i].extrinsics is not None},
        files={names[i]: file_checksum(frames[i]) for i in used},
    )


def fit_scene(split: SceneSplit, scene: Scene, *, verify: str = "files") -> DividedScene:
    """The scene's context and targets, once the split was found to belong to it.

    Args:
        verify: ``files`` compares names, cameras and the bytes of the photos in use; ``cameras`` leaves out
            the bytes, for the same data set at another resolution.

    Raises:
        InputError: it does not; the message says in what.
    """
    require_one_of("verify", verify, VERIFY)
    where = f"scene {scene.name}: the split does not fit the data:"
    frames = {frame.name: frame for frame in scene.frames}
    names = sorted(frames, key=natural_key)
    if tuple(names) != split.frames:
        missing, more = set(split.frames) - set(names), set(names) - set(split.frames)
        raise InputError(
            f"{where} expected {len(split.frames)} photos, got {len(names)}"
            + (f"; {min(missing)} is missing" if missing else "")
            + (f"; {min(more)} is not in the split" if more else "")
        )
    used = [*split.context, *split.targets]
    if split.cameras:
        _check_cameras([frames[name] for name in used], [split.cameras[name] for name in used], where)
    if verify == "files":
        for name in used:
            if file_checksum(frames[name]) != split.files[name]:
                raise InputError(
                    f"{where} {name} is another file (SHA-256 differs); verify=cameras takes the same photos "
                    f"at another resolution"
                )
    return DividedScene(
        split=split,
        context=tuple(frames[name] for name in split.context),
        targets=tuple(frames[name] for name in split.targets),
    )


def divided_scene(split: SceneSplit, source: SceneSource, verify: str) -> DividedScene:
    """`fit_scene` of a scene read now; what its reader warns of is said once."""
    with warnings.catch_warnings():
        warnings.simplefilter("once")
        return fit_scene(split, source.read(split.name), verify=verify)


def camera_numbers(frame: Frame) -> dict[str, list[float]]:
    """A frame's camera as a split states it."""
    (H, W), K = frame.image_size, frame.intrinsics
    intrinsics = (K[0, 0] / W, K[1, 1] / H, K[0, 2] / W, K[1, 2] / H)
    return {
        "extrinsics": [_rounded(x) for x in frame.extrinsics[:3].ravel()],
        "intrinsics": [_rounded(x) for x in intrinsics],
    }


def file_checksum(frame: Frame) -> str:
    """SHA-256 of a photo's file; of its pixels where it is part of a video or an archive."""
    if isinstance(frame.image, Path):
        with frame.image.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    return hashlib.sha256(np.ascontiguousarray(frame.load()).tobytes()).hexdigest()


def write_split(path: Path | str, split: Split) -> None:
    """Write a split; the same data and rule give the same bytes."""
    content = _content(split)
    text = json.dumps(content | {"checksum": _digest(content)}, indent=1, allow_nan=False)
    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_split(path: Path | str) -> Split:
    """Read a split.

    Raises:
        InputError: no such file, another format or version, or content that was changed by hand.
    """
    path = Path(path).expanduser()
    content = read_object(path, "a split")
    if content.get("format") != FORMAT:
        raise InputError(f"{path}: expected a split made by nvs-eval split, got other JSON")
    if content.get("version") != VERSION:
        raise InputError(
            f"{path}: expected a split of version {VERSION}, got version {content.get('version')}"
        )
    stated = content.pop("checksum", None)
    try:
        fits = stated == _digest(content)
    except ValueError:  # NaN, which no split has
        fits = False
    if not fits:
        raise InputError(f"{path}: the checksum does not fit the content: the file was changed or cut short")
    try:
        scenes = tuple(_scene(scene) for scene in content["scenes"])
        return Split(benchmark=content["benchmark"], rule=rule_of(content["rule"]), scenes=scenes)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, StopIteration) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise InputError(f"{path}: expected scenes as nvs-eval split writes them ({reason})") from None


def _scene(scene: dict) -> SceneSplit:
    """A scene of the file. Its names become those of files, so they may not lead out of a folder."""
    targets: dict[str, Any] = {
        "targets": tuple(target["name"] for target in scene["targets"]),
        "renders": tuple(target["render"] for target in scene["targets"]),
    }
    photos = {"frames": tuple(scene["frames"]), "context": tuple(scene["context"])}
    split = SceneSplit(**{**scene, **targets, **photos})
    for name in (split.name, *split.renders):
        parts = name.replace("\\", "/").split("/")
        if {"", ".", ".."} & set(parts) or ":" in parts[0] or (len(parts) > 1 and name != split.name):
            raise InputError(f"expected names that stay in their folder, got {name!r}")
    for name in (*split.context, *split.targets) if split.cameras else ():
        camera = split.cameras[name]
        numbers = np.array([*camera["extrinsics"], *camera["intrinsics"]], np.float64)
        if numbers.shape != (16,) or not np.isfinite(numbers).all() or name not in split.frames:
            raise InputError(f"expected the camera of a photo, got another for {name!r}")
    return split


def checksum(split: Split) -> str:
    """SHA-256 of the split's content, which the file states too."""
    return _digest(_content(split))


def _content(split: Split) -> dict[str, object]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "benchmark": split.benchmark,
        "rule": split.rule.as_json(),
        "convention": _CONVENTION,
        "scenes": [
            {
                "name": scene.name,
                "frames": list(scene.frames),
                "context": list(scene.context),
                "targets": [{"name": n, "render": r} for n, r in zip(scene.targets, scene.renders)],
                "cameras": scene.cameras,
                "files": scene.files,
            }
            for scene in split.scenes
        ],
    }


def _digest(content: dict[str, object]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _rounded(value: float) -> float:
    # -0.0 is written as 0.0: otherwise the checksum would differ.
    return float(f"{float(value):.{_DIGITS}g}") + 0.0


def _check_cameras(frames: list[Frame], stated: list[dict[str, list[float]]], where: str) -> None:
    bottom = np.array([[0.0, 0.0, 0.0, 1.0]])
    wanted = np.stack([np.concatenate((np.reshape(c["extrinsics"], (3, 4)), bottom)) for c in stated])
    came = np.stack([frame.extrinsics for frame in frames])
    centres, ours = (se3.centres(torch.from_numpy(poses)).numpy() for poses in (wanted, came))
    extent = np.ptp(centres, axis=0).max() or 1.0
    for i, frame in enumerate(frames):
        turned = np.abs(came[i, :3, :3] - wanted[i, :3, :3]).max() > _POSE_TOLERANCE
        moved = np.abs(ours[i] - centres[i]).max() > _POSE_TOLERANCE * extent
        intrinsics = np.subtract(camera_numbers(frame)["intrinsics"], stated[i]["intrinsics"])
        if turned or moved or np.abs(intrinsics).max() > _INTRINSICS_TOLERANCE:
            raise InputError(f"{where} {frame.name} has another camera")
