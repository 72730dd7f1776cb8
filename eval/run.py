"""A benchmark from end to end: every scene is predicted once and scored; a run resumes where it stopped."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import chain
from operator import itemgetter
from pathlib import Path

from eval.options import Benchmark, RunOptions
from eval.protocols.base import Scoring
from eval.protocols.splits import Split, checksum, divided_scene, make_split, read_split, write_split
from eval.run_folder import Store, write_json
from eval.score import Extra
from eval.summary import summarise
from geometry.console import say
from geometry.device import pick_device
from geometry.engine.distributed import Parallel, Process, from_first, gather, processes
from geometry.errors import InputError, PhotoError

_FOREVER_MINUTES = 60 * 24 * 14  # scenes take as long as they take; a process that fails ends all of them


def run_benchmark(options: RunOptions, *, extras: tuple[Extra, ...] = ()) -> dict | None:
    """Run a method on a benchmark to the end; several processes of torchrun share the scenes.

    Args:
        extras: further metrics, by names of their own.

    Returns:
        What ``scores.json`` holds; None on every process but the first. Scenes of which a photo cannot be
        decoded are in ``failed``, with the reason, and in no mean.

    Raises:
        InputError: the data, the split, the method or the run's folder do not fit, or every scene failed.
    """
    benchmark, protocol = options.benchmark, options.protocol
    with joined(options.device) as process:
        store = Store(options.out, protocol.name)
        _on_first(process, lambda: store.require_own(benchmark.root))
        metrics = protocol.metrics if options.metrics is None else options.metrics
        protocol.check(benchmark, metrics)
        method = protocol.build(options.method, process.device)
        split = _shared_split(options, store, process)
        settings = {  # all that decides predictions; where the data lies and what computes them is not of it
            "benchmark": benchmark.name,
            "split": checksum(split),
            "protocol": protocol.settings(),
            "method": method.about.name,
            "identity": method.about.identity,
        }
        _on_first(process, lambda: store.claim(settings, benchmark=benchmark.as_json()))

        if process.is_first and not store.split.is_file():
            write_split(store.split, split)

        # Every process takes each world_size-th scene; a scene is whole on disk before it counts as done.
        mine = []
        scoring = Scoring(benchmark=benchmark, metrics=metrics, extras=extras, device=process.device)
        for index in range(process.rank, len(split.scenes), process.world_size):
            scene = divided_scene(split.scenes[index], benchmark.source, options.verify)
            name = scene.split.name
            folder, path = store.predictions(name), store.scores(name)
            try:
                if not store.predicted(name):
                    path.unlink(missing_ok=True)  # scores of pictures that are no more
                    say(f"{name}: predicting, {len(scene.context)} context views")
                    protocol.predict(scene, method, process.device, folder)
                found = protocol.score(scene, folder, path, scoring)
            except PhotoError as error:
                say(f"{name}: FAILED: {error}")
                mine.append((index, {"scene": name, "failed": str(error)}))
                continue
            say(f"{name}: " + ", ".join(f"{m} {v:.4f}" for m, v in found["means"].items() if v is not None))
            mine.append((index, found))
        everyone = chain.from_iterable(gather(process, mine))
        scores = [scene for _, scene in sorted(everyone, key=itemgetter(0))]
        failed = {scene["scene"]: scene["failed"] for scene in scores if "failed" in scene}
        if len(failed) == len(scores):
            raise InputError(next(iter(failed.values())))
        if not process.is_first:
            return None
        scores = [scene for scene in scores if "failed" not in scene]
        summary = summarise(options, method.about, split, scores) | {"failed": failed}
        write_json(store.summary, summary)
        return summary


def joined(device: str) -> AbstractContextManager[Process]:
    """This process among those of torchrun; around several runs they join once."""
    chosen = None if device == "auto" else str(pick_device(device))
    return processes(Parallel(timeout_minutes=_FOREVER_MINUTES), chosen)


def make_split_file(benchmark: Benchmark, path: Path | str) -> Split:
    """Divide a benchmark's data, write the division and say what was divided.

    Raises:
        InputError: the data cannot be divided, or ``path`` is a file that is no split.
    """
    path = Path(path)
    if path.exists():
        try:
            read_split(path)
        except InputError as error:
            raise InputError(f"{error}; it is not replaced: give another split=") from error
    split = make_split(benchmark.source, benchmark.name, benchmark.rule)
    write_split(path, split)
    targets, count = sum(len(scene.targets) for scene in split.scenes), len(split.scenes)
    context = sum(len(scene.context) for scene in split.scenes)
    counted = f"{targets} targets" if targets else f"{context} photos"
    say(f"{split.benchmark}: {count} scenes, {counted}; checksum {checksum(split)}")
    for scene in split.scenes:
        found, wanted = len(scene.context), split.rule.context
        if wanted is not None and found < wanted:
            say(f"{scene.name}: only {found} context views instead of {wanted}: the capture has no more")
    if benchmark.expected_scenes and count != benchmark.expected_scenes:
        say(
            f"WARNING: the benchmark has {benchmark.expected_scenes} scenes, {count} are here: means over "
            "these are not its numbers"
        )
    return split


def _shared_split(options: RunOptions, store: Store, process: Process) -> Split:
    """The split: the file that the options name, else the run's own, made by the first process."""
    benchmark = options.benchmark
    path = store.split if options.split is None else Path(options.split)
    if process.is_first and options.split is None and not path.is_file():
        make_split_file(benchmark, path)
    return chosen_split(from_first(process, read_split(path) if process.is_first else None), benchmark, path)


def chosen_split(split: Split, benchmark: Benchmark, path: Path) -> Split:
    """The split read from ``path``, once it was found to be the benchmark's and by its rule."""
    if split.benchmark != benchmark.name:
        raise InputError(f"{path}: expected a split of {benchmark.name}, got one of {split.benchmark}")
    if split.rule != benchmark.rule:
        raise InputError(
            f"{path}: made by another rule ({split.rule}) than the config's; change benchmark.rule, or make "
            "another split"
        )
    return split


def _on_first(process: Process, action: Callable[[], None]) -> None:
    """Do it on the first process; its `InputError` is raised on all."""
    trouble = None
    if process.is_first:
        try:
            action()
        except InputError as error:
            trouble = str(error)
    trouble = from_first(process, trouble)
    if trouble:
        raise InputError(trouble)
