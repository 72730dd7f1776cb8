"""`nvs-eval run`: a method on a benchmark."""

from eval.commands.words import command

USAGE = """usage: nvs-eval run benchmark=NAME benchmark.root=DIR out=DIR [key=value ...]

Predicts every scene of a benchmark once, renders and scores its targets. The same command resumes where it
stopped; scoring again costs no prediction. Several processes: torchrun ... -m eval run ...
  benchmark=   dl3dv, tanks, megadepth or folder      split=FILE   of nvs-eval split; none: made here
  method=      model, nearest, mean_colour, warp, optimise, renders, or package.module:function
  model=       weights, as nvs render --model          poses=       gt, umeyama or photometric
  label=       the row's name in tables                --cfg        print the whole config and stop"""


def run(argv: list[str]) -> int:
    from omegaconf import OmegaConf

    from eval.commands.config import compose, run_options
    from eval.run import run_benchmark
    from eval.summary import result_lines
    from geometry.verdict import UNTRUSTED

    if "--cfg" in argv:
        print(OmegaConf.to_yaml(compose([a for a in argv if a != "--cfg"], complete=False)), end="")
        return 0
    summary = run_benchmark(run_options(compose(argv)))
    if summary is None:
        return 0
    print("\n".join(result_lines(summary)))
    return UNTRUSTED if summary["failed"] else 0


main = command(USAGE, run)
