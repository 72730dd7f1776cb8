"""Where random numbers come from: every seed is a function of the run's seed and a place in the run.

Nothing counts calls. That is what lets a resumed run, a run with other workers or a run on more
processes draw the numbers that the unbroken one-process run draws.
"""

import contextlib
import hashlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch


def derive_seed(*keys: int | str) -> int:
    """A 63-bit seed from any integers and words, the same on every machine and Python version."""
    text = "\x1f".join(f"{type(k).__name__}:{k}" for k in keys)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def make_generator(device: torch.device | str, *keys: int | str) -> torch.Generator:
    """A torch generator on ``device`` seeded by `derive_seed`."""
    return torch.Generator(device).manual_seed(derive_seed(*keys))


def seed_everything(*keys: int | str) -> None:
    """Seed the global generators of Python, numpy and torch (CPU and CUDA)."""
    seed = derive_seed(*keys)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - other people's augmentation code draws from it
    torch.manual_seed(seed)


@contextlib.contextmanager
def seeded(*keys: int | str) -> Iterator[None]:
    """Run a block under global CPU generators seeded by ``keys``, then put the old states back."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    seed = derive_seed(*keys)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)  # not torch.manual_seed: that would reach CUDA as well
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


@contextlib.contextmanager
def unchanged_random_state() -> Iterator[None]:
    """Run a block (a validation) that may draw global random numbers without moving the training's."""
    state = random_state()
    try:
        yield
    finally:
        set_random_state(state)


def random_state() -> dict[str, Any]:
    """State of this process's global generators, as tensors and plain numbers."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    version, internal, gauss_next = random.getstate()
    state: dict[str, Any] = {
        "python": [version, list(internal), gauss_next],
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss],  # type: ignore[attr-defined]
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what `random_state` gave; a CUDA state is skipped where there is no CUDA."""
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
