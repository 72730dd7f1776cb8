"""`nvs-eval split`: a benchmark's data to a split file."""

from eval.commands.words import command
from geometry.errors import InputError

USAGE = """usage: nvs-eval split benchmark=NAME benchmark.root=DIR split=FILE [key=value ...]

Divides every scene into context and target views and writes the division as JSON.
  benchmark=          as of nvs-eval run; of geometry: protocol=pose, and sample.limit=, sample.seed=
  benchmark.root=     the data
  benchmark.rule.K=   every, offset, context, start, translation, rotation"""


def run(argv: list[str]) -> None:
    from eval.commands.config import benchmark_of, compose, sample_of
    from eval.run import make_split_file

    config = compose(argv)
    if config.split is None:
        raise InputError("configuration: expected split=FILE, the file to write")
    make_split_file(benchmark_of(config.benchmark, sample=sample_of(config)), config.split)
    print(config.split)


main = command(USAGE, run)
