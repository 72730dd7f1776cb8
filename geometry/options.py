"""What commands, the Python API, fine-tuning and benchmarks let people choose, as records with defaults.

Commands parse into them, and nothing below `geometry.commands` knows a command line. This file and
`nvs.options` import no torch, so that `--help` is quick.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from geometry.errors import InputError

Record = TypeVar("Record")
CameraSource = Literal["auto", "given", "network", "sfm"]
CAMERAS: tuple[str, ...] = get_args(CameraSource)
BACKGROUNDS = ("mean", "black", "white")
PRECISIONS = ("auto", "float32", "bfloat16")
STRATEGIES = ("saddle_balanced", "saddle_sim_range", "first", "middle")  # of `choose_reference`
WORLD_KINDS = ("room", "objects", "tabletop", "shapes", "outdoor", "street")  # of `geometry.worlds`
WORLD_PATHS = ("orbit", "forward", "handheld", "looks", "wide", "slide", "pan")


@dataclass(frozen=True, kw_only=True)
class PhotoOptions:
    """Which photos and cameras are taken, and at which size.

    Args:
        poses: a transforms.json or a COLMAP model's folder; None looks beside the photos.
        masks: a folder of masks (white keeps, black hides); None looks beside the photos, ``none`` ignores
            masks, and what is transparent.
        background: colour behind transparent photos, and where no Gaussian is: ``black`` or ``white``; the
            ``mean`` of the photos, and then what is transparent is masked.
        focal: intrinsics of photos without cameras: pixels, ``26mm`` (for film 36 mm wide), ``exif``, or a
            calibration file (`geometry.scenes.calibration`).
        distance: the names of two photos, and how many metres lie between their cameras: results are then
            in metres.
        metric: results shall be in metres (`geometry.capture.scale` says where they may come from).
        cameras: whose cameras: ``given`` ones, the ``network``'s, or those of structure from motion
            (``sfm``); ``auto`` takes given ones, else ``sfm`` where the network's are worth less.
        unposed: ignore all poses: the same as cameras="network".
        pose_check: refuse poses that contradict themselves.
        context: how many photos are input; None takes as many as ``max_views`` says.
        max_views: how many photos the network takes at most; None: `geometry.capture.MAX_VIEWS`.
        all_photos: take all photos, in chunks where they are more than that (`geometry.chunks`).
        holdout: every Nth photo is held out of the input; None holds out none.
        process_res: pixels of the longest side of the images that the network sees.
        released_crop: photos of mixed sizes are all cut to the smallest, as the released code does.
        panorama: photos twice as wide as high are equirectangular panoramas, whether they say so or not.
    """

    poses: str | Path | None = None
    cameras: CameraSource = "auto"
    unposed: bool = False
    pose_check: bool = True
    context: int | None = None
    max_views: int | None = None
    all_photos: bool = False
    holdout: int | None = None
    process_res: int = 504
    released_crop: bool = False
    panorama: bool = False
    masks: str | Path | None = None
    background: Literal["mean", "black", "white"] = "mean"
    focal: str | float | Path | None = None
    distance: tuple[str, str, float] | None = None
    metric: bool = False

    def __post_init__(self) -> None:
        require_one_of("cameras", self.cameras, CAMERAS)
        require_one_of("background", self.background, BACKGROUNDS)
        if self.distance is not None and not float(self.distance[2]) > 0:
            raise InputError(f"distance: expected metres above 0, got {self.distance[2]}")
        for name in ("context", "max_views", "process_res"):
            _require_positive(name, getattr(self, name))

    @property
    def camera_source(self) -> str:
        """``cameras``, with ``unposed`` taken into account."""
        return "network" if self.unposed and self.cameras == "auto" else self.cameras

    @property
    def backdrop(self) -> tuple[int, int, int] | None:
        """What lies behind transparent photos, where that is stated."""
        return {"black": (0, 0, 0), "white": (255, 255, 255)}.get(self.background)

    @property
    def ignore_poses(self) -> bool:
        """Whether photos are to be opened without the cameras beside them."""
        return self.unposed or self.cameras in ("network", "sfm")


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """How a network runs.

    Args:
        reference: how the reference view of unposed photos is chosen (`geometry.models.reference_view`).
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: of the backbone; heads are always float32. ``auto`` is bfloat16 on CUDA, float32 on CPU.
        chunk: views that the dense heads take at a time.
    """

    reference: str = "saddle_balanced"
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    chunk: int = 8

    def __post_init__(self) -> None:
        require_one_of("reference", self.reference, STRATEGIES)
        require_one_of("precision", self.precision, PRECISIONS)
        _require_positive("chunk", self.chunk)


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """How `geometry.training.labelling` makes labels, and which it refuses."""

    folder: str = "teacher_depth"  # name of the labels' folder, beside the data
    process_res: int = 504  # pixels of the longest side of the images that the teacher sees
    raw: bool = False  # relative depth without alignment: for the monocular student, on images without depth
    min_points: int = 50  # measured depths of a frame at least
    max_scale_error: float = 0.05  # labels whose scale is less certain than this share are refused
    max_residual: float = 0.2  # as are those that miss their inliers by more than this share
    again: bool = False  # label what is already labelled, too
    batch: int = 8  # photos of one size that go through the teacher together
    workers: int = 4  # processes that decode photos, and threads that align and write; 0: none and one
    seed: int = 0  # of the robust fits


def override(records: tuple[Any, ...], given: Mapping[str, object]) -> tuple[Any, ...]:
    """The option records with what keywords say, each keyword in the first record that has such a field.

    Raises:
        TypeError: a keyword that none of them has; the message names those that there are.
    """
    rest, out = dict(given), []
    for record in records:
        names = [field.name for field in fields(record)]
        out.append(replace(record, **{name: rest.pop(name) for name in names if name in rest}))
    if rest:
        known = ", ".join(field.name for record in records for field in fields(record))
        raise TypeError(f"unknown option {next(iter(rest))!r}; known are {known}")
    return tuple(out)


def named(record: type[Record], values: Mapping[str, Any]) -> Record:
    """An option record of the values that have its fields' names."""
    return record(**{f.name: values[f.name] for f in fields(record) if f.name in values})  # type: ignore[arg-type]


def require_one_of(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse an option's value that is none of its choices."""
    if value not in choices:
        raise InputError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")


def _require_positive(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise InputError(f"{name}: expected 1 or more, got {value}")
