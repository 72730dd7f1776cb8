"""Commands of experiments take ``key=value``: one YAML tree, composed by Hydra."""

from collections.abc import Mapping
from typing import Any

from geometry.errors import InputError


def compose(overrides: list[str], values: Mapping[str, object] | None = None) -> Any:
    """`configs/eval.yaml` under these overrides, as a dictionary-like config with every value resolved.

    Args:
        overrides: as typed, in Hydra's grammar.
        values: set after them as they are, by dotted key; paths may have characters of Hydra's own.

    Raises:
        InputError: no such entry, or a value that must be given is missing; the message names it.
    """
    # Imported here: tables and reports need no Hydra.
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    GlobalHydra.instance().clear()
    # configs/model holds training's groups, among which Hydra would look for model=base.
    models = [text.removeprefix("model=") for text in overrides if text.startswith("model=")]
    values = {**({"model": models[-1]} if models else {}), **(values or {})}
    try:
        with hydra.initialize_config_module("configs", version_base="1.3"):
            config = hydra.compose("eval", [text for text in overrides if not text.startswith("model=")])
        for key, value in values.items():
            OmegaConf.update(config, key, value)
        OmegaConf.resolve(config)
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(f"configuration: {' '.join(str(error).split())}") from error
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise InputError(
            f"configuration: wanted a value for {', '.join(missing)}, for example {missing[0]}=..."
        )
    return config


def instantiate(part: Any) -> Any:
    """The object that a part of the config describes.

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
        raise InputError(f"configuration: {' '.join(str(error).split())}") from error


def plain(part: Any) -> Any:
    """A part of the config as ordinary dictionaries and lists."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(part, resolve=True) if OmegaConf.is_config(part) else part
