"""Kernels compiled by numba: their options, and a line where a machine compiles them for the first time.

Kernels copy rows element by element: to assign a slice or a row brings in checks of shapes, whose messages
take three seconds to compile in each kernel.
"""

from typing import Any

from numba import njit
from numba.core.event import Event, Listener, register

from geometry.console import heard, say

# Fused multiply-add and reciprocals are allowed; NaN and infinity keep their meaning, since they decide
# what is left out.
OPTIONS: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract", "arcp", "nsz"},
}
compiled = njit(**OPTIONS)
inlined = njit(forceinline=True, **OPTIONS)
# Where nothing is NaN or infinite: only then are minima taken many at once.
finite = njit(**{**OPTIONS, "fastmath": {*OPTIONS["fastmath"], "nnan", "ninf"}})


class _Notice(Listener):
    """Kernels that are read from the cache are not compiled, and nothing is said of them."""

    given = False

    def on_start(self, event: Event) -> None:
        if heard() and not self.given:
            self.given = True
            say("compiling kernels: seconds, once on this machine")

    def on_end(self, event: Event) -> None:
        pass


notice = _Notice()
register("numba:compile", notice)
