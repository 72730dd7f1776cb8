"""The configuration of `nvs-eval`: what it adds to `geometry.commands.configuration`."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from geometry.commands import configuration


def compose(overrides: list[str], values: Mapping[str, object] | None = None) -> Any:
    """`configs/eval.yaml` under these overrides, as a dictionary-like config with every value resolved.

    Args:
        overrides: as typed, in Hydra's grammar.
        values: set after them as they are, by dotted key; paths may have characters of Hydra's own.

    Raises:
        InputError: no such entry, or a value that must be given is missing; the message names it.
    """
    # configs/model holds training's groups, among which Hydra would look for model=base.
    models = [text.removeprefix("model=") for text in overrides if text.startswith("model=")]
    set_after = {**({"model": models[-1]} if models else {}), **(values or {})}

    def amend(config: DictConfig) -> None:
        for key, value in set_after.items():
            OmegaConf.update(config, key, value)

    return configuration.compose(
        "eval", [text for text in overrides if not text.startswith("model=")], amend=amend
    )


def plain(part: Any) -> Any:
    """A part of the config as ordinary dictionaries and lists."""
    return OmegaConf.to_container(part, resolve=True) if OmegaConf.is_config(part) else part
