"""`geometry train`: one experiment, from its YAML to a trained network."""

import argparse

from geometry.commands.arguments import experiments
from geometry.errors import run_command


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="geometry train",
        description="Train a geometry model: geometry train experiment=geometry/da3_large. Every value of "
        "the configuration can be overridden as group=choice or path.to.value=new.",
        epilog=f"experiments: {', '.join(experiments('geometry'))}. ablation=depth_ray,depth_cam (a list) "
        "trains one after the other and prints a table. Several processes: torchrun --standalone "
        "--nproc-per-node N -m geometry train experiment=... Exit status 75: stopped by a signal, saved, to "
        "be started again.",
    )
    p.add_argument("--show", action="store_true", help="print the whole configuration and stop")
    p.add_argument("overrides", nargs="*", help="Hydra overrides, such as experiment=geometry/smoke")
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    from geometry.commands.experiment import run

    return run_command(lambda: run(args))
