"""Photo files of a capture's folder, and which of them the names in a list of cameras mean."""

import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from geometry.formats.images import IMAGE_SUFFIXES, natural_key

# Where photos lie in a capture's folder, the sharpest first; case does not matter.
PHOTO_FOLDERS = (
    "corrected_images", "images", "images_2", "images_4", "images_8", "input", "rgb", "rgbd", "photos",
    "frames", "image", "imgs", "color",
)  # fmt: skip

MASK_FOLDERS = ("masks", "mask")


def visible_files(folder: Path) -> list[Path]:
    """Files in the folder in natural order; names starting with a dot are the system's."""
    return sorted(
        (p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")), key=natural_key
    )


def photos_in(folder: Path, *, deep: bool = False) -> list[Path]:
    """Photos in the folder, or, if ``deep``, in all folders below it, in natural order."""
    inner = [p for p in folder.rglob("*") if p.is_file()] if deep else visible_files(folder)
    return sorted(
        (
            p
            for p in inner
            if p.suffix.lower() in IMAGE_SUFFIXES
            and not any(
                part.startswith(".") or part.lower() in MASK_FOLDERS for part in p.relative_to(folder).parts
            )
        ),
        key=natural_key,
    )


def photo_places(folder: Path) -> list[tuple[Path, list[Path]]]:
    """Folders in which a capture's photos may lie, with the photos: itself, then its usual sub-folders.

    Photos that lie in folders one below the other (a rig's) are found below a usual name.
    """
    by_name = {p.name.lower(): p for p in sorted(folder.iterdir()) if p.is_dir()}
    usual = [by_name[name] for name in PHOTO_FOLDERS if name in by_name]
    places = [(folder, photos_in(folder))]
    if not places[0][1] and is_usual(folder):
        places = [(folder, photos_in(folder, deep=True))]
    for name in ("keyframes", "exr_rgbd"):  # Polycam's, Record3D's
        places += photo_places(by_name[name]) if name in by_name else []
    places += [(inner, photos_in(inner) or photos_in(inner, deep=True)) for inner in usual]
    return [(place, photos) for place, photos in places if photos]


def is_usual(folder: Path) -> bool:
    """Whether a folder has a name under which captures keep their photos."""
    return folder.resolve().name.lower() in PHOTO_FOLDERS


def find_named(
    names: Sequence[str], folder: Path, *, photos_from: Path | None = None
) -> dict[str, Path | None]:
    """The photo that each name in a list of cameras means, None where none is there, or more than one.

    Args:
        folder: to which the names are relative.
        photos_from: take photos only from there: by the name if it leads inside, else by `match_names`.
            None takes them from anywhere a name leads, else from the usual places in ``folder``.
    """
    found: dict[str, Path | None] = {}
    for name in names:
        paths = [folder / name] if photos_from is None or _is_below(folder / name, photos_from) else []
        paths += [] if photos_from is None else [photos_from / name]
        found[name] = next((path for path in paths if is_file(path)), None)
    for pool in _pools([name for name in names if found[name] is None], folder, photos_from):
        used = {path.resolve() for path in found.values() if path is not None}
        there = {key: path for key, path in pool.items() if path.resolve() not in used}
        missing = [name for name in names if found[name] is None]
        matched = match_names(missing, there, any_suffix=not used)
        found |= {name: there[key] for name, key in matched.items() if key is not None}
        if any(found.values()):
            break
    return found


def _pools(names: Sequence[str], folder: Path, photos_from: Path | None) -> Iterator[dict[str, Path]]:
    """Photos that these names may mean, by path relative to where they are; the likeliest first."""
    if not names:
        return
    if photos_from is not None:
        for deep in (False, True):
            yield {p.relative_to(photos_from).as_posix(): p for p in photos_in(photos_from, deep=deep)}
        return
    folders = dict.fromkeys(PurePosixPath(name.replace("\\", "/")).parent for name in names)
    yield {
        (inner / p.name).as_posix(): p
        for inner in folders
        if os.path.isdir(folder / inner)
        for p in photos_in(folder / inner)
    }
    for place, photos in photo_places(folder):
        yield {p.relative_to(place).as_posix(): p for p in photos}


def match_names(
    names: Sequence[str], files: Iterable[str], *, any_suffix: bool = True
) -> dict[str, str | None]:
    r"""The file that each name means, None where none does or where it is not certain which.

    A name that stands as it is comes first. The others may differ from their file in separators (``\``),
    runs of blanks, ``%20`` and Unicode form, in leading folders that only one of the two has, then also in
    case, then also in the photo's suffix; and they match where one name and one file are left that fit.

    Args:
        files: relative to the folder of the photos, parts separated by ``/``.
        any_suffix: a photo's suffix may be another one; else it may only be missing in the name.
    """
    found: dict[str, str | None] = dict.fromkeys(names)
    free = dict.fromkeys(files)
    for name in names:
        if name in free:
            found[name] = name
            del free[name]
    for normalise in (_plain, _caseless, _without_suffix):
        open_names = {name: normalise(name) for name in names if found[name] is None}
        if normalise is _without_suffix and not any_suffix:
            open_names = {n: parts for n, parts in open_names.items() if parts == _caseless(n)}
        open_files = {file: normalise(file) for file in free}
        most = max(map(len, [*open_names.values(), *open_files.values()]), default=0)
        for length in range(most, 0, -1):
            groups: dict[tuple[str, ...], tuple[list[str], list[str]]] = {}
            for side, items in enumerate((open_names, open_files)):
                for item, parts in items.items():
                    if len(parts) >= length:
                        groups.setdefault(parts[-length:], ([], []))[side].append(item)
            for wanted, there in groups.values():
                if len(wanted) == len(there) == 1:
                    (name,), (file,) = wanted, there
                    # One is the end of the other: cam1/1.jpg is not cam2/1.jpg.
                    if length in (len(open_names[name]), len(open_files[file])):
                        found[name] = file
                        del open_names[name], open_files[file], free[file]
    return found


def _plain(name: str) -> tuple[str, ...]:
    """The parts of a path, whatever separates them, in one Unicode form."""
    text = " ".join(unicodedata.normalize("NFC", unquote(name).replace("\\", "/")).split())
    return tuple(part.strip() for part in text.split("/") if part.strip() not in ("", "."))


def _caseless(name: str) -> tuple[str, ...]:
    return tuple(part.casefold() for part in _plain(name))


def _without_suffix(name: str) -> tuple[str, ...]:
    *folders, last = _caseless(name) or ("",)
    path = PurePosixPath(last)
    return (*folders, path.stem if path.suffix in IMAGE_SUFFIXES else last)


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name too long for any is no error."""
    try:
        return path.is_file()
    except OSError:
        return False


def _is_below(path: Path, folder: Path) -> bool:
    return path.parent.resolve().is_relative_to(folder.resolve())
