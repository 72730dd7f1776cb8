"""A pretended CUDA device: tensors that say cuda:0, hold CPU numbers, and refuse what CUDA refuses.

It finds code that mixes devices or hands CUDA tensors to NumPy, on any machine. Autocast does not apply to
them, and there is one device.
"""

from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device("cuda", 0)
# These take CPU tensors beside CUDA ones: as indices, or to copy from or to.
TAKE_BOTH = (Tensor.__getitem__, Tensor.__setitem__, Tensor.copy_, Tensor.to)


class CudaTensor(Tensor):
    """Below the Python surface an ordinary CPU tensor, so that autograd works as ever."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunction():
            return _call(func, args, kwargs or {})


class _Factories(TorchFunctionMode):
    """Catches ``device="cuda"`` where no CUDA tensor takes part."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunction():
            return _call(func, args, kwargs or {})


@contextmanager
def pretended_cuda():
    """Within it torch has one CUDA device."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(torch.cuda, "is_available", lambda: True))
        stack.enter_context(patch.object(torch.cuda, "device_count", lambda: 1))
        stack.enter_context(patch.object(torch.cuda, "is_current_stream_capturing", lambda: False))
        stack.enter_context(_Factories())
        yield


def _call(func, args, kwargs):
    tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    on_cuda = any(isinstance(t, CudaTensor) for t in tensors)
    if func == Tensor.device.__get__:
        return CUDA if on_cuda else torch.device("cpu")
    if func == Tensor.is_cuda.__get__:
        return on_cuda
    if func is torch._has_compatible_shallow_copy_type:  # no: else a module would keep parameters on the CPU
        return False
    if on_cuda:
        _refuse(func, args, tensors)
    target, func, args, kwargs = _target(func, args, kwargs, on_cuda)
    leaf = target == "cuda" and not on_cuda and kwargs.pop("requires_grad", False)
    out = func(*args, **kwargs)
    if target is None:
        return out
    if func in (Tensor.to, Tensor.cpu) and out is args[0] and on_cuda != (target == "cuda"):
        out = out.clone()  # neither side may see what the other writes later
    out = tree_map(lambda t: _placed(t, target), out)
    return out.requires_grad_() if leaf else out


def _refuse(func, args, tensors):
    if func in (Tensor.numpy, Tensor.__array__):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
    mixed = any(t.ndim > 0 and not isinstance(t, CudaTensor) for t in tensors)
    cpu_taken_apart = func is Tensor.__getitem__ and not isinstance(args[0], CudaTensor)
    if (mixed and func not in TAKE_BOTH) or cpu_taken_apart:
        found = [(type(t).__name__, list(t.shape)) for t in tensors]
        raise RuntimeError(f"Expected all tensors to be on the same device, got {found} in {func}")


def _target(func, args, kwargs, on_cuda):
    """Kind of device where the result belongs (None: as it comes), and the call that the CPU can serve."""
    device = None
    if func is Tensor.to:
        device = next((a for a in args[1:] if isinstance(a, (str, torch.device))), kwargs.get("device"))
        other = next((a for a in args[1:] if isinstance(a, Tensor)), None)
        if other is not None:
            device = CUDA if isinstance(other, CudaTensor) else "cpu"
        args = (args[0], *("cpu" if isinstance(a, (str, torch.device)) else a for a in args[1:]))
    elif func in (Tensor.cpu, Tensor.cuda):
        device, func, args, kwargs = func.__name__, Tensor.cpu, args[:1], {}
    elif kwargs.get("device") is not None:
        device = kwargs["device"]
    if "device" in kwargs:
        kwargs = {**kwargs, "device": "cpu"}
    kind = None if device is None else torch.device(device).type
    return kind or ("cuda" if on_cuda else None), func, args, kwargs


def _placed(value, kind):
    if not isinstance(value, Tensor) or isinstance(value, CudaTensor) == (kind == "cuda"):
        return value
    return value.as_subclass(CudaTensor if kind == "cuda" else Tensor)
