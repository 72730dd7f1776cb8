"""``geometry data``: data sets on disk, and captures made up for tests and demonstrations."""

from collections.abc import Sequence

from geometry.__main__ import dispatch

COMMANDS = {
    "check": ("geometry.commands.check_data", "is a download complete and read correctly?"),
    "prepare": ("geometry.commands.prepare_data", "a download into the layout that its reader expects"),
    "index": ("geometry.commands.index_data", "what training reads of each scene, made in advance"),
    "pack": ("geometry.commands.pack_data", "scenes as tar files, for object stores"),
    "make-capture": ("geometry.commands.make_capture", "photos of a procedural world, with their cameras"),
}


def main(argv: Sequence[str]) -> int:
    return dispatch("geometry data", COMMANDS, list(argv))
