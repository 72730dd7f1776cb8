"""What weights are, in one number that does not depend on the file they lie in."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and float32 bits of weights, in the order of the names."""
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach()
        tensor = tensor.float() if tensor.is_floating_point() else tensor
        total.update(f"{name} {list(tensor.shape)}\n".encode())
        total.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
