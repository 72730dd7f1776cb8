"""`nvs train`: one experiment, from its YAML to a trained Gaussian head."""

import argparse

from geometry.commands.arguments import train_parser
from geometry.errors import run_command


def parser() -> argparse.ArgumentParser:
    return train_parser("nvs", "Gaussian head: nvs train experiment=nvs/smoke")


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    from nvs.commands.experiment import run

    return run_command(lambda: run(args))
