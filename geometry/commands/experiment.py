"""What `geometry train` does: experiments, from their YAML to trained networks."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from geometry.commands.comparison import comparison_table, split_sweep
from geometry.commands.configuration import compose, instantiate
from geometry.console import say
from geometry.engine import INTERRUPTED, FitResult, fit, is_first_process, load_weights
from geometry.engine.log import validations
from geometry.errors import InputError
from geometry.layers.lora import add_lora, merged_lora
from geometry.models.zoo import build
from geometry.results import require_run
from geometry.training.baselines import chance_scores
from geometry.training.initialise import initialise
from geometry.weights.checkpoint import save_checkpoint
from geometry.weights.files import load_strict

EXPORT = "model.safetensors"


def run(args: argparse.Namespace) -> int:
    runs = split_sweep(args.overrides)
    # All before the first trains: a misspelt key must not be found hours later.
    configs = {name: load_config(overrides) for name, overrides in runs.items()}
    results: dict[str, FitResult] = {}
    guessed: dict[str, float] = {}
    for name, cfg in configs.items():
        if len(runs) > 1:
            cfg.out = f"{cfg.out}/{name}"
        if args.show:
            print(OmegaConf.to_yaml(cfg, resolve=True))
            continue
        if len(runs) > 1 and is_first_process():
            say(f"--- {name}")
        results[name], guessed = train(cfg)
        if not results[name].finished:  # stopped by a signal: not the time for the next one
            break
    rows = {name: result.metrics for name, result in results.items()}
    if guessed:
        rows["guessing"] = guessed
    if len(rows) > 1 and is_first_process():
        print(comparison_table(rows))
    if len(results) == 1 and is_first_process():
        cfg, result = next(iter(configs.values())), next(iter(results.values()))
        print("\n".join([*progress(cfg), final_line(result)]))
    return 0 if all(result.finished for result in results.values()) else INTERRUPTED


def load_config(overrides: Sequence[str]) -> DictConfig:
    """The resolved configuration of `configs/train_geometry.yaml` under overrides.

    Raises:
        InputError: an override names nothing that exists, or a value is missing.
    """
    cfg = compose("train_geometry", overrides)
    dataset = OmegaConf.select(cfg, "data.dataset") or {}
    if "relabel" in dataset and "mixture" not in dataset:
        raise InputError(
            "data.dataset.relabel: this experiment has no scenes with labels to change. ablation=no_teacher "
            "is for experiments that train on teacher labels"
        )
    return cfg


def train(cfg: DictConfig) -> tuple[FitResult, dict[str, float]]:
    """Build the network, step and data of a resolved configuration, train, and export the weights.

    Returns:
        How the run ended, and what guessing scores where the configuration asks for it (``guess``).
    """
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    require_run(cfg.out, [EXPORT])
    data = instantiate(cfg.data)  # first: a missing folder is reported at once
    torch.manual_seed(cfg.loop.seed)
    step = instantiate(cfg.step)
    loaded = initialise(step.model, cfg.init)
    if cfg.lora is not None:
        adapted = add_lora(step.model.backbone.blocks, **cfg.lora)
        loaded = f"{loaded}\n{adapted} layers of the backbone with low-rank parts, the rest of it frozen"
    parameters = sum(p.numel() for p in step.model.parameters())
    if is_first_process():
        say(f"{loaded}\nnetwork: {parameters / 1e6:.1f} M parameters")
    optimizer = instantiate(cfg.optimizer)
    loop = instantiate(cfg.loop)
    result = fit(step, data, optimizer, **loop, out=cfg.out, config=OmegaConf.to_container(cfg, resolve=True))  # type: ignore[arg-type]
    if result.finished and result.checkpoint is not None:
        export(cfg, step.model, result)
    return result, chance_scores(step.validation) if cfg.guess and is_first_process() else {}


def export(cfg: DictConfig, network: nn.Module, result: FitResult) -> None:
    """Write ``model.safetensors``, which ``--model`` of all commands reads; not for networks of an ablation.

    What only training needs (the teacher's object mask, low-rank parts) is left out or merged.
    """
    variant = OmegaConf.select(cfg, "export.variant")
    if variant is None or not is_first_process():
        return
    checkpoint = result.best if cfg.export.best and result.best else result.checkpoint
    # The checkpoint lacks what was frozen; the network in memory has the last weights, not their average.
    weights = merged_lora(network, network.state_dict() | load_weights(checkpoint))
    released = bool(network.backbone.released)  # type: ignore[union-attr]
    plain = build(variant, released=released)
    unused = {name: tensor for name, tensor in plain.state_dict().items() if ".spares." in name}
    load_strict(
        plain,
        unused | {name: weights[name] for name in plain.state_dict() if name in weights},
        str(checkpoint),
        what=f"the {variant!r} network",
    )
    path = Path(cfg.out) / EXPORT
    save_checkpoint(
        path,
        plain,
        variant=variant,
        released=released,
        licence=cfg.export.licence,
        description=cfg.export.description,
        checkpoint=checkpoint.name,
    )
    say(f"exported {path}, the weights of {checkpoint.name}")


def progress(cfg: DictConfig) -> list[str]:
    """A line that compares the validation before the first step with the best one, where there are both."""
    metric, found = cfg.loop.saving.best_metric, validations(Path(cfg.out))
    if metric is None or not found.get(0):
        return []
    best = (max if cfg.loop.saving.best_is == "max" else min)(found, key=lambda step: found[step][metric])
    return [f"{metric} {found[0][metric]:.4g} at the start, {found[best][metric]:.4g} best (step {best})"]


def final_line(result: FitResult) -> str:
    """``final absrel=0.123 auc30=0.567``: the run's two main metrics, where it has them."""
    known = [f"{key}={result.metrics[key]:.3f}" for key in ("absrel", "auc30") if key in result.metrics]
    return " ".join(["final" if result.finished else "stopped", *known])
