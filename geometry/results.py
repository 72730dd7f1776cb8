"""Folders that commands write results into: apart from the input, and no file replaced that is not ours."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from geometry.atomic import atomic_folder, clear_leftovers, require_folder
from geometry.errors import InputError

# In a result folder: our files and their bytes, so that a changed one is noticed. It is moved in first.
_LIST = ".written.json"
# What the commands write: patterns, since names of photos are not known beforehand, and what is in them. The
# command says it at its end, and docs/files.md shows it.
RENDERED = {
    "report.html": "the whole result at a glance, in one file to keep or to send",
    "video.mp4": "a flight through novel views",
    "gaussians.ply": "the splats, for any viewer (INRIA's layout)",
    "contact_sheet.png": "photos, novel views and their depth on one page",
    "frames/*.png": "the pictures of the video",
    "depth/*.png": "their depth, in colours of one range",
    "depth16/frames/*.png": "their depth as numbers: 16-bit steps that frames.json names",
    "frames.json": "their cameras (as a transforms.json)",
    "images/*.png": "the photos that were used, as the network saw them",
    "depth16/images/*.png": "their depth as numbers: 16-bit steps that transforms.json names",
    "transforms.json": "their cameras, as nerfstudio has them",
    "COLMAP/images/*.png": "the same photos for COLMAP and trainers of splats",
    "COLMAP/sparse/0/*.bin": "their cameras, and points where the splats are opaque",
    "scene.json": "what was done: model, licence, cameras, world, settings, times, machine, verdict",
    "metrics.json": "with --holdout: likeness to the photos that were kept out",
}
INFERRED = (
    *("scene.json", "transforms.json", "images/*.png", "depth/*.png", "points.ply", "points.glb"),
    *("sparse/0/*.bin", "depth/*.npz", "confidence/*.png"),
)


def written(folder: Path) -> list[tuple[str, str]]:
    """What a folder of `RENDERED` holds: a file or a folder of many, and what is in it."""
    return [
        (pattern if "*" not in pattern else f"{pattern.rpartition('/')[0]}/", what)
        for pattern, what in RENDERED.items()
        if any(folder.glob(pattern))
    ]


def file_names(names: Sequence[str]) -> list[str]:
    """Names for output files: the photos' own without folder and ending, made unique where they clash."""
    stems = [Path(name).stem for name in names]
    if len(set(stems)) == len(stems):
        return stems
    return [f"{i:04d}_{stem}" for i, stem in enumerate(stems)]


def keep_apart(out: Path | str, inputs: Iterable[Path | str | None]) -> None:
    """Refuse an output folder that is an input, or holds one: its files could replace or join the input's.

    Raises:
        InputError: it does.
    """
    out = Path(out)
    for source in inputs:
        if source is None or not out.exists():
            continue
        named = Path(source).expanduser().absolute()
        real = named.resolve()
        if any(place.exists() and place.samefile(out) for p in (named, real) for place in (p, *p.parents)):
            raise InputError(
                f"{out}: expected a folder of its own for the output, got one that is or holds the input "
                f"{source}; give a new folder"
            )


def require_results(out: Path, files: Iterable[str], inputs: Iterable[Path | str | None]) -> None:
    """Refuse now what `result_folder` would refuse after the work, and an output that is not `keep_apart`.

    Args:
        files: patterns of what will be written.

    Raises:
        InputError: the message names the file that is in the way.
    """
    keep_apart(out, inputs)
    require_folder(out)
    ours = _ours(out)
    for pattern in files:
        for file in sorted(out.glob(pattern)):
            _require_ours(file, out, ours)


@contextmanager
def result_folder(out: Path) -> Iterator[Path]:
    """`atomic_folder` that replaces only files that we wrote: what it writes is listed in the folder.

    Raises:
        InputError: as `atomic_folder`, or a file of the same name is another's.
    """
    with atomic_folder(out) as folder:
        yield folder
        ours = _ours(out)
        sizes = {name: [(out / name).stat().st_size] for name in sorted(ours)}
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            _require_ours(out / file.relative_to(folder), out, ours)
            # Beside the size of the file that it replaces: a run that is killed in between leaves either.
            sizes.setdefault(file.relative_to(folder).as_posix(), []).insert(0, file.stat().st_size)
        (folder / _LIST).write_text(json.dumps(sizes, indent=0) + "\n")


def require_run(out: Path | str, exports: Iterable[str], inputs: Iterable[Path | str | None] = ()) -> None:
    """Refuse a training run's folder in which another's log or weights would be replaced.

    Args:
        exports: weights that the run writes when it is done.

    Raises:
        InputError: the message names the file that is in the way.
    """
    from geometry.engine.checkpoint import list_checkpoints  # here: the engine is only for training

    out = Path(out)
    keep_apart(out, inputs)
    clear_leftovers(out)
    if list_checkpoints(out / "checkpoints"):
        return  # an earlier run's folder: this one continues there
    files = [out / name for name in exports]
    log = out / "log.jsonl"
    if log.is_file() and log.read_bytes()[:9] not in (b"", b'{"kind": '):  # no log of ours
        files.append(log)
    for file in files:
        if file.exists():
            raise InputError(
                f"{file}: expected no such file in the folder of a new run, got one without checkpoints "
                "beside it; move it away, or give another output folder"
            )


def _require_ours(file: Path, out: Path, ours: set[str]) -> None:
    if file.is_file() and file.relative_to(out).as_posix() not in ours:
        raise InputError(
            f"{file}: expected no file there or one that an earlier run wrote, got another one (or it was "
            "changed since); move it away, or give another output folder"
        )


def _ours(out: Path) -> set[str]:
    """Files in a folder that earlier runs wrote, by relative name."""
    sizes = {n: s if isinstance(s, list) else [s] for n, s in _read_json(out / _LIST).items()}
    if sizes:
        return {n for n, known in sizes.items() if (out / n).is_file() and (out / n).stat().st_size in known}
    # Until 2026-11 nothing was listed; such a folder is known by what its scene.json says.
    if {"model", "weights", "trained", "licence", "poses", "photos"} <= _read_json(out / "scene.json").keys():
        return {
            p.relative_to(out).as_posix() for pattern in (*RENDERED, *INFERRED) for p in out.glob(pattern)
        }
    return set()


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
