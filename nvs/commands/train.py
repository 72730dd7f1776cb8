"""`nvs train`: one experiment, from its YAML to a trained Gaussian head."""

import argparse

from geometry.commands.arguments import experiments
from geometry.errors import run_command


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="nvs train",
        description="Train a Gaussian head: nvs train experiment=nvs/smoke. Every value of the configuration "
        "can be overridden as group=choice or path.to.value=new. The same command with the same out resumes "
        "from its newest checkpoint.",
        epilog=f"experiments: {', '.join(experiments('nvs'))}. Several processes: torchrun --standalone "
        "--nproc-per-node N -m nvs train experiment=... Exit status 75: stopped by a signal, saved, to be "
        "started again.",
    )
    p.add_argument("--show", action="store_true", help="print the whole configuration and stop")
    p.add_argument("overrides", nargs="+", help="Hydra overrides, such as experiment=nvs/smoke")
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    from nvs.commands.experiment import run

    return run_command(lambda: run(args))
