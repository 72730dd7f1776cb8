"""Weights on disk and on the hub: finding, reading, strict loading, saving."""

import hashlib
import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor, nn

from geometry.atomic import atomic_file
from geometry.errors import InputError
from geometry.models.zoo import VARIANTS, build
from geometry.weights.released_names import convert, is_released, kind_of

FORMAT = "feedforward-nvs/1"
APACHE = "Apache-2.0"
NON_COMMERCIAL = "CC BY-NC 4.0 (non-commercial use only)"
BUNDLED = Path(__file__).resolve().parent / "bundled"


@dataclass(frozen=True)
class Release:
    """Where one size's released weights are, and under which licence."""

    repository: str
    licence: str


RELEASES = {
    "small": Release("depth-anything/DA3-SMALL", APACHE),
    "base": Release("depth-anything/DA3-BASE", APACHE),
    "large": Release("depth-anything/DA3-LARGE-1.1", NON_COMMERCIAL),
    "giant": Release("depth-anything/DA3-GIANT-1.1", NON_COMMERCIAL),
    "mono-large": Release("depth-anything/DA3MONO-LARGE", APACHE),
    "metric-large": Release("depth-anything/DA3METRIC-LARGE", APACHE),
    "nested-giant-large": Release("depth-anything/DA3NESTED-GIANT-LARGE-1.1", NON_COMMERCIAL),
}

# ``model_name`` in the released config.json -> variant.
_CONFIG_NAMES = {
    "da3-small": "small",
    "da3-base": "base",
    "da3-large": "large",
    "da3-giant": "giant",
    "da3mono-large": "mono-large",
    "da3metric-large": "metric-large",
    "da3nested-giant-large": "nested-giant-large",
}


@dataclass(frozen=True)
class Checkpoint:
    """Weights under our names, and what they are."""

    state: dict[str, Tensor]  # the geometry network
    gaussian_head: dict[str, Tensor]  # empty where the file has none
    variant: str
    released: bool  # the released network, quirks included
    licence: str
    source: str  # file or description, for messages
    trained: bool = True
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """One line for the person who loads it: what it is, and its licence."""
        description = self.metadata.get("description")
        return f"model: {self.variant}, {self.source}; licence: {self.licence}" + (
            f"; {description}" if description else ""
        )


def find_checkpoint(model: str) -> Checkpoint:
    """The weights that ``--model`` names.

    Args:
        model: a size (``tiny`` is bundled, the others are the released weights from the hub, cached), a
            hub id (``owner/name``), a folder with model.safetensors, a .safetensors file, or
            ``untrained:SIZE``.

    Raises:
        InputError: not found, not reachable, or unreadable; says which file to put where.
    """
    if model.startswith("untrained:"):
        return untrained(model.removeprefix("untrained:"))
    if model == "tiny":
        file = BUNDLED / "tiny.safetensors"
        if not file.is_file():
            raise InputError(
                f"{file}: expected the bundled weights of tiny, found no such file; install the package "
                "again (random weights are --model untrained:tiny)"
            )
        return replace(read_checkpoint(file), source="bundled")
    if model in RELEASES:  # a folder of that name is ./small
        release = RELEASES[model]
        return read_checkpoint(_fetch(release.repository), variant=model, licence=release.licence)
    path = Path(model).expanduser()
    if path.is_dir():
        return read_checkpoint(path / "model.safetensors")
    if path.suffix == ".safetensors" or path.is_file():
        return read_checkpoint(path)
    if model.count("/") == 1 and not model.startswith((".", "/")):
        known = {r.repository.lower(): (v, r.licence) for v, r in RELEASES.items()}
        variant, licence = known.get(model.lower(), (None, None))
        return read_checkpoint(_fetch(model), variant=variant, licence=licence)
    sizes = ", ".join(VARIANTS)
    raise InputError(
        f"--model {model!r}: expected a size ({sizes}), a hub id (owner/name), a folder or a .safetensors "
        "file"
    )


def local_cache() -> Path:
    """Folder looked into before the hub: put fetched weights here by hand on a machine without network."""
    default = Path.home() / ".cache" / "feedforward-nvs"
    return Path(os.environ.get("FEEDFORWARD_NVS_CACHE", default)).expanduser()


def _fetch(repository: str) -> Path:
    """Path of a hub repository's model.safetensors, from the caches or the network."""
    by_hand = local_cache() / repository.split("/")[-1] / "model.safetensors"
    if by_hand.is_file():
        return by_hand
    # Imported here: it costs half a second that local files need not pay.
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    cached = try_to_load_from_cache(repository, "model.safetensors")
    if isinstance(cached, str):
        return Path(cached)
    try:
        _require_network()
        # The configuration is small and tells the variant; older repositories may lack it.
        with suppress(EntryNotFoundError):
            hf_hub_download(repository, "config.json")
        return Path(hf_hub_download(repository, "model.safetensors"))
    except (OSError, HfHubHTTPError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"weights of {repository} are not on this machine and could not be fetched ({reason}). "
            f"Fetch https://huggingface.co/{repository}/resolve/main/model.safetensors (and config.json) "
            f"and put both into {by_hand.parent}, or pass their folder as --model"
        ) from error


def _require_network() -> None:
    """Fail at once where the hub cannot be reached: its own client retries for half a minute first."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise OSError("HF_HUB_OFFLINE is set")
    if getproxies():
        return  # the proxy resolves names; only a real request can tell
    url = urlsplit(constants.ENDPOINT)
    try:
        socket.create_connection((url.hostname, url.port or 443), timeout=10).close()
    except OSError as error:
        raise OSError(f"no connection to {url.hostname}") from error


def untrained(variant: str) -> Checkpoint:
    """Seeded random weights: they run everything, and their pictures mean nothing."""
    if variant not in VARIANTS:
        raise InputError(f"unknown size {variant!r}: choose one of {', '.join(VARIANTS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(variant)
    return Checkpoint(
        state=dict(network.state_dict()),
        gaussian_head={},
        variant=variant,
        released=False,
        licence=APACHE,
        source="UNTRAINED random weights",
        trained=False,
    )


def read_checkpoint(
    path: Path,
    *,
    variant: str | None = None,
    licence: str | None = None,
    backbone: Checkpoint | None = None,
) -> Checkpoint:
    """Read a released checkpoint or one of ours; names come out as ours.

    Args:
        variant: what it should hold, where the caller knows; otherwise the file or its config.json says.
        backbone: of a file that holds a Gaussian head alone; None finds the one that the file names.

    Raises:
        InputError: missing, half-written, or not such a checkpoint.
    """
    tensors, metadata = _read_safetensors(path)
    if not tensors:
        raise InputError(f"{path}: holds no tensors; expected a checkpoint")
    if metadata.get("format") == FORMAT:
        return _ours(path, tensors, metadata, backbone)
    if not is_released(tensors):
        example = next(iter(tensors))
        raise InputError(
            f"{path}: neither a released Depth Anything 3 checkpoint nor one of ours (first tensor: "
            f"{example!r})"
        )
    state, unknown = convert(tensors)
    if unknown:
        raise InputError(f"{path}: unexpected tensors: {_some(unknown)}")
    found = _variant_of(path, tensors)
    if variant is not None and VARIANTS[variant] != VARIANTS[found]:
        raise InputError(f"{path}: expected weights of {variant!r}, the file holds {found!r}")
    heads = {k: v for k, v in state.items() if _is_gaussian(k)}
    return Checkpoint(
        state={k: v for k, v in state.items() if k not in heads},
        gaussian_head={k.split("gaussian_head.", 1)[1]: v for k, v in heads.items()},
        variant=variant or found,
        released=True,
        licence=licence or f"see the weights' source (released {found}: {RELEASES[found].licence})",
        source=str(path),
        metadata=metadata,
    )


def _is_gaussian(name: str) -> bool:
    return name.removeprefix("any_view.").startswith("gaussian_head.")


def _ours(
    path: Path, tensors: dict[str, Tensor], metadata: dict[str, str], backbone: Checkpoint | None
) -> Checkpoint:
    variant = metadata.get("variant", "")
    if variant not in VARIANTS:
        raise InputError(f"{path}: unknown variant {variant!r}; this version knows {', '.join(VARIANTS)}")
    prefix = "gaussian_head."
    checkpoint = Checkpoint(
        state={k: v for k, v in tensors.items() if not k.startswith(prefix)},
        gaussian_head={k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)},
        variant=variant,
        released=metadata.get("released") == "true",
        licence=metadata.get("licence", "not stated"),
        source=str(path),
        metadata=metadata,
    )
    return (
        checkpoint if checkpoint.state or "backbone" not in metadata else _with_backbone(checkpoint, backbone)
    )


def _with_backbone(head: Checkpoint, backbone: Checkpoint | None) -> Checkpoint:
    """A file that holds a Gaussian head alone, joined with the backbone it was trained on.

    Args:
        backbone: to be taken; None finds the one that the file names.

    Raises:
        InputError: that backbone is not here, or is not the one of then.
    """
    name = head.metadata["backbone"]
    try:
        backbone = backbone or find_checkpoint(name)
    except InputError as error:
        raise InputError(f"{head.source}: a Gaussian head on the backbone {name!r}: {error}") from error
    if backbone.variant != head.variant or fingerprint(backbone.state) != head.metadata["backbone_sha256"]:
        raise InputError(
            f"{head.source}: a Gaussian head trained on the backbone {name!r} ({head.variant}), but "
            f"{backbone.source} holds other weights: on those the head means nothing"
        )
    return replace(head, state=backbone.state, released=backbone.released, trained=backbone.trained)


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and float32 bits of weights, in the order of the names."""
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach()
        tensor = tensor.float() if tensor.is_floating_point() else tensor
        total.update(f"{name} {list(tensor.shape)}\n".encode())
        total.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {}
            for name in file.keys():  # noqa: SIM118 - safe_open is no mapping
                tensor = file.get_tensor(name)
                tensors[name] = tensor.float() if tensor.is_floating_point() else tensor
    except SafetensorError as error:
        raise InputError(f"{path}: not a whole safetensors file ({error}); fetch it again") from error
    return tensors, metadata


def _variant_of(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Variant of a released file, from its config.json if that is beside it, else from its shapes."""
    config = path.with_name("config.json")
    if config.is_file():
        try:
            name = json.loads(config.read_text())["model_name"]
        except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise InputError(f"{config}: expected JSON with 'model_name' ({type(error).__name__})") from error
        if name in _CONFIG_NAMES:
            return _CONFIG_NAMES[name]
    kind = kind_of(tensors)
    if kind == "nested":
        return "nested-giant-large"
    width = next((v.shape[-1] for k, v in tensors.items() if k.endswith("cls_token")), None)
    for name, variant in VARIANTS.items():
        if name in RELEASES and variant.kind == kind and variant.width == width:
            return name
    raise InputError(f"{path}: a {kind} network of width {width} is none of {', '.join(RELEASES)}")


def load_network(checkpoint: Checkpoint) -> nn.Module:
    """The geometry network of a checkpoint, in evaluation mode; strict.

    Raises:
        InputError: names what is missing, unexpected or of another shape.
    """
    with torch.device("meta"):
        network = build(checkpoint.variant, released=checkpoint.released)
    load_strict(network, checkpoint.state, checkpoint.source, what=f"the {checkpoint.variant!r} network")
    return network.eval()


def load_strict(module: nn.Module, state: Mapping[str, Tensor], source: str, *, what: str) -> None:
    """Assign a state dict to a module, or say everything that does not fit.

    Raises:
        InputError: names what is missing, unexpected or of another shape.
    """
    wanted = module.state_dict()
    missing = sorted(set(wanted) - set(state))
    unexpected = sorted(set(state) - set(wanted))
    shapes = [
        f"{k} {list(state[k].shape)} instead of {list(wanted[k].shape)}"
        for k in sorted(set(wanted) & set(state))
        if state[k].shape != wanted[k].shape
    ]
    if missing or unexpected or shapes:
        parts = [
            f"missing: {_some(missing)}" if missing else "",
            f"unexpected: {_some(unexpected)}" if unexpected else "",
            f"other shapes: {_some(shapes)}" if shapes else "",
        ]
        raise InputError(f"{source}: does not fit {what}; " + "; ".join(p for p in parts if p))
    module.load_state_dict(dict(state), strict=True, assign=True)


def _some(names: list[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def save_checkpoint(
    path: Path,
    network: nn.Module | None,
    *,
    variant: str,
    released: bool,
    licence: str,
    gaussian_head: nn.Module | None = None,
    dtype: torch.dtype = torch.float32,
    **metadata: str,
) -> None:
    """Write our format: one .safetensors, atomically. ``network=None`` writes the head alone.

    Args:
        metadata: further entries, e.g. ``description`` (shown when it is loaded).
    """
    tensors = dict(network.state_dict()) if network is not None else {}
    if gaussian_head is not None:
        tensors |= {f"gaussian_head.{k}": v for k, v in gaussian_head.state_dict().items()}
    tensors = {
        k: (v.to(dtype) if v.is_floating_point() else v).detach().cpu().contiguous().clone()
        for k, v in tensors.items()
    }
    entries = {
        "format": FORMAT,
        "variant": variant,
        "released": "true" if released else "false",
        "licence": licence,
        **metadata,
    }
    with atomic_file(path) as temporary:
        Path(temporary).write_bytes(serialise(tensors, entries))
