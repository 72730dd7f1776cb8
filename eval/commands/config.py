"""The configuration of `nvs-eval`, and the option records that it is parsed into."""

import warnings
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig, OmegaConf

from eval.options import Benchmark, MethodOptions, RunOptions
from eval.predict import ViewSynthesis
from eval.protocols.base import Protocol
from eval.protocols.framing import Framing
from eval.protocols.mono import Depth, Mono
from eval.protocols.placement import Photometric
from eval.protocols.pose import Pose
from eval.protocols.reconstruction import Reconstruction
from eval.protocols.selection import Sample, rule_of
from eval.speed import SpeedOptions
from geometry.commands import configuration
from geometry.commands.configuration import instantiate
from geometry.options import NetworkOptions, named
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


PROTOCOLS: dict[str, type[Protocol]] = {
    kind.name: kind for kind in (ViewSynthesis, Pose, Reconstruction, Depth, Mono)
}


def compose(overrides: list[str], *, complete: bool = True) -> Any:
    """`configs/eval.yaml` under these overrides, as `geometry.commands.configuration.compose` gives it."""
    overrides = [new for word in overrides for new in _todays(word)]
    # configs/model holds training's groups, among which Hydra would look for model=base.
    models = [text.removeprefix("model=") for text in overrides if text.startswith("model=")]

    def amend(config: DictConfig) -> None:
        config.model = [config.model, *models][-1]

    return configuration.compose(
        "eval", [text for text in overrides if not text.startswith("model=")], amend=amend, complete=complete
    )


def _todays(word: str) -> tuple[str, ...]:
    """An override in today's words, saying so where it was renamed."""
    key, equals, value = word.partition("=")
    new = _METHODS.get(word) or (f"{_RENAMED.get(key, key)}{equals}{value}",)
    if new != (word,):
        warnings.warn(f"{word} is now {' '.join(new)}; the old name goes in the next version", stacklevel=4)
    return new


def run_options(config: Any) -> RunOptions:
    """The options of a run that a composed config states."""
    c = _plain(config)
    kind = PROTOCOLS[c["protocol"]]
    benchmark = benchmark_of(c["benchmark"], sample=sample_of(c))
    photometric = Photometric(**c["photometric"])
    protocol = named(kind, c | {"framing": benchmark.framing, "photometric": photometric})
    records = {"benchmark": benchmark, "method": _method(c), "protocol": protocol}
    metrics = None if c["metrics"] is None else tuple(c["metrics"])
    return named(RunOptions, c | records | {"metrics": metrics})


def speed_options(config: Any) -> SpeedOptions:
    """The options of ``protocol=speed``."""
    c = _plain(config)
    size = tuple(c["speed"]["image_size"])
    return named(SpeedOptions, c | c["speed"] | {"method": _method(c), "image_size": size})


def _method(c: dict[str, Any]) -> MethodOptions:
    return MethodOptions(
        name=str(c["method"]),
        model=c["model"],
        network=named(NetworkOptions, c),
        gaussians=named(GaussianOptions, c),
        warp_depth=c["warp"]["depth"],
        sweep=c["sweep"],
        **c["optimise"],
        ray_pose=c["ray_pose"],
        renders=c["renders"]["folder"],
        arrays=c["arrays"]["folder"],
        weights=c["renders"]["weights"],
        licence=c["renders"]["licence"],
    )


def sample_of(config: Any) -> Sample | None:
    """How a config's protocol draws photos; None for view synthesis, which divides them by a rule."""
    return None if config["protocol"] == "nvs" else Sample(**_plain(config["sample"]))


def benchmark_of(part: Any, *, root: str | None = None, sample: Sample | None = None) -> Benchmark:
    """The benchmark that a config's part, or a run's benchmark.json, describes, its data opened.

    Args:
        root: folder of the data instead of the stated one.
        sample: of the protocol, instead of the benchmark's own rule; `Sample.first` the benchmark may state.
    """
    b = _plain(part)
    reader = b["source"] if root is None else {**b["source"], "root": root}
    framing = named(Framing, b | {"size": b["size"] and tuple(b["size"])})
    rule = rule_of(b["rule"]) if sample is None else replace(sample, first=b.get("first", sample.first))
    stated = {"source": instantiate(reader), "reader": reader, "framing": framing, "rule": rule}
    return named(Benchmark, b | stated | {"root": root or b["root"]})


def _plain(part: Any) -> Any:
    """A part of the config as ordinary dictionaries and lists."""
    return OmegaConf.to_container(part, resolve=True) if OmegaConf.is_config(part) else part
