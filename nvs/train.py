"""`nvs train`: train Gaussian heads by a config."""

import os
import sys
from pathlib import Path
from typing import Any

import torch

from geometry.cli import say
from geometry.engine import FitResult, fit
from geometry.errors import InputError, run_command
from nvs.training.model import TrainableSplatter, export

USAGE = """usage: nvs train experiment=NAME [key=value ...]

Trains a Gaussian head. Experiments: {experiments}.
  key=value       any entry of the config, for example loop.steps=1000 optimizer.lr=1e-4 out=runs/a
  --cfg           print the whole config and stop
Several processes: torchrun --standalone --nproc-per-node N -m nvs train experiment=...
The same command with the same out goes on from the newest checkpoint there."""


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    return run_command(lambda: run(argv))


def run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE.format(experiments=", ".join(experiments())))
        return 0 if argv else 2
    config = compose([a for a in argv if a != "--cfg"])
    if "--cfg" in argv:
        from omegaconf import OmegaConf

        print(OmegaConf.to_yaml(config, resolve=True))
        return 0
    train(config)
    return 0


def train(config: Any) -> FitResult:
    """Train as a composed config says; write the best and the last model; the last line is the result."""
    from omegaconf import OmegaConf

    out = Path(config.out)
    torch.manual_seed(config.loop.seed)  # of new heads; everything after is seeded by the engine
    step = instantiate(config.step)
    data = instantiate(config.data)
    loop = instantiate(config.loop)
    result = fit(
        step,
        data,
        instantiate(config.optimizer),
        out=out,
        config=OmegaConf.to_container(config, resolve=True),
        **loop,
    )
    if is_first_process():
        if result.finished:
            write_models(step.model, result, out)
        if "psnr" in result.metrics:
            print(f"final psnr={result.metrics['psnr']:.2f}", flush=True)
    return result


def is_first_process() -> bool:
    """Whether this process writes results; torchrun numbers the processes."""
    return os.environ.get("RANK", "0") == "0"


def write_models(model: TrainableSplatter, result: FitResult, out: Path) -> None:
    """``last.safetensors``, and ``best.safetensors`` where a validation metric says which that is."""
    if model.origin is None:
        say(f"the backbone is not one of ours: the head stays in {result.checkpoint}")
        return
    for name, checkpoint in (("last", result.checkpoint), ("best", result.best)):
        if checkpoint is not None:
            description = f"Gaussian head trained here, {name} of its run ({checkpoint.name})"
            export(model, checkpoint, out / f"{name}.safetensors", description=description)
            say(f"wrote {out / name}.safetensors")


def compose(overrides: list[str]) -> Any:
    """The config of these overrides.

    Raises:
        InputError: no such entry or experiment; the message is Hydra's, which names it.
    """
    # Imported here: other commands need no Hydra.
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        with hydra.initialize_config_module("configs", version_base="1.3"):
            config = hydra.compose("train_nvs", overrides)
            _ = config.out
            return config
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(" ".join(str(error).split())) from error


def instantiate(part: Any) -> Any:
    """The objects that a part of the config describes.

    Raises:
        InputError: as the object itself said it.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate as build

    try:
        return build(part, _convert_="all")
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__cause__
        if cause is not None:
            raise cause from error
        raise InputError(f"config: {' '.join(str(error).split())}") from error


def experiments() -> list[str]:
    """Names for ``experiment=``."""
    from importlib.resources import files

    folder = files("configs") / "experiment" / "nvs"
    return sorted(f"nvs/{f.name.removesuffix('.yaml')}" for f in folder.iterdir() if f.name.endswith(".yaml"))
