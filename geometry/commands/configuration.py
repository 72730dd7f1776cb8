"""Commands of experiments take ``key=value``: one YAML tree, composed by Hydra from `configs/`."""

from collections.abc import Callable, Sequence
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from geometry.errors import InputError


def compose(
    name: str, overrides: Sequence[str], *, amend: Callable[[DictConfig], None] | None = None
) -> DictConfig:
    """`configs/<name>.yaml` under these overrides, every value resolved.

    Args:
        overrides: as typed, in Hydra's grammar.
        amend: changes the composed tree before its interpolations are resolved.

    Raises:
        InputError: no such entry, or a value that must be given is missing; the message names it.
    """
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_module("configs", version_base="1.3"):
            config = hydra.compose(name, list(overrides))
        if amend is not None:
            amend(config)
        OmegaConf.resolve(config)
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(f"configuration: {' '.join(str(error).split())}") from error
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise InputError(
            f"configuration: expected a value for {', '.join(missing)}, for example {missing[0]}=..."
        )
    return config


def instantiate(part: Any) -> Any:
    """The objects that a part of the configuration describes.

    Raises:
        InputError: as the object itself put it, where it refused its arguments.
    """
    try:
        return hydra.utils.instantiate(part, _convert_="all")
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__cause__
        raise cause or InputError(f"configuration: {' '.join(str(error).split())}") from error
