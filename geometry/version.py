"""Which version of this code runs."""

import subprocess
from functools import lru_cache
from pathlib import Path

from geometry import __version__

_ROOT = Path(__file__).resolve().parents[1]


@lru_cache
def commit() -> str | None:
    """The checkout's commit, ``+`` behind it where files were changed since; None outside of a checkout."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        top = git("rev-parse", "--show-toplevel")
        if not top or Path(top).resolve() != _ROOT:  # an environment inside of another project's checkout
            return None
        sha, changed = git("rev-parse", "--short=10", "HEAD"), git("status", "--porcelain", "-uno")
    except OSError:  # no git on this machine
        return None
    return f"{sha}{'+' if changed else ''}" or None


def stamp() -> str:
    """What results say they are of: the commit, outside of a checkout the version."""
    return commit() or f"version {__version__}"


def version() -> str:
    """``0.1.0``, in a checkout with its commit."""
    return f"{__version__} (commit {commit()})" if commit() else __version__
