"""`nvs train`: one experiment, from its YAML to a trained Gaussian head."""

import argparse
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_module
from hydra import utils as hydra_utils
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from geometry.engine import FitResult, fit
from geometry.errors import InputError, run_command
from nvs.training.model import is_first_process, write_models


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="nvs train",
        description="Train a Gaussian head: nvs train experiment=nvs/smoke. Every value of the configuration "
        "can be overridden as group=choice or path.to.value=new. The same command with the same out goes on "
        "from its newest checkpoint.",
        epilog=f"experiments: {', '.join(experiments())}. Several processes: torchrun --standalone "
        "--nproc-per-node N -m nvs train experiment=...",
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
    return 0


def train(config: DictConfig) -> FitResult:
    """Build step and data of a configuration, train, and write the heads (`write_models`)."""
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
        config=OmegaConf.to_container(config, resolve=True),
    )
    if result.finished and is_first_process():
        write_models(step.model, result, Path(config.out))
    return result


def load_config(overrides: Sequence[str]) -> DictConfig:
    """The resolved configuration of `configs/train_nvs.yaml` under overrides.

    Raises:
        InputError: an override names nothing that exists, or a value is missing.
    """
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module(version_base="1.3", config_module="configs"):
            config = compose("train_nvs", overrides=list(overrides))
        OmegaConf.resolve(config)
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(f"configuration: {' '.join(str(error).split())}") from error
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise InputError(f"configuration: wanted a value for {', '.join(missing)}")
    return config


def instantiate(part: DictConfig) -> Any:
    """The objects that a part of the configuration describes.

    Raises:
        InputError: as the object itself put it, where it refused its arguments.
    """
    try:
        return hydra_utils.instantiate(part, _convert_="all")
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__cause__
        raise cause or InputError(f"configuration: {' '.join(str(error).split())}") from error


def experiments() -> list[str]:
    """Names for ``experiment=``."""
    folder = files("configs") / "experiment" / "nvs"
    return sorted(f"nvs/{f.name.removesuffix('.yaml')}" for f in folder.iterdir() if f.name.endswith(".yaml"))
