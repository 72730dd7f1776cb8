"""The released weights: where they are, under which licence, and fetching them."""

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from geometry.errors import InputError

APACHE = "Apache-2.0"
NON_COMMERCIAL = "CC BY-NC 4.0 (non-commercial use only)"


@dataclass(frozen=True)
class Release:
    """One size's released weights."""

    repository: str
    config_name: str  # ``model_name`` in its config.json
    licence: str


RELEASES = {
    "small": Release("depth-anything/DA3-SMALL", "da3-small", APACHE),
    "base": Release("depth-anything/DA3-BASE", "da3-base", APACHE),
    "large": Release("depth-anything/DA3-LARGE-1.1", "da3-large", NON_COMMERCIAL),
    "giant": Release("depth-anything/DA3-GIANT-1.1", "da3-giant", NON_COMMERCIAL),
    "mono-large": Release("depth-anything/DA3MONO-LARGE", "da3mono-large", APACHE),
    "metric-large": Release("depth-anything/DA3METRIC-LARGE", "da3metric-large", APACHE),
    "nested-giant-large": Release(
        "depth-anything/DA3NESTED-GIANT-LARGE-1.1", "da3nested-giant-large", NON_COMMERCIAL
    ),
}


def cache_folder() -> Path:
    """What can be made or fetched again: ``FEEDFORWARD_NVS_CACHE``, or a folder of the home folder."""
    return Path(
        os.environ.get("FEEDFORWARD_NVS_CACHE", Path.home() / ".cache" / "feedforward-nvs")
    ).expanduser()


def fetch_weights(repository: str) -> Path:
    """Path of a hub repository's model.safetensors, from the caches or the network.

    Raises:
        InputError: not here and not reachable; says which file to put where.
    """
    # Searched before the hub: for weights copied to a machine without network.
    by_hand = cache_folder() / repository.split("/")[-1] / "model.safetensors"
    if by_hand.is_file():
        return by_hand
    # Imported here: it takes half a second, which local files do not need.
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    cached = try_to_load_from_cache(repository, "model.safetensors")
    if isinstance(cached, str):
        return Path(cached)
    try:
        _require_network()
        # The configuration is small and tells the variant; older repositories may lack it.
        with suppress(EntryNotFoundError):
            hf_hub_download(repository, "config.json")
        return Path(hf_hub_download(repository, "model.safetensors"))
    except (OSError, HfHubHTTPError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"weights of {repository} are not on this machine and could not be fetched ({reason}). "
            f"Fetch https://huggingface.co/{repository}/resolve/main/model.safetensors (and config.json) "
            f"and put both into {by_hand.parent}, or pass their folder as --model"
        ) from error


def _require_network() -> None:
    """Fail at once where the hub cannot be reached: its own client retries for half a minute first."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise OSError("HF_HUB_OFFLINE is set")
    if getproxies():
        return  # the proxy resolves names; only a real request can tell
    url = urlsplit(constants.ENDPOINT)
    try:
        socket.create_connection((url.hostname, url.port or 443), timeout=10).close()
    except OSError as error:
        raise OSError(f"no connection to {url.hostname}") from error
