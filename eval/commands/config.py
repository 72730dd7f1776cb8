"""The configuration of `nvs-eval`, and the option records that it is parsed into."""

import warnings
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from eval.options import Benchmark, MethodOptions, RunOptions
from eval.predict import Protocol
from eval.protocols.framing import Framing
from eval.protocols.placement import Photometric
from eval.protocols.selection import Rule
from geometry.commands import configuration
from geometry.commands.configuration import instantiate
from geometry.options import NetworkOptions
from nvs.options import GaussianOptions

# Words of version 0.1.0 -> today's; taken for one version, with a warning.
_RENAMED = {"sweep.factor": "sweep.spacing", "sweep.neighbours": "sweep.sources"}
_PIPELINE = "method=nvs.sweep_and_refine:novel_views"
_METHODS = {
    _PIPELINE: ("method=optimise", "optimise.steps=400"),
    f"{_PIPELINE}_unrefined": ("method=optimise", "optimise.steps=0"),
    f"{_PIPELINE}_tiny": ("method=model", "model=tiny", "refine=400"),
    f"{_PIPELINE}_tiny_unrefined": ("method=model", "model=tiny", "refine=0"),
}


def _todays(words: list[str]) -> list[str]:
    """Overrides with renamed words replaced, saying so."""
    out: list[str] = []
    for word in words:
        key, equals, value = word.partition("=")
        new = _METHODS.get(word) or (f"{_RENAMED.get(key, key)}{equals}{value}",)
        if new != (word,):
            warnings.warn(
                f"{word} is now {' '.join(new)}; the old name goes in the next version", stacklevel=3
            )
        out += new
    return out


def compose(
    overrides: list[str], values: Mapping[str, object] | None = None, *, complete: bool = True
) -> Any:
    """`configs/eval.yaml` under these overrides, as a dictionary-like config with every value resolved.

    Args:
        overrides: as typed, in Hydra's grammar.
        values: set after them as they are, by dotted key; paths may have characters of Hydra's own.
        complete: as of `geometry.commands.configuration.compose`.

    Raises:
        InputError: no such entry, or a value that must be given is missing; the message names it.
    """
    overrides = _todays(overrides)
    # configs/model holds training's groups, among which Hydra would look for model=base.
    models = [text.removeprefix("model=") for text in overrides if text.startswith("model=")]
    set_after = {**({"model": models[-1]} if models else {}), **(values or {})}

    def amend(config: DictConfig) -> None:
        for key, value in set_after.items():
            OmegaConf.update(config, key, value)

    return configuration.compose(
        "eval", [text for text in overrides if not text.startswith("model=")], amend=amend, complete=complete
    )


def run_options(config: Any) -> RunOptions:
    """The options of a run that a composed config states.

    Raises:
        InputError: a value that cannot be, or data that is not there.
    """
    c = _plain(config)
    benchmark = benchmark_of(c["benchmark"])
    return RunOptions(
        out=c["out"],
        benchmark=benchmark,
        method=MethodOptions(
            name=str(c["method"]),
            model=c["model"],
            network=NetworkOptions(reference=c["reference"], precision=c["precision"], chunk=c["chunk"]),
            gaussians=GaussianOptions(
                depth=c["depth"],
                spacing=c["spacing"],
                prune=c["prune"],
                quality=c["quality"],
                minutes=c["minutes"],
                refine=c["refine"],
                seed=c["seed"],
                backend=c["backend"],
            ),
            warp_depth=c["warp"]["depth"],
            sweep=c["sweep"],
            **c["optimise"],
            renders=c["renders"]["folder"],
            weights=c["renders"]["weights"],
            licence=c["renders"]["licence"],
        ),
        protocol=Protocol(
            poses=c["poses"],
            context_poses=c["context_poses"],
            framing=benchmark.framing,
            photometric=Photometric(**c["photometric"]),
            process_res=c["process_res"],
            backend=c["backend"],
        ),
        split=c["split"],
        verify=c["verify"],
        label=c["label"],
        metrics=tuple(c["metrics"]),
        device=c["device"],
    )


def benchmark_of(part: Any, *, root: str | None = None) -> Benchmark:
    """The benchmark that a config's part, or a run's benchmark.json, describes, its data opened.

    Args:
        root: folder of the data instead of the stated one.

    Raises:
        InputError: the data is not there.
    """
    b = _plain(part)
    reader = b["source"] if root is None else {**b["source"], "root": root}
    return Benchmark(
        name=b["name"],
        source=instantiate(reader),
        framing=Framing(
            size=None if b["size"] is None else tuple(b["size"]),
            long_side=b["long_side"],
            fit=b["fit"],
            undistort=b["undistort"],
        ),
        rule=Rule(**b["rule"]),
        expected_scenes=b["expected_scenes"],
        root=b["root"] if root is None else root,
        reader=reader,
    )


def _plain(part: Any) -> Any:
    """A part of the config as ordinary dictionaries and lists."""
    return OmegaConf.to_container(part, resolve=True) if OmegaConf.is_config(part) else part
