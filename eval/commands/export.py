"""`nvs-eval export`: a benchmark as photos and cameras for programs in any language."""

from eval.commands.words import command
from geometry.errors import InputError

USAGE = """usage: nvs-eval export benchmark=NAME benchmark.root=DIR out=DIR [split=FILE] [key=value ...]

Writes for every scene the context photos at the scored size (PNG), their cameras (transforms.json) and those
of the targets (targets.json, with the name of the picture that is expected). Score what your program draws by
  nvs-eval run ... split=OUT/split.json method=renders renders.folder=DIR
  split=       of nvs-eval split; none: made here       verify=      files, or cameras (another resolution)"""


def run(argv: list[str]) -> None:
    from eval.commands.config import benchmark_of, compose
    from eval.export import export_benchmark

    if not any(word.startswith("out=") for word in argv):  # the default is a run's folder
        raise InputError("configuration: expected out=DIR, the folder to write")
    config = compose(argv)
    export_benchmark(benchmark_of(config.benchmark), config.out, split=config.split, verify=config.verify)
    print(config.out)


main = command(USAGE, run)
