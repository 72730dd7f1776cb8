"""External methods: a Python function, or a folder of pictures made elsewhere."""

import hashlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from eval.methods.base import About, Pictured, Splatted, Task
from eval.protocols.framing import stored_image
from geometry.errors import InputError
from geometry.views import Cameras
from nvs.gaussians import Gaussians


class Function:
    """``package.module:function``, in one of two forms, distinguished by its number of arguments.

    - ``function(context: Views)`` returns `Gaussians` in the world of ``context.cameras``; or the pair
      `Gaussians`, `Cameras`, the context's cameras in the Gaussians' own world, which it must be where
      the context comes without cameras.
    - ``function(context: Views, targets: Cameras, size: (H, W))`` returns images [1, T, 3, H, W] in 0..1.

    The function's attributes ``weights``, ``licence`` and ``given_poses`` (``optional`` or ``needed``), where
    it has them, go to the table.
    """

    def __init__(self, path: str) -> None:
        self._function, self.about = imported_function(path)
        required = [
            p
            for p in inspect.signature(self._function).parameters.values()
            if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        if len(required) not in (1, 3):
            raise InputError(
                f"method {path}: expected a function of (context) or of (context, targets, size), got one of "
                f"{len(required)} arguments"
            )
        self._pictures = len(required) == 3
        # Images at target cameras are meaningless in a world that the benchmark does not know.
        default = "needed" if self._pictures else "optional"
        self.given_poses = getattr(self._function, "given_poses", default)
        if self.given_poses not in ("needed", "optional"):
            raise InputError(
                f"method {path}: expected given_poses needed or optional, got {self.given_poses!r}"
            )
        self._path = path

    def predict(self, task: Task) -> Splatted | Pictured:
        if self._pictures:
            images = self._function(task.context, task.targets, task.size)
            wanted = (1, task.targets.extrinsics.shape[1], 3, *task.size)
            if not isinstance(images, Tensor) or tuple(images.shape) != wanted:
                raise InputError(
                    f"method {self._path}: expected images {list(wanted)}, got "
                    f"{list(images.shape) if isinstance(images, Tensor) else type(images).__name__}"
                )
            return Pictured(render=lambda target: (images[0, target], None))
        answer = self._function(task.context)
        gaussians, cameras = answer if isinstance(answer, tuple) else (answer, None)
        if not isinstance(gaussians, Gaussians) or not (cameras is None or isinstance(cameras, Cameras)):
            raise InputError(
                f"method {self._path}: expected Gaussians, or Gaussians and Cameras, got "
                f"{type(answer).__name__}"
            )
        if cameras is None and task.context.cameras is None:
            raise InputError(
                f"method {self._path}: the context has no cameras, so expected (Gaussians, the context's "
                "cameras in their world), got Gaussians alone"
            )
        return Splatted(gaussians=gaussians.detach(), cameras=None if cameras is None else cameras.detach())


class Renders:
    """A folder of PNGs: ``<folder>/<scene>/<render>``, named as the split says, of the targets' size."""

    given_poses = "unused"  # whoever made the pictures chose the cameras

    def __init__(self, folder: str | Path | None, *, weights: str, licence: str) -> None:
        if folder is None or not Path(folder).expanduser().is_dir():
            raise InputError(f"method=renders: expected renders.folder=DIR with pictures, got {folder}")
        self._folder = Path(folder).expanduser()
        self.about = About(
            name=f"renders of {self._folder.resolve().name}",
            weights=weights,
            licence=licence,
            identity={"renders_sha256": folder_digest(self._folder, "png")},
        )

    def predict(self, task: Task) -> Pictured:
        folder = self._folder / task.scene
        missing = [name for name in task.renders if not (folder / name).is_file()]
        if missing:
            raise InputError(
                f"{folder}: expected {len(task.renders)} renderings named as the split says, "
                f"{len(missing)} are missing ({missing[0]}, ...)"
            )

        return Pictured(render=lambda target: (stored_image(folder / task.renders[target], task.size), None))


def imported_function(path: str) -> tuple[Callable, About]:
    """The function of ``package.module:function``, and what a table says of it."""
    function = _import(path)
    return function, About(
        name=path,
        weights=str(getattr(function, "weights", "not stated")),
        licence=str(getattr(function, "licence", "not stated")),
        identity={"function": path, "source_sha256": _module_digest(path)},
    )


def _import(path: str) -> Callable:
    module, _, name = path.partition(":")
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a console script has the current folder not on its path
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise InputError(f"method {path}: cannot import {module} ({error})") from error
    except AttributeError as error:
        raise InputError(f"method {path}: {module} has no {name}") from error


def _module_digest(path: str) -> str | None:
    """SHA-256 of the file that the function is imported from: an edited function is another method."""
    file = importlib.import_module(path.partition(":")[0]).__file__
    return None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()


def folder_digest(folder: Path, suffix: str) -> str:
    """SHA-256 over names and bytes of all such files, so that what was made anew is scored anew."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob(f"[!.]*.{suffix}")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
