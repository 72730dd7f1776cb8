"""How annotated types are checked in tests."""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

from beartype import BeartypeConf, beartype

_INT_IS_FLOAT = BeartypeConf(is_pep484_tower=True)  # as PEP 484 has it


def when_called(function: Callable[..., Any]) -> Callable[..., Any]:
    """Beartype's check, made at the first call: most functions see none in the process that imports them."""
    checked = cache(lambda: beartype(function, conf=_INT_IS_FLOAT))

    @wraps(function)
    def call(*args: object, **kwargs: object) -> object:
        return checked()(*args, **kwargs)

    return call
