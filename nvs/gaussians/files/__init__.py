"""Gaussians in files: INRIA PLY (exact), and for the web .splat and .spz (quantised).

Files hold one scene in the world the Gaussians are in; `turn_gaussians` turns it beforehand.
Gaussians that no viewer can draw (a number that is not finite, a scale that is not positive) are left out,
and every writer returns how many it wrote.
"""

from pathlib import Path
from types import ModuleType

from geometry.errors import InputError
from nvs.gaussians.files import ply, splat, spz
from nvs.gaussians.record import Gaussians

FORMATS: dict[str, ModuleType] = {".ply": ply, ".splat": splat, ".spz": spz}


def write(path: Path | str, gaussians: Gaussians) -> int:
    """Write in the format that the name's ending says, see `FORMATS`; returns how many were written."""
    return _format(path).write(path, gaussians)


def read(path: Path | str) -> Gaussians:
    """Read .ply, .splat or .spz; one scene, float32.

    Raises:
        InputError: another ending, no such file, or not of its format.
    """
    return _format(path).read(path)


def _format(path: Path | str) -> ModuleType:
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"{path}: expected a name that ends in {', '.join(FORMATS)}")
    return FORMATS[suffix]
