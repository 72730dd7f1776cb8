"""``geometry data``: data sets on disk, and captures made up for tests and demonstrations."""

from collections.abc import Sequence

from geometry.__main__ import dispatch

COMMANDS = {
    "check": ("geometry.commands.check_data", "is a download complete and read correctly?"),
    "prepare": ("geometry.commands.prepare_data", "a download into the layout that its reader expects"),
    "make-capture": ("geometry.commands.make_capture", "photos of a procedural world, with their cameras"),
}


def main(argv: Sequence[str]) -> int:
    return dispatch("geometry data", COMMANDS, list(argv))
