"""Signals that end a run: finish the step, save, say how to resume. A second Ctrl-C ends at once."""

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

# What a command ends with when a signal stopped its run and the run can be resumed (EX_TEMPFAIL of
# sysexits.h): neither success nor an error, so that a scheduler can be told to start it again.
INTERRUPTED = 75
ECHO_S = 0.5  # one Ctrl-C under torchrun may arrive twice, from the terminal and from torchrun
# Schedulers announce the end of a job's time by one of the last two.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class StopSignal:
    """Context in which `SIGNALS` set ``requested`` instead of ending the process."""

    def __init__(self) -> None:
        self.requested = False
        self._first = 0.0
        self._old: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        # Python allows handlers in the main thread only; elsewhere (a notebook's worker) there are none.
        if threading.current_thread() is threading.main_thread():
            self._old = {n: signal.signal(n, self._handle) for n in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.requested:
            self.requested, self._first = True, time.monotonic()
            _say("stopping after this step; press Ctrl-C again to stop at once without saving")
        elif number == signal.SIGINT and time.monotonic() - self._first > ECHO_S:
            _say("stopped at once, nothing saved")
            os._exit(130)


def _say(text: str) -> None:
    # os.write, since print is not safe inside a signal handler that interrupted a print.
    os.write(sys.__stderr__.fileno(), f"\n{text}\n".encode())
