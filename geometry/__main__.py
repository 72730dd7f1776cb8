"""The `geometry` command: its subcommands, each in the module that does the work."""

import atexit
import gc
import importlib
import os
import sys
from pathlib import Path

# Steps for which PyTorch's threads (GNU's OpenMP) wait actively for each other, thirty times fewer than
# their default: as quick on a quiet machine, and beside other work they do not burn the time they wait for.
SPINS = "10000"

# Name -> (module with main(argv), what it does). Imported only when asked for: starting stays quick.
COMMANDS = {
    "infer": ("geometry.commands.infer", "photos to depth, cameras and a point cloud"),
    "train": ("geometry.commands.train", "train a model: experiment=geometry/smoke, geometry/da3_large, ..."),
    "export": ("geometry.commands.export", "trained weights as a Hugging Face folder with a model card"),
    "label": ("geometry.commands.label", "a teacher's depth over a data set, aligned to what was measured"),
    "export-onnx": ("geometry.commands.export_onnx", "a network as an ONNX file, for other runtimes"),
    "data": ("geometry.commands.data", "check a downloaded data set, prepare one, make a sample capture"),
}


def main(argv: list[str] | None = None) -> int:
    return dispatch("geometry", COMMANDS, sys.argv[1:] if argv is None else argv)


def dispatch(program: str, commands: dict[str, tuple[str, str]], argv: list[str]) -> int:
    """Run one of a program's subcommands, list them, or tell the version."""
    if argv and argv[0] in commands:
        if "OMP_WAIT_POLICY" not in os.environ:
            os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # read as torch is imported
        # Else the interpreter looks through all of torch once more before it ends: half a second.
        atexit.register(gc.freeze)
        return importlib.import_module(commands[argv[0]][0]).main(argv[1:])
    if argv == ["--version"]:
        from geometry.version import version

        print(program, version())
        return 0
    width = max(map(len, commands))
    lines = [f"  {program} {name:<{width}}  {text}" for name, (_, text) in commands.items()]
    usage = "\n".join([f"usage: {program} COMMAND ... (--help after a command tells more)", *lines])
    if argv in (["--help"], ["-h"]):
        print(usage)
        return 0
    print(f"error: unknown command {argv[0]!r}" if argv else "error: a command is expected", file=sys.stderr)
    print(usage, file=sys.stderr)
    return 2


def nvs_eval(argv: list[str] | None = None) -> int:
    """The installed `nvs-eval`; its package is the one beside this, not another `eval` on the path."""
    here = str(Path(__file__).resolve().parents[1])
    sys.path.insert(0, here)
    try:
        importlib.import_module("eval")
    finally:
        sys.path.remove(here)
    return importlib.import_module("eval.__main__").main(argv)


if __name__ == "__main__":
    sys.exit(main())
