"""The splatter as a thing to train: what is frozen, where it starts from, and how it is written."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from geometry.console import announce, say
from geometry.engine import FitResult, ParameterGroup, load_weights, parameter_groups
from geometry.errors import InputError
from geometry.weights.checkpoint import Checkpoint, find_checkpoint
from geometry.weights.files import fingerprint, require_fit
from nvs.model.backbone import Backbone
from nvs.model.gs_dpt import GaussianDpt
from nvs.model.parametrisation import GaussianAdapter, ReleasedAdapter
from nvs.model.splatter import Splatter, load_splatter, new_gaussian_head, save_splatter

EXPORTS = ("last.safetensors", "best.safetensors")
FROZEN_BACKBONE = {"head": 1.0, "network": 0.0}


class TrainableSplatter(Splatter):
    """A splatter of which some parts are trained, by default the head alone.

    Parts without a trained parameter have no gradient and stay in evaluation mode.

    Args:
        lr_factors: name prefix -> factor on the learning rate; 0, or a prefix that is left out, freezes.
            ``{"head": 1.0, "network": 0.1}`` also trains the backbone, ten times slower.
        origin: what the weights were read from, without the tensors; None where there is no such file (a
            plain DINOv2), and then the result lives in the run's checkpoints only.
        backbone_name: what ``--model`` finds the backbone by.
        warm: the head was trained before.
    """

    def __init__(
        self,
        network: nn.Module | Backbone,
        head: GaussianDpt,
        adapter: GaussianAdapter | ReleasedAdapter,
        *,
        knows_depth: bool = True,
        lr_factors: Mapping[str, float] = FROZEN_BACKBONE,
        origin: Checkpoint | None = None,
        backbone_name: str | None = None,
        warm: bool = False,
    ) -> None:
        super().__init__(network, head, adapter, knows_depth=knows_depth)  # type: ignore[arg-type]
        self.lr_factors = dict(lr_factors)
        self.origin, self.backbone_name, self.warm = origin, backbone_name, warm
        self.requires_grad_(False)
        for group in self.trainable_parameters():
            for parameter in group.parameters.values():
                parameter.requires_grad_(True)

    def trainable_parameters(self) -> list[ParameterGroup]:
        return parameter_groups(self, self.lr_factors)

    @property
    def backbone_frozen(self) -> bool:
        return not any(p.requires_grad for p in self.network.parameters())  # type: ignore[union-attr]

    def train(self, mode: bool = True) -> "TrainableSplatter":
        super().train(mode)
        for module in self.modules():
            parameters = list(module.parameters())
            if parameters and not any(p.requires_grad for p in parameters):
                module.eval()
        return self


def build_model(
    weights: str,
    *,
    flavour: str | None = None,
    sh_degree: int = 2,
    new_head: bool = False,
    lr_factors: Mapping[str, float] = FROZEN_BACKBONE,
) -> TrainableSplatter:
    """A Depth Anything 3 network with a Gaussian head: the file's own, or a new one.

    Args:
        weights: as ``--model``: a size, a hub id, a folder, a file, or ``untrained:SIZE``.
        flavour: ``rgb`` or ``sh``; None takes the kind of head that the file holds, or ``sh`` for a new one.
        sh_degree: of a new ``sh`` head.
        new_head: start a new head even if the file holds one.

    Raises:
        InputError: the file's head is of another flavour than wanted.
    """
    checkpoint = find_checkpoint(weights)
    announce(checkpoint)
    splatter = load_splatter(checkpoint)
    head, adapter = splatter.head, splatter.adapter
    warm = splatter.head is not None and not new_head
    if warm:
        if flavour is not None and flavour != adapter.flavour:
            raise InputError(
                f"{checkpoint.source}: holds a Gaussian head of flavour {adapter.flavour!r}, expected "
                f"{flavour!r}; leave the flavour out, or ask for a new head"
            )
    else:
        adapter = GaussianAdapter(flavour or "sh", sh_degree=sh_degree)  # type: ignore[arg-type]
        head = new_gaussian_head(checkpoint.variant, adapter)
    return TrainableSplatter(
        splatter.network,
        head,
        adapter,
        knows_depth=splatter.knows_depth,
        lr_factors=lr_factors,
        origin=replace(checkpoint, state={}, gaussian_head={}),
        backbone_name=checkpoint.metadata.get("backbone") or _lasting_name(weights),
        warm=warm,
    )


def _lasting_name(weights: str) -> str:
    """A size or hub id as it is; a path made absolute, so that it is found from any folder."""
    path = Path(weights).expanduser()
    return str(path.resolve()) if path.exists() else weights


def export(model: TrainableSplatter, checkpoint: Path, path: Path, *, description: str) -> None:
    """Write the weights of an engine checkpoint as one file that ``nvs render --model`` takes.

    With a frozen backbone that is the head alone, and the backbone's name and hash; otherwise everything.
    """
    load_trained(model, load_weights(checkpoint))
    frozen, origin = model.backbone_frozen, model.origin
    backbone = {"backbone": model.backbone_name, "backbone_sha256": fingerprint(model.network.state_dict())}  # type: ignore[union-attr]
    save_splatter(
        path,
        model,
        variant=origin.variant,
        released=origin.released,
        licence=origin.licence,
        with_network=not frozen,
        description=description,
        checkpoint=checkpoint.name,
        **(backbone if frozen else {}),  # type: ignore[arg-type]
    )


def write_models(model: TrainableSplatter, result: FitResult, out: Path) -> None:
    """``last.safetensors``, and ``best.safetensors`` where a validation metric says which that is."""
    if model.origin is None:
        say(f"this backbone is no Depth Anything 3: its head stays in {result.checkpoint}")
        return
    for name, checkpoint in zip(EXPORTS, (result.checkpoint, result.best)):
        if checkpoint is not None:
            path = out / name
            export(
                model,
                checkpoint,
                path,
                description=f"Gaussian head, {path.stem} of its run ({checkpoint.name})",
            )
            say(f"wrote {path}")


def load_trained(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put an engine checkpoint's weights back: every trained parameter, and nothing that is not the model's.

    Raises:
        InputError: names of either kind, or another shape.
    """
    own = model.state_dict()  # the model's memory; load_state_dict needs shards of what FSDP has trained
    wanted = {n for n, p in model.named_parameters() if p.requires_grad} | (own.keys() & weights.keys())
    require_fit(weights, {name: own[name] for name in wanted}, "the checkpoint", what="this model")
    for name, tensor in weights.items():
        own[name].copy_(tensor)
