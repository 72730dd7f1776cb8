"""The readers by name, and which of them a folder is for."""

import importlib
import inspect
from pathlib import Path
from typing import Any

from geometry.errors import InputError

# Sets with a layout of their own come before the general forms, which would take some of them too.
# As module:class, imported when one is used.
READERS = {
    "shards": "shards:Shards",
    "dl3dv": "dl3dv:DL3DV",
    "chunks": "chunks:Chunks",
    "megadepth": "megadepth:MegaDepthColmap",
    "megadepth_index": "megadepth:MegaDepthIndex",  # never recognised: its index files may lie anywhere
    "co3d": "co3d:CO3D",
    "scannetpp": "scannetpp:ScanNetPP",
    "blended_mvs": "blended_mvs:BlendedMVS",
    "hypersim": "hypersim:Hypersim",
    "tartanair": "tartanair:TartanAir",
    "vkitti2": "vkitti2:VirtualKitti2",
    "arkitscenes": "arkitscenes:ARKitScenes",
    "wildrgbd": "wildrgbd:WildRGBD",
    "tanks_and_temples": "tanks_and_temples:TanksAndTemples",
    "colmap": "colmap_folder:ColmapFolders",
    "transforms": "transforms_folder:TransformsFolders",
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
    for name in READERS:
        if _reader(name).recognises(root):
            return name
    raise InputError(
        f"{root}: expected a data set in a known layout ({', '.join(READERS)}), found none of them"
    )


def open_source(root: str | Path, kind: str | None = None, **options: object) -> Any:  # a SceneSource
    """A reader for the folder, recognised by its layout unless ``kind`` names one."""
    kind = recognise(root) if kind is None else kind
    if kind not in READERS:
        raise InputError(f"{root}: expected a kind among {', '.join(READERS)}, got {kind}")
    known = inspect.signature(_reader(kind)).parameters
    unknown = [name for name in options if name not in known or name == "root"]
    if unknown:
        raise InputError(f"{kind}: expected options among {', '.join(list(known)[1:])}, got {unknown[0]}")
    options = _NEEDED.get(kind, {}) | options
    needed = [name for name, p in list(known.items())[1:] if p.default is p.empty and name not in options]
    if needed:
        raise InputError(f"{kind}: expected the option {needed[0]}, got none")
    return _reader(kind)(root, **options)


def _reader(name: str) -> Any:
    module, _, reader = READERS[name].partition(":")
    return getattr(importlib.import_module(f"geometry.datasets.{module}"), reader)
