"""`nvs-eval sensitivity`: how far each choice that the paper leaves open moves the score."""

from pathlib import Path

from eval.commands.words import command

USAGE = """usage: nvs-eval sensitivity benchmark=NAME benchmark.root=DIR out=DIR [key=value ...]

Runs a benchmark once as configured and once for each unstated choice made otherwise, all else equal; writes
OUT/sensitivity.md. Takes what nvs-eval run takes, but for split=; resumes where it stopped."""


def run(argv: list[str]) -> None:
    from eval.commands.config import compose, run_options
    from eval.sensitivity import measure_sensitivity
    from geometry.atomic import atomic_file

    options = run_options(compose(argv))
    text = measure_sensitivity(options)
    if text is not None:  # of several processes only the first has the results
        with atomic_file(Path(options.out).expanduser() / "sensitivity.md") as path:
            path.write_text(text, encoding="utf-8")
        print(text, end="")


main = command(USAGE, run)
