"""The `nvs` command: its subcommands, each in the module that does the work."""

import sys

from geometry.__main__ import dispatch

COMMANDS = {
    "render": ("nvs.commands.render", "photos to Gaussians and a video of novel views"),
    "train": ("nvs.commands.train", "train Gaussian heads by a config"),
    "finetune": ("nvs.commands.finetune", "adapt a Gaussian head to your own photos"),
    "export": ("nvs.commands.export", "splats in another format, or a capture for another tool"),
    "draw": ("nvs.commands.draw", "pictures, depth and video of a splat file along given cameras"),
    "view": ("nvs.commands.view", "look at a rendered folder in the browser"),
}


def main(argv: list[str] | None = None) -> int:
    return dispatch("nvs", COMMANDS, sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
