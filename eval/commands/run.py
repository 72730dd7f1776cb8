"""`nvs-eval run`: predict every scene once, score what was predicted, resume where a run stopped."""

import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

from eval.commands.config import compose, plain
from eval.commands.split import described, split_of
from eval.methods.base import Method
from eval.methods.build import build_method
from eval.predict import Protocol, predict_scene
from eval.protocols.framing import Framing
from eval.protocols.placement import Photometric
from eval.protocols.selection import Rule
from eval.protocols.splits import DividedScene, Split, checksum, fit_scene, read_split, write_split
from eval.run_folder import Store, write_json
from eval.score import Extra, require_metrics, score_scene
from eval.summary import result_lines, summarise
from geometry.commands.configuration import instantiate
from geometry.console import say
from geometry.datasets.sources import SceneSource
from geometry.device import pick_device
from geometry.engine.distributed import Parallel, Process, from_first, gather, processes
from geometry.errors import InputError, run_command
from nvs.rasterizer.backends import choose_backend

USAGE = """usage: nvs-eval run benchmark=NAME benchmark.root=DIR out=DIR [key=value ...]

Predicts every scene of a benchmark once, renders and scores its targets. The same command goes on where it
stopped; scoring again costs no prediction. Several processes: torchrun ... -m eval run ...
  benchmark=   dl3dv, tanks, megadepth or folder      split=FILE   of nvs-eval split; none: made here
  method=      model, nearest, mean_colour, warp, optimise, renders, or package.module:function
  model=       weights, as nvs render --model          poses=       gt, umeyama or photometric
  label=       the row's name in tables                --cfg        print the whole config and stop"""

_FOREVER_MINUTES = 60 * 24 * 14  # scenes take as long as they take; a process that fails ends all of them


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    return run_command(lambda: run(argv))


def run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if argv else 2
    config = compose([a for a in argv if a != "--cfg"])
    if "--cfg" in argv:
        from omegaconf import OmegaConf

        print(OmegaConf.to_yaml(config, resolve=True))
        return 0
    summary = run_benchmark(config)
    if summary is not None:
        for line in result_lines(summary):
            print(line)
    return 0


def run_benchmark(config: Any, *, extras: tuple[Extra, ...] = ()) -> dict | None:
    """Run a composed config to the end.

    Returns:
        What ``scores.json`` holds; None on every process but the first.

    Raises:
        InputError: the data, the split, the method or the run's folder do not fit.
    """
    with joined(config) as process:
        store = Store(config.out)
        _on_first(process, lambda: store.require_own(config.benchmark.get("root")))
        protocol = protocol_of(config)
        choose_backend(protocol.backend, process.device)  # here for its error or warning: before any work
        method = build_method(config, process.device)
        protocol.require_for(method)
        require_metrics(tuple(config.metrics))
        source = instantiate(config.benchmark.source)
        split = shared_split(config, store, process)
        settings = run_settings(config, method, protocol, split)
        _on_first(process, lambda: store.claim(settings, benchmark=plain(config.benchmark)))

        if process.is_first and not store.split.is_file():
            write_split(store.split, split)

        # Every process takes each world_size-th scene; a scene is whole on disk before it counts as done.
        mine = []
        for index in range(process.rank, len(split.scenes), process.world_size):
            scene = divided_scene(split, split.scenes[index].name, source, config.verify)
            if not store.predicted(scene.split.name):
                store.scores(scene.split.name).unlink(missing_ok=True)  # of pictures that are no more
                folder = store.predictions(scene.split.name)
                say(f"{scene.split.name}: predicting, {len(scene.context)} context views")
                predict_scene(scene, method, protocol, process.device, folder)
            mine.append((index, _scored(config, scene, protocol, store, extras, process)))
        everyone = chain.from_iterable(gather(process, mine))
        scores = [scene for _, scene in sorted(everyone, key=itemgetter(0))]
        if not process.is_first:
            return None
        summary = summarise(config, method.about, protocol, split, scores)
        write_json(store.summary, summary)
        return summary


def joined(config: Any) -> AbstractContextManager[Process]:
    """This process among those of torchrun; around several runs they join once."""
    device = None if config.device == "auto" else str(pick_device(config.device))
    return processes(Parallel(timeout_minutes=_FOREVER_MINUTES), device)


def protocol_of(config: Any) -> Protocol:
    """The protocol that a config states."""
    return Protocol(
        poses=config.poses,
        context_poses=config.context_poses,
        framing=framing_of(config.benchmark),
        photometric=Photometric(**plain(config.photometric)),
        backend=config.backend,
    )


def framing_of(benchmark: Any) -> Framing:
    """How a benchmark's photos become images."""
    return Framing(
        size=None if benchmark.size is None else tuple(benchmark.size),
        long_side=benchmark.long_side,
        fit=benchmark.fit,
        undistort=benchmark.undistort,
    )


def shared_split(config: Any, store: Store, process: Process) -> Split:
    """The split: the file that the config names, else the run's own, made by the first process.

    Raises:
        InputError: it is of another benchmark or rule, or cannot be read.
    """
    path = store.split if config.split is None else Path(config.split)
    if process.is_first and config.split is None and not path.is_file():
        split = split_of(config)
        write_split(path, split)
        for line in described(split, config.benchmark):
            say(line)
    split = from_first(process, read_split(path) if process.is_first else None)
    if split.benchmark != config.benchmark.name:
        raise InputError(f"{path}: expected a split of {config.benchmark.name}, got one of {split.benchmark}")
    if split.rule != Rule(**plain(config.benchmark.rule)):
        raise InputError(
            f"{path}: made by another rule ({split.rule}) than the config's; change benchmark.rule, or make "
            "another split"
        )
    return split


def run_settings(config: Any, method: Method, protocol: Protocol, split: Split) -> dict[str, object]:
    """All that decides the pictures; where the data lies and what computes them does not belong."""
    stated = asdict(protocol)
    stated.pop("backend")
    if protocol.poses != "photometric":
        stated.pop("photometric")
    return {
        "benchmark": config.benchmark.name,
        "split": checksum(split),
        "protocol": stated,
        "method": method.about.name,
        "identity": method.about.identity,
    }


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


def divided_scene(split: Split, name: str, source: SceneSource, verify: str) -> DividedScene:
    """A scene as the split divides it; what its reader warns of is said once.

    Raises:
        InputError: the split does not fit the data.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("once")
        return fit_scene(split.scene(name), source.read(name), verify=verify)


def _scored(
    config: Any,
    scene: DividedScene,
    protocol: Protocol,
    store: Store,
    extras: tuple[Extra, ...],
    process: Process,
) -> dict:
    """Scores of a predicted scene."""
    name = scene.split.name
    scores = score_scene(
        scene,
        store.predictions(name),
        protocol.framing,
        store.scores(name),
        metrics=tuple(config.metrics),
        extras=extras,
        device=process.device,
    )
    say(f"{name}: " + ", ".join(f"{m} {v:.4f}" for m, v in scores["means"].items() if v is not None))
    return scores
