"""Arguments that several commands share, and the option records that they become."""

import argparse
import json
from pathlib import Path
from typing import Any

from geometry.datasets.registry import READERS, open_source, recognise
from geometry.errors import InputError
from geometry.options import BACKGROUNDS, CAMERAS, PRECISIONS, STRATEGIES, NetworkOptions, PhotoOptions

# Beside the packages, in a checkout as where they are installed. Not found by the name `configs`, which a
# folder of somebody else's on the path may have too.
CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def add_photo_arguments(parser: argparse.ArgumentParser, *, cameras: bool = True) -> None:
    """Photos, their cameras, and how many of them the network takes.

    Args:
        cameras: with ``--cameras``, for commands that can take those of structure from motion.
    """
    group = parser.add_argument_group("photos")
    group.add_argument("photos", nargs="+", help="a folder of photos, photo files, or one video")
    group.add_argument(
        "--poses",
        metavar="FILE",
        help="camera poses: a transforms.json or a COLMAP model folder (default: found beside the photos)",
    )
    if cameras:
        group.add_argument(
            "--cameras",
            choices=CAMERAS,
            default="auto",
            help="whose cameras: given ones, the network's, or those that structure from motion finds (sfm, "
            "needs pycolmap); auto takes given ones, else sfm where the model is tiny or untrained",
        )
    group.add_argument(
        "--unposed",
        action="store_true",
        help="ignore all poses; the network finds its own" + (": as --cameras network" if cameras else ""),
    )
    if cameras:
        group.add_argument(
            "--focal",
            metavar="F",
            help="intrinsics of photos without cameras: pixels (1200), the equivalent on film (26mm), exif, "
            "or a calibration file (JSON with fl_x or camera_angle_x, COLMAP's cameras.txt, OpenCV's .yml)",
        )
        group.add_argument(
            "--distance",
            nargs=3,
            metavar=("PHOTO", "PHOTO", "METRES"),
            help="metres between the cameras of two photos: results are then in metres",
        )
        group.add_argument(
            "--metric",
            action="store_true",
            help="results in metres: of known depth, a network that knows them, or else of metric-large",
        )
    group.add_argument(
        "--no-pose-check", action="store_true", help="use poses even if they contradict themselves"
    )
    group.add_argument(
        "--masks",
        metavar="FOLDER|none",
        help="masks of the photos, a.png or a.jpg.png for a.jpg: white is used, black ignored (default: "
        "masks/ beside the photos, or what transforms.json names; none ignores them, and transparency)",
    )
    group.add_argument(
        "--background",
        choices=BACKGROUNDS,
        default="mean",
        help="colour behind transparent photos, and of rendered views where no Gaussian is: black, white, or "
        "the photos' mean (default), with which what is transparent counts as masked",
    )
    group.add_argument(
        "--max-views",
        type=positive,
        default=None,
        metavar="N",
        help="photos the network takes at most (default: 16 on CPU, 64 on CUDA); more photos are sampled, "
        "farthest-point with poses, evenly without; time grows faster than the number",
    )
    if cameras:
        group.add_argument(
            "--all",
            dest="all_photos",
            action="store_true",
            help="take all photos, and all keyframes of a video, in overlapping chunks of --max-views: "
            "memory stays that of a chunk, and a run that was stopped goes on where it was",
        )
    add_record(
        group,
        PhotoOptions(),
        {
            "--process-res": "longest side of the images that the network sees, in pixels",
            "--released-crop": "centre-crop photos of mixed sizes to the smallest, as the released code does",
            "--panorama": "photos or a video twice as wide as high are panoramas, whether they say so or not",
        },
    )


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Which network, and how it runs."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        default="tiny",
        help="a size (tiny, small, base, large, giant, mono-large, metric-large, nested-giant-large), a hub "
        "id, a folder, or a .safetensors file (default: tiny)",
    )
    group.add_argument(
        "--ref-view",
        default="saddle_balanced",
        choices=STRATEGIES,
        help="how the reference view of unposed photos is chosen (default saddle_balanced)",
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default auto)")
    group.add_argument(
        "--precision",
        default="auto",
        choices=PRECISIONS,
        help="of the backbone; heads are always float32 (default: bfloat16 on CUDA, float32 on CPU)",
    )
    group.add_argument(
        "--chunk", type=positive, default=None, metavar="N", help="views that the dense heads take at a time"
    )


def add_record(parser: argparse._ActionsContainer, defaults: Any, texts: dict[str, str]) -> None:
    """An argument for each flag, ``--min-points`` for the field ``min_points`` of an option record."""
    for flag, text in texts.items():
        default = getattr(defaults, flag[2:].replace("-", "_"))
        if isinstance(default, bool):
            parser.add_argument(flag, action="store_true", help=text)
        else:
            kind = positive if isinstance(default, int) and default > 0 else type(default)
            parser.add_argument(flag, type=kind, default=default, help=f"{text} (default {default})")


def photo_options(args: argparse.Namespace) -> PhotoOptions:
    """What `add_photo_arguments` parsed, with ``--context`` and ``--holdout`` where the command has them."""
    return PhotoOptions(
        poses=args.poses,
        cameras=getattr(args, "cameras", "auto"),
        unposed=args.unposed,
        pose_check=not args.no_pose_check,
        context=getattr(args, "context", None),
        max_views=args.max_views,
        all_photos=getattr(args, "all_photos", False),
        holdout=getattr(args, "holdout", None),
        process_res=args.process_res or PhotoOptions.process_res,
        released_crop=args.released_crop,
        panorama=args.panorama,
        masks=args.masks,
        background=args.background,
        focal=getattr(args, "focal", None),
        distance=_distance(getattr(args, "distance", None)),
        metric=getattr(args, "metric", False),
    )


def _distance(typed: list[str] | None) -> tuple[str, str, float] | None:
    if typed is None:
        return None
    try:
        return typed[0], typed[1], float(typed[2])
    except ValueError:
        raise InputError(f"--distance: expected two photos and metres, got {' '.join(typed)}") from None


def network_options(args: argparse.Namespace) -> NetworkOptions:
    """What `add_model_arguments` parsed, but for the model's name."""
    return NetworkOptions(
        reference=args.ref_view,
        device=args.device,
        precision=args.precision,
        chunk=args.chunk or NetworkOptions.chunk,
    )


def positive(text: str) -> int:
    """argparse type: a whole number above zero."""
    value = int(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return value


def natural(text: str) -> int:
    """argparse type: a whole number, not negative."""
    return 0 if text == "0" else positive(text)


def train_parser(package: str, what: str, more: str = "") -> argparse.ArgumentParser:
    """Arguments of a package's ``train`` command, which takes a configuration in Hydra's words.

    Args:
        what: it trains, with an example.
        more: about its experiments.
    """
    p = argparse.ArgumentParser(
        prog=f"{package} train",
        description=f"Train a {what}. Every value of the configuration can be overridden as group=choice or "
        "path.to.value=new. The same command with the same out resumes from its newest checkpoint.",
        epilog=f"experiments: {', '.join(experiments(package))}. {more}Several processes: torchrun "
        f"--standalone --nproc-per-node N -m {package} train experiment=... Exit status 75: stopped by a "
        "signal, saved, to be started again.",
    )
    p.add_argument("--show", action="store_true", help="print the whole configuration and stop")
    p.add_argument("overrides", nargs="*", help=f"Hydra overrides, such as experiment={package}/smoke")
    return p


def experiments(package: str) -> list[str]:
    """Names for ``experiment=`` of a package's ``train`` command: ``geometry/smoke``, ..."""
    return [choice for choice in choices("experiment") if choice.startswith(f"{package}/")]


def choices(group: str) -> list[str]:
    """Names that a group of the configuration has."""
    folder = CONFIGS / group
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def add_source(parser: argparse.ArgumentParser) -> None:
    """A data set on disk: its folder, and its reader with options."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="where the data set lies")
    parser.add_argument("--kind", choices=tuple(READERS), help="reader to use (default: found by the layout)")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="argument of the reader, for example device=iphone; repeatable",
    )


def named_source(args: argparse.Namespace) -> tuple[str, Any]:  # a SceneSource
    """Kind and reader of `add_source`'s data set, which are told.

    Values of options are JSON where they can be, else text.
    """
    options: dict[str, object] = {}
    for pair in args.option:
        name, separator, value = pair.partition("=")
        if not separator:
            raise InputError(f"--option {pair}: expected NAME=VALUE")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    kind = args.kind or recognise(args.folder)
    source = open_source(args.folder, kind, **options)
    print(f"{args.folder}: {kind}, {len(source)} scenes", flush=True)
    return kind, source
