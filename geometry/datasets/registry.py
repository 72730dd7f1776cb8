"""The readers by name, and which of them a folder is for."""

import inspect
from pathlib import Path
from typing import Any

from geometry.datasets.arkitscenes import ARKitScenes
from geometry.datasets.blended_mvs import BlendedMVS
from geometry.datasets.chunks import Chunks
from geometry.datasets.co3d import CO3D
from geometry.datasets.colmap_folder import ColmapFolders
from geometry.datasets.dl3dv import DL3DV
from geometry.datasets.hypersim import Hypersim
from geometry.datasets.megadepth import MegaDepthColmap, MegaDepthIndex
from geometry.datasets.scannetpp import ScanNetPP
from geometry.datasets.sources import SceneSource
from geometry.datasets.tanks_and_temples import TanksAndTemples
from geometry.datasets.tartanair import TartanAir
from geometry.datasets.transforms_folder import TransformsFolders
from geometry.datasets.vkitti2 import VirtualKitti2
from geometry.datasets.wildrgbd import WildRGBD
from geometry.errors import InputError

# Sets with a layout of their own come before the general forms, which would take some of them too.
READERS: dict[str, Any] = {
    "dl3dv": DL3DV,
    "chunks": Chunks,
    "megadepth": MegaDepthColmap,
    "megadepth_index": MegaDepthIndex,  # never recognised: its index files may lie anywhere
    "co3d": CO3D,
    "scannetpp": ScanNetPP,
    "blended_mvs": BlendedMVS,
    "hypersim": Hypersim,
    "tartanair": TartanAir,
    "vkitti2": VirtualKitti2,
    "arkitscenes": ARKitScenes,
    "wildrgbd": WildRGBD,
    "tanks_and_temples": TanksAndTemples,
    "colmap": ColmapFolders,
    "transforms": TransformsFolders,
}
_NEEDED = {"dl3dv": {"exclude": None}}  # arguments that looking at a download needs, but training must choose


def recognise(root: str | Path) -> str:
    """Name of the reader whose layout the folder has.

    Raises:
        InputError: no reader knows it; the message lists what there is.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise InputError(f"{root}: expected a folder of a data set, found no such folder")
    for name, reader in READERS.items():
        if reader.recognises(root):
            return name
    raise InputError(
        f"{root}: expected a data set in a known layout ({', '.join(READERS)}), found none of them"
    )


def open_source(root: str | Path, kind: str | None = None, **options: object) -> SceneSource:
    """A reader for the folder, recognised by its layout unless ``kind`` names one."""
    kind = recognise(root) if kind is None else kind
    if kind not in READERS:
        raise InputError(f"{root}: expected a kind among {', '.join(READERS)}, got {kind}")
    known = inspect.signature(READERS[kind]).parameters
    unknown = [name for name in options if name not in known or name == "root"]
    if unknown:
        raise InputError(f"{kind}: expected options among {', '.join(list(known)[1:])}, got {unknown[0]}")
    options = _NEEDED.get(kind, {}) | options
    needed = [name for name, p in list(known.items())[1:] if p.default is p.empty and name not in options]
    if needed:
        raise InputError(f"{kind}: expected the option {needed[0]}, got none")
    return READERS[kind](root, **options)
