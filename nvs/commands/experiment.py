"""What `nvs train` does: one experiment, from its YAML to a trained Gaussian head."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from geometry.commands.configuration import compose, instantiate
from geometry.engine import INTERRUPTED, FitResult, fit, is_first_process
from geometry.results import require_run
from nvs.training.model import EXPORTS, write_models


def run(args: argparse.Namespace) -> int:
    config = load_config(args.overrides)
    if args.show:
        print(OmegaConf.to_yaml(config, resolve=True))
        return 0
    result = train(config)
    if is_first_process() and "psnr" in result.metrics:
        print(f"final psnr={result.metrics['psnr']:.2f}", flush=True)
    return 0 if result.finished else INTERRUPTED


def train(config: DictConfig) -> FitResult:
    """Build step and data of a configuration, train, and write the heads (`write_models`)."""
    require_run(config.out, EXPORTS)
    torch.manual_seed(config.loop.seed)  # of a new head's weights; everything after is seeded by the engine
    if config.threads:
        torch.set_num_threads(config.threads)
    step = instantiate(config.step)
    result = fit(
        step,
        instantiate(config.data),
        instantiate(config.optimizer),
        **instantiate(config.loop),
        out=config.out,
        config=OmegaConf.to_container(config, resolve=True),  # type: ignore[arg-type]
    )
    if result.finished and is_first_process():
        write_models(step.model, result, Path(config.out))
    return result


def load_config(overrides: Sequence[str]) -> DictConfig:
    """The resolved configuration of `configs/train_nvs.yaml` under overrides.

    Raises:
        InputError: an override names nothing that exists, or a value is missing.
    """
    return compose("train_nvs", overrides)
