"""The `nvs-eval` command: its subcommands, each in the module that does the work."""

import sys

from geometry.__main__ import dispatch

COMMANDS = {
    "split": ("eval.commands.split", "divide a benchmark's scenes into context and targets, as a file"),
    "run": ("eval.commands.run", "predict, render and score a benchmark with any method"),
    "export": ("eval.commands.export", "context photos and cameras as files, for programs in any language"),
    "table": ("eval.commands.table", "runs side by side, beside the published numbers"),
    "report": ("eval.commands.report", "a page with the worst and best targets of a run"),
    "audit": ("eval.commands.audit", "which scenes of training data are in a benchmark"),
    "sensitivity": ("eval.commands.sensitivity", "how far each unstated choice moves the score"),
}


def main(argv: list[str] | None = None) -> int:
    return dispatch("nvs-eval", COMMANDS, sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
