"""`nvs-eval audit`: which scenes of training data are in a benchmark."""

import shlex
from pathlib import Path
from typing import Any

from eval.commands.words import command
from geometry.errors import InputError

USAGE = """usage: nvs-eval audit training=WHAT benchmark=NAME benchmark.root=DIR [out=RUN] [key=value ...]

Compares training data with a benchmark by the scenes' ids, by the bytes of their photos, and by
near-duplicate photos (a perceptual hash). Prints what is in both; with out=, a run's folder, writes
audit.json there, from which nvs-eval table makes a footnote. Exit status 1 where something was found.
  training=    a folder of captures, or an experiment (geometry/NAME or nvs/NAME; its data below DATA_ROOT),
               with overrides: training="nvs/gs_dl3dv data.dataset.mixture.parts.dl3dv.source.root=DIR"
  split=       of nvs-eval split: its scenes and photos alone
  photos=      of each training scene that are looked at (default 20; all)
  near=        bits of 256 in which the hashes of near-duplicates differ at most (default 28)"""

_OWN = ("training", "photos", "near")


def run(argv: list[str]) -> int:
    from eval.audit import NEAR, audit, footnote, write_audit
    from eval.commands.config import benchmark_of, compose
    from eval.protocols.splits import read_split

    pairs = dict(word.partition("=")[::2] for word in argv if word.partition("=")[0] in _OWN)
    rest = [word for word in argv if word.partition("=")[0] not in _OWN]
    if not pairs.get("training"):
        raise InputError("configuration: expected training=WHAT, an experiment, a run's folder or captures")
    config = compose(rest)
    photos, near = pairs.get("photos", "20"), pairs.get("near", str(NEAR))
    if not (photos == "all" or photos.isdecimal()) or not near.isdecimal():
        raise InputError(f"expected photos= and near= as numbers (or photos=all), got {photos} and {near}")
    sources = training_sources(pairs["training"])
    benchmark = benchmark_of(config.benchmark).source
    count = None if photos == "all" else int(photos)
    split = None if config.split is None else read_split(config.split)
    matches = audit(sources, benchmark, split=split, photos=count, near=int(near))
    for m in matches:
        seen = f", {m.photos} photos, for example {m.example[0]} and {m.example[1]}" if m.example else ""
        print(f"{m.training} is {m.benchmark} by {m.reason}{seen}")
    note = footnote(matches, len(split.scenes if split else benchmark), pairs["training"])
    print(note)
    if any(word.startswith("out=") for word in rest):
        out = Path(config.out).expanduser()
        if not out.is_dir():
            raise InputError(f"{out}: expected out= to be a run's folder, found no such folder")
        write_audit(out / "audit.json", matches, note)
    return 1 if matches else 0


def training_sources(what: str) -> dict[str, Any]:
    """Sources of an experiment or of a folder of captures, by name."""
    from omegaconf import OmegaConf

    from eval.benchmarks.folder import Captures
    from geometry.commands import configuration
    from geometry.commands.arguments import experiments

    experiment, *overrides = shlex.split(what)
    kind = experiment.partition("/")[0]
    if experiment in experiments(kind):
        words = [f"experiment={experiment}", *overrides]
        config = configuration.compose(f"train_{kind}", words, complete=False)
        return _sources(OmegaConf.to_container(config.data))
    folder = Path(what).expanduser()
    if folder.is_dir():
        return {folder.name: Captures(folder, posed=False)}
    raise InputError(f"training={what}: expected an experiment or a folder of captures")


def _sources(tree: Any, path: str = "data") -> dict[str, Any]:
    """Every reader of files below a part of a configuration, opened."""
    from geometry.commands.configuration import instantiate

    if isinstance(tree, list):
        tree = {str(i): value for i, value in enumerate(tree)}
    if not isinstance(tree, dict):
        return {}
    if "root" in tree and ".datasets." in str(tree.get("_target_", "")):
        return {path.removesuffix(".source").rpartition(".")[2]: instantiate(tree)}
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _sources(value, f"{path}.{key}")
    return found


main = command(USAGE, run)
