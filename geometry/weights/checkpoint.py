"""A checkpoint: weights under our names, and what they are; finding, reading, building, writing it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geometry.accelerate import accelerate
from geometry.console import some
from geometry.errors import InputError
from geometry.models.zoo import VARIANTS, build
from geometry.weights.files import fingerprint, load_strict, read_safetensors, write_safetensors
from geometry.weights.hub import APACHE, RELEASES, fetch_weights
from geometry.weights.released_names import convert, is_released, kind_of

FORMAT = "feedforward-nvs/1"
BUNDLED = Path(__file__).resolve().parent / "bundled"
_HEAD = "gaussian_head."  # in front of the Gaussian head's names


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
        """A short line for the log: what it is, and its licence."""
        return f"model: {self.variant} ({self.source}); licence: {self.licence}"


def find_checkpoint(model: str) -> Checkpoint:
    """The weights that ``--model`` names.

    Args:
        model: a size (``tiny`` is bundled, the others are the released weights from the hub, cached), a hub
            id (``owner/name``), a folder with model.safetensors, a .safetensors file, or ``untrained:SIZE``.

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
        return _fetched(RELEASES[model].repository)
    path = Path(model).expanduser()
    if path.is_dir():
        return read_checkpoint(path / "model.safetensors")
    if path.suffix == ".safetensors" or path.is_file():
        return read_checkpoint(path)
    if model.count("/") == 1 and not model.startswith((".", "/")):
        return _fetched(model)
    raise InputError(
        f"--model {model!r}: expected a size ({', '.join(VARIANTS)}), a hub id (owner/name), a folder or a "
        ".safetensors file"
    )


def _fetched(repository: str) -> Checkpoint:
    known: dict[str, dict[str, Any]]
    known = {r.repository.lower(): {"variant": v, "licence": r.licence} for v, r in RELEASES.items()}
    return read_checkpoint(fetch_weights(repository), **known.get(repository.lower(), {}))


def untrained(variant: str) -> Checkpoint:
    """Seeded random weights: everything runs, with meaningless results."""
    if variant not in VARIANTS:
        raise InputError(f"unknown size {variant!r}: choose one of {', '.join(VARIANTS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(variant)
    source = "UNTRAINED random weights"
    return Checkpoint(dict(network.state_dict()), {}, variant, False, APACHE, source, trained=False)


def read_checkpoint(
    path: Path, *, variant: str | None = None, licence: str | None = None, backbone: Checkpoint | None = None
) -> Checkpoint:
    """Read a released checkpoint or one of ours; names come out as ours.

    Args:
        variant: what it should hold, where the caller knows; otherwise the file or its config.json says.
        backbone: of a file that holds a Gaussian head alone; None finds the one that the file names.

    Raises:
        InputError: missing, half-written, or not such a checkpoint.
    """
    tensors, metadata = read_safetensors(path)
    if not tensors:
        raise InputError(f"{path}: holds no tensors; expected a checkpoint")
    if metadata.get("format") == FORMAT:
        return _ours(path, tensors, metadata, backbone)
    if not is_released(tensors):
        raise InputError(
            f"{path}: neither a released Depth Anything 3 checkpoint nor one of ours (first tensor: "
            f"{next(iter(tensors))!r})"
        )
    state, unknown = convert(tensors)
    if unknown:
        raise InputError(f"{path}: unexpected tensors: {some(unknown)}")
    found = _variant_of(path, tensors)
    if variant is not None and VARIANTS[variant] != VARIANTS[found]:
        raise InputError(f"{path}: expected weights of {variant!r}, the file holds {found!r}")
    return Checkpoint(
        **_parts(state),
        variant=variant or found,
        released=True,
        licence=licence or f"see the weights' source (released {found}: {RELEASES[found].licence})",
        source=str(path),
        metadata=metadata,
    )


def _parts(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The network's tensors, and the Gaussian head's without prefix (nested: after ``any_view.``)."""
    plain = {name: name.removeprefix("any_view.") for name in tensors}
    head = {n: p.removeprefix(_HEAD) for n, p in plain.items() if p.startswith(_HEAD)}
    return {
        "state": {name: tensor for name, tensor in tensors.items() if name not in head},
        "gaussian_head": {head[name]: tensor for name, tensor in tensors.items() if name in head},
    }


def _ours(
    path: Path, tensors: dict[str, Tensor], metadata: dict[str, str], backbone: Checkpoint | None
) -> Checkpoint:
    variant = metadata.get("variant", "")
    if variant not in VARIANTS:
        raise InputError(f"{path}: unknown variant {variant!r}; this version knows {', '.join(VARIANTS)}")
    checkpoint = Checkpoint(
        **_parts(tensors),
        variant=variant,
        released=metadata.get("released") == "true",
        licence=metadata.get("licence", "not stated"),
        source=str(path),
        metadata=metadata,
    )
    alone = not checkpoint.state and "backbone" in metadata
    return _with_backbone(checkpoint, backbone) if alone else checkpoint


def _with_backbone(head: Checkpoint, backbone: Checkpoint | None) -> Checkpoint:
    """A file that holds a Gaussian head alone, joined with the backbone it was trained on (None: found)."""
    name = head.metadata["backbone"]
    try:
        backbone = backbone or find_checkpoint(name)
    except InputError as error:
        raise InputError(f"{head.source}: a Gaussian head on the backbone {name!r}: {error}") from error
    if backbone.variant != head.variant or fingerprint(backbone.state) != head.metadata["backbone_sha256"]:
        raise InputError(
            f"{head.source}: a Gaussian head trained on the backbone {name!r} ({head.variant}), but "
            f"{backbone.source} holds other weights, to which the head does not belong"
        )
    return replace(head, state=backbone.state, released=backbone.released, trained=backbone.trained)


def _variant_of(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Variant of a released file, from its config.json if that is beside it, else from its shapes."""
    config = path.with_name("config.json")
    if config.is_file():
        try:
            name = json.loads(config.read_text())["model_name"]
        except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise InputError(f"{config}: expected JSON with 'model_name' ({type(error).__name__})") from error
        for variant, release in RELEASES.items():
            if release.config_name == name:
                return variant
    kind = kind_of(tensors)
    width = next((v.shape[-1] for k, v in tensors.items() if k.endswith("cls_token")), None)
    for name, variant in VARIANTS.items():
        if name in RELEASES and variant.kind == kind and variant.width in (width, 0):
            return name
    raise InputError(f"{path}: a {kind} network of width {width} is none of {', '.join(RELEASES)}")


def load_network(checkpoint: Checkpoint) -> nn.Module:
    """The geometry network of a checkpoint, in evaluation mode and in its fast form; strict.

    Raises:
        InputError: names what is missing, unexpected or of another shape.
    """
    with torch.device("meta"):
        network = build(checkpoint.variant, released=checkpoint.released)
    load_strict(network, checkpoint.state, checkpoint.source, what=f"the {checkpoint.variant!r} network")
    return accelerate(network.eval())


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
        tensors |= {f"{_HEAD}{k}": v for k, v in gaussian_head.state_dict().items()}
    about = {"format": FORMAT, "variant": variant, "released": str(released).lower(), "licence": licence}
    write_safetensors(path, tensors, about | metadata, dtype=dtype)
