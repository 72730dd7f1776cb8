"""One run a folder: a lock that ends with its process, however that ends."""

import fcntl
import json
import os
import socket
import time
from contextlib import ExitStack
from pathlib import Path

from geometry.errors import InputError

NAME = "run.lock"


def lock_folder(out: Path, held: ExitStack) -> None:
    """Hold ``out/run.lock`` until ``held`` is closed; not where the file system has no locks.

    A POSIX record lock: loader workers that outlive a killed run do not inherit it, and a shared file system
    keeps it across machines.

    Raises:
        InputError: another run holds it; the message names that run.
    """
    out.mkdir(parents=True, exist_ok=True)
    file = held.enter_context(open(out / NAME, "a+"))  # noqa: SIM115
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        file.seek(0)
        raise InputError(
            f"{out}: another run trains in this folder ({_owner(file.read())}); stop it, or give this one "
            "another folder"
        ) from None
    except OSError:
        return
    file.truncate(0)
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "started": now}))
    file.flush()


def _owner(text: str) -> str:
    try:
        return "process {pid} on {host}, since {started}".format(**json.loads(text))
    except (ValueError, KeyError):
        return "it has not said which"
