"""Commands of experiments take ``key=value``: one YAML tree, composed by Hydra from `configs/`."""

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from geometry.commands.arguments import CONFIGS, choices, experiments
from geometry.errors import InputError

UNKNOWN = re.compile(r"Could not override '([^']+)'")


def compose(
    name: str,
    overrides: Sequence[str],
    *,
    amend: Callable[[DictConfig], None] | None = None,
    complete: bool = True,
) -> DictConfig:
    """`configs/<name>.yaml` under these overrides, every value resolved.

    Args:
        overrides: as typed, in Hydra's grammar.
        amend: changes the composed tree before its interpolations are resolved.
        complete: False, to show it, leaves values that must be given as ``???``.

    Raises:
        InputError: no such entry, or a value that must be given is missing; the message names it, and what
            comes near.
    """
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        try:
            config = hydra.compose(name, list(overrides))
            if amend is not None:
                amend(config)
            OmegaConf.resolve(config)
        except (HydraException, OmegaConfBaseException) as error:
            raise InputError(f"configuration: {_explain(error, name, overrides)}") from error
    missing = sorted(OmegaConf.missing_keys(config))
    if complete and missing:
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


def _explain(error: Exception, name: str, overrides: Sequence[str]) -> str:
    """What was wrong with the overrides, in a line."""
    known = experiments(name.removeprefix("train_"))
    for text in overrides:
        if text.startswith("experiment=") and text.removeprefix("experiment=") not in known:
            return _not_among("experiment", text.removeprefix("experiment="), known)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.partition("/")
        return _not_among(group, choice, choices(group))
    if unknown := UNKNOWN.match(str(error)):
        key = unknown[1]
        groups = [path.name for path in CONFIGS.iterdir() if path.is_dir()]
        tree = OmegaConf.to_container(_without(key, name, overrides), resolve=False)
        near = difflib.get_close_matches(key, [*_paths(tree), *groups], n=1, cutoff=0.7)
        hint = f"did you mean {near[0]}?" if near else f"+{key}=... adds it"
        return f"{key}: expected the name of an entry, found no such one; {hint}"
    return " ".join(str(error).split())


def _not_among(group: str, choice: str, known: Sequence[str]) -> str:
    ends = {name.rpartition("/")[2]: name for name in reversed(known)}  # what a person may have typed alone
    near = difflib.get_close_matches(choice.rpartition("/")[2], ends, n=1)
    hint = f"; did you mean {ends[near[0]]}?" if near else ""
    return f"{group}: expected one of {', '.join(known)}, got {choice!r}{hint}"


def _without(key: str, name: str, overrides: Sequence[str]) -> DictConfig:
    """The configuration without the override of this key, and without others whose key is unknown as well."""
    rest = [text for text in overrides if text.lstrip("+~").partition("=")[0] != key]
    try:
        return hydra.compose(name, rest)
    except (HydraException, OmegaConfBaseException) as error:
        other = UNKNOWN.match(str(error))
        return _without(other[1], name, rest) if other else hydra.compose(name)


def _paths(tree: Any, prefix: str = "") -> Iterator[str]:
    """Dotted paths of everything in nested dictionaries."""
    for key, value in tree.items() if isinstance(tree, dict) else ():
        yield f"{prefix}{key}"
        yield from _paths(value, f"{prefix}{key}.")
