"""Gaussians in files, one format a module: `FORMATS`.

Files hold one scene in the world the Gaussians are in; `turn_gaussians` turns it beforehand. For formats
whose own world is y up (.spz, .glb) they are turned half around x on the way, there and back.
Gaussians that no viewer can draw (a number that is not finite, a scale that is not positive) are left out of
what is written and read; every writer returns how many it wrote, and `read` says how many it left out. One
that would cover every picture taken in the scene is read smaller, and that is said too.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

from geometry.console import counted, say
from geometry.errors import InputError, reading
from nvs.gaussians.capping import capped
from nvs.gaussians.files import compressed_ply, glb, html, ply, sog, splat, spz
from nvs.gaussians.files.common import drawable
from nvs.gaussians.record import Gaussians

# By how a name ends; the first that fits counts.
FORMATS: dict[str, ModuleType] = {
    ".compressed.ply": compressed_ply,
    ".ply": ply,
    ".splat": splat,
    ".spz": spz,
    ".sog": sog,
    "meta.json": sog,
    ".glb": glb,
    ".html": html,
}
Y_UP = (".spz", ".glb")  # formats whose own world is y up
ENDINGS = ".ply, .compressed.ply, .splat, .spz, .sog, .glb or .html"


def write(path: Path | str, gaussians: Gaussians, **options: Any) -> int:
    """Write in the format that the name's ending says, see `FORMATS`; returns how many were written.

    Args:
        options: keywords of that format's ``write``: ``version`` of .spz, ``world`` of .spz, .glb and .html.
    """
    return FORMATS[ending_of(path)].write(path, gaussians, **options)


def read(path: Path | str, **options: Any) -> Gaussians:
    """Read the format that the name's ending says; one scene, float32. A .ply may be a compressed one.

    Raises:
        InputError: another ending, no such file, or not of its format.
    """
    with reading(path, "Gaussians in a whole file"):
        every = FORMATS[ending_of(path)].read(path, **options)
    kept = drawable(every)
    left_out = every.means.shape[1] - kept.means.shape[1]
    if left_out:
        whole = counted(every.means.shape[1], "Gaussian")
        say(f"{path}: left out {left_out:,} of {whole} (numbers that are not finite, or no size or rotation)")
    kept, too_large = capped(kept)
    if too_large:
        say(f"{path}: {counted(too_large, 'Gaussian')} would cover every picture and came out smaller")
    return kept


def find(path: Path) -> Path:
    """The file itself, or in a folder the first of gaussians.ply and the other formats.

    Raises:
        InputError: there is none.
    """
    if path.is_file():
        return path
    for name in ("gaussians.ply", *(f"gaussians{ending}" for ending in FORMATS), "meta.json"):
        if (path / name).is_file():
            return path / name
    raise InputError(f"{path}: expected a folder with gaussians.ply (made by `nvs render`) or such a file")


def ending_of(path: Path | str) -> str:
    """The key of `FORMATS` that a name ends in.

    Raises:
        InputError: it ends in none.
    """
    name = Path(path).name.lower()
    for ending in FORMATS:
        if name.endswith(ending):
            return ending
    raise InputError(f"{path}: expected a name that ends in {ENDINGS}")
