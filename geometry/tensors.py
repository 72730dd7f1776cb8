"""What all records share: moving, mapping and pinning frozen dataclasses of tensors."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T", bound="TensorRecord")


@dataclass(frozen=True)
class TensorRecord:
    """Base of frozen keyword dataclasses: fields are tensors, records, or containers of them."""

    def map(self: T, function: Callable[[Tensor], Tensor]) -> T:
        """Copy of this record with ``function`` applied to every tensor, nested records included."""
        return replace(
            self, **{f.name: _map(getattr(self, f.name), function) for f in fields(self) if f.init}
        )

    def __getitem__(self: T, index: Any) -> T:
        """Select on the leading axes of every tensor: ``example[:, [0, 3]]`` has these views of every scene.

        A tensor with fewer axes than the index names (one value for each scene) is selected on those it has.
        """
        parts = index if isinstance(index, tuple) else (index,)
        return self.map(lambda t: t[parts[: t.ndim]])

    def to(self: T, *args: Any, **kwargs: Any) -> T:
        """As `torch.Tensor.to`; a floating dtype leaves integer and boolean tensors as they are."""
        dtype = kwargs.get("dtype") or next((a for a in args if isinstance(a, torch.dtype)), None)
        if dtype is None or not dtype.is_floating_point:
            return self.map(lambda t: t.to(*args, **kwargs))
        rest = [a for a in args if a is not dtype]
        others = {k: v for k, v in kwargs.items() if k != "dtype"}
        return self.map(lambda t: t.to(*args, **kwargs) if t.is_floating_point() else t.to(*rest, **others))

    def pin_memory(self: T) -> T:
        """Copy in page-locked memory; torch's data loader looks for this method."""
        return self.map(Tensor.pin_memory)

    def detach(self: T) -> T:
        return self.map(Tensor.detach)


def _map(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, TensorRecord):
        return value.map(function)
    if isinstance(value, (list, tuple)):
        return type(value)(_map(v, function) for v in value)
    if isinstance(value, dict):
        return {k: _map(v, function) for k, v in value.items()}
    return value


def collate(records: list[Any]) -> Any:
    """Concatenate records of batch size one (or more) along the batch axis, field by field.

    Raises:
        ValueError: a field is None in one record and not in another, or differs in shape.
    """
    first = records[0]
    if isinstance(first, Tensor):
        shapes = {tuple(r.shape[1:]) for r in records}
        if len(shapes) > 1:
            raise ValueError(f"cannot collate tensors of shapes {sorted(shapes)} into one batch")
        return torch.cat(records, dim=0)
    if isinstance(first, TensorRecord):
        return replace(
            first, **{f.name: collate([getattr(r, f.name) for r in records]) for f in fields(first) if f.init}
        )
    if first is None:
        if any(r is not None for r in records):
            raise ValueError("a field is None in some records of the batch and not in others")
        return None
    if isinstance(first, (list, tuple)):
        return type(first)(value for record in records for value in record)
    return first
