"""`nvs train`: one experiment, from its YAML to a trained Gaussian head."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from geometry.commands.configuration import compose, experiments, instantiate
from geometry.engine import INTERRUPTED, FitResult, fit, is_first_process
from geometry.errors import run_command
from geometry.results import require_run
from nvs.training.model import EXPORTS, write_models


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="nvs train",
        description="Train a Gaussian head: nvs train experiment=nvs/smoke. Every value of the configuration "
        "can be overridden as group=choice or path.to.value=new. The same command with the same out resumes "
        "from its newest checkpoint.",
        epilog=f"experiments: {', '.join(experiments('nvs'))}. Several processes: torchrun --standalone "
        "--nproc-per-node N -m nvs train experiment=... Exit status 75: stopped by a signal, saved, to be "
        "started again.",
    )
    p.add_argument("--show", action="store_true", help="print the whole configuration and stop")
    p.add_argument("overrides", nargs="+", help="Hydra overrides, such as experiment=nvs/smoke")
    return p


def main(argv: list[str] | None = None) -> int:
    return run_command(lambda: run(parser().parse_args(argv)))


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
