"""The options of a benchmark run, as records; commands parse into them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from eval.protocols.base import Protocol
from eval.protocols.framing import Framing
from eval.protocols.selection import AnyRule, Rule
from geometry.datasets.sources import SceneSource
from geometry.options import NetworkOptions
from nvs.options import GaussianOptions


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The benchmark's scenes, and how their photos are divided and become images.

    Args:
        expected_scenes: how many the whole benchmark has; None where that is open.
        root: folder of the data, in which no run may lie.
        reconstruction: how surfaces are judged: fields of `eval.protocols.reconstruction.Surface`.
        depth: which depth counts, and how it is aligned: fields of `eval.protocols.mono.DepthRange`.
        reader: what opens ``source`` again, as configs state it; a run's folder keeps it for reports.
    """

    name: str
    source: SceneSource
    framing: Framing = field(default_factory=Framing)
    rule: AnyRule = field(default_factory=Rule)
    expected_scenes: int | None = None
    root: str | None = None
    reader: dict[str, object] | None = None
    reconstruction: Mapping[str, Any] = field(default_factory=dict)
    depth: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """As in ``configs/benchmark``."""
        names = {"name": self.name, "root": self.root, "source": self.reader}
        names |= {"reconstruction": dict(self.reconstruction), "depth": dict(self.depth)}
        counted = {"expected_scenes": self.expected_scenes, "rule": asdict(self.rule)}
        return {**names, **asdict(self.framing), **counted}


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """Which method is evaluated.

    Args:
        name: of `eval.methods.build` or `geometry`, or ``package.module:function``.
        model: weights, as ``nvs render --model``.
        network, gaussians: how the model is run; ``gaussians.backend`` draws for every method.
        warp_depth: whose depth moves the nearest photo.
        sweep: settings of `nvs.stereo.StereoDepth` for that depth.
        ray_pose: geometry's cameras come from the rays instead of the camera head.
        steps, seed: of ``optimise``.
        renders, arrays: folders of pictures, or of geometry, made elsewhere, and
        weights, licence: what a table says of them.
    """

    name: str = "model"
    model: str = "tiny"
    network: NetworkOptions = field(default_factory=NetworkOptions)
    gaussians: GaussianOptions = field(default_factory=GaussianOptions)
    warp_depth: Literal["sweep", "model"] = "sweep"
    sweep: Mapping[str, float] = field(default_factory=dict)
    ray_pose: bool = False
    steps: int = 600
    seed: int = 0
    renders: str | Path | None = None
    arrays: str | Path | None = None
    weights: str = "not stated"
    licence: str = "not stated"


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """One method on one benchmark.

    Args:
        out: the run's folder.
        split: a file of `nvs-eval split`; None: the run makes its own in its folder.
        verify: how a split is held against the data, see `eval.protocols.splits.fit_scene`.
        label: the row's name in tables; None: the method's own.
        metrics: what is scored; None: all that the protocol has.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    """

    out: str | Path
    benchmark: Benchmark
    method: MethodOptions = field(default_factory=MethodOptions)
    protocol: Protocol
    split: str | Path | None = None
    verify: str = "files"
    label: str | None = None
    metrics: tuple[str, ...] | None = None
    device: str = "auto"
