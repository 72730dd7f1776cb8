"""`geometry train`: one experiment, from its YAML to a trained network."""

import argparse

from geometry.commands.arguments import train_parser
from geometry.errors import run_command


def parser() -> argparse.ArgumentParser:
    several = "ablation=depth_ray,depth_cam (a list) trains one after the other and prints a table. "
    return train_parser("geometry", "geometry model: geometry train experiment=geometry/da3_large", several)


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    from geometry.commands.experiment import run

    return run_command(lambda: run(args))
