"""Programs in processes of their own that find torch and the project imported: that saves seconds in each.

They are children of multiprocessing's fork server, which imports and runs nothing: real processes, with
their own signals, environment, output and exit status. Shapes are not checked in them.
"""

import multiprocessing
import os
import runpy
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
IMPORTED = ["scenes", "torch.distributed.fsdp", "geometry.commands.train", "geometry.commands.experiment"]
IMPORTED += ["geometry.training.student", "nvs.commands.experiment", "nvs.training.step", "eval.run"]


class Program:
    """A running program; as `subprocess.Popen`, with its output in a file.

    Args:
        words: ``-m``, a module and its arguments; or a script and its.
        log: standard output and errors go here.
    """

    def __init__(self, words: Sequence[object], log: Path, **environment: str) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(IMPORTED)
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = f"{ROOT}{os.pathsep}{TESTS}"  # the server takes no sys.path over
        try:
            forkserver.ensure_running()
        finally:
            os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)
        self.log = log
        log.touch()
        self.process = context.Process(target=_run, args=([str(w) for w in words], str(log), environment))
        self.process.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float = 120) -> int:
        """Its exit status, negative for a signal; whatever it had started ends with it."""
        self.process.join(timeout)
        ended = self.process.exitcode is not None
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if not ended:
            raise TimeoutError(f"not ended after {timeout} s: {self.said[-3000:]}")
        return self.process.exitcode

    def wait_for(self, seen: Callable[[], bool], timeout: float = 120) -> None:
        """Until it has done something."""
        until = time.monotonic() + timeout
        while not seen():
            assert self.poll() is None, self.said
            assert time.monotonic() < until, f"not seen after {timeout} s: {self.said}"
            time.sleep(0.01)

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)


def ranks(number: int, words: Sequence[object], folder: Path) -> list[Program]:
    """Processes that train together, as a scheduler starts them: without torchrun, by their environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    place["WORLD_SIZE"] = str(number)
    each = [{"RANK": str(i), "LOCAL_RANK": str(i), **place} for i in range(number)]
    return [Program(words, folder / f"rank{rank['RANK']}.txt", **rank) for rank in each]


def run_ranks(number: int, words: Sequence[object], folder: Path) -> str:
    """Run to the end what must end well; what the first of the processes said."""
    programs = ranks(number, words, folder)
    try:
        for program in programs:
            assert program.wait(240) == 0, "".join(p.said for p in programs)
    finally:
        for program in programs:
            program.process.kill()
    return programs[0].said


def _run(words: list[str], log: str, environment: dict[str, str]) -> None:
    os.setsid()  # a group of its own, as a scheduler makes
    handle = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(environment)
    os.chdir(ROOT)
    module = words[0] == "-m"
    sys.argv = words[1:] if module else words
    sys.path[:0] = [str(ROOT) if module else str(Path(words[0]).parent)]
    if module:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(words[0], run_name="__main__")
