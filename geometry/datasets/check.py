"""Is a downloaded data set complete and read correctly? What `geometry data check` does.

Depth, poses and intrinsics must fit each other (`geometry.scenes.checks.depth`), or, without depth, points
and photos the poses (`geometry.scenes.checks.cameras`).
"""

from dataclasses import dataclass, field

import numpy as np

from geometry.datasets.sources import SceneSource
from geometry.errors import InputError
from geometry.scenes.checks.cameras import HYPOTHESES, check_cameras, check_scale
from geometry.scenes.checks.depth import check_depth
from geometry.scenes.scene import Scene
from geometry.scenes.view_selection import evenly_spaced

_EVIDENCE = {"points": "sparse points", "photos": "features matched between photos", "frusta": "frusta"}
_FOV_DEG = (5.0, 140.0)  # outside, a focal length is suspicious
_METRES = (0.05, 2000.0)  # median depth outside is not in metres


@dataclass(frozen=True, kw_only=True)
class SceneReport:
    """What was found in one scene."""

    name: str
    frames: int = 0
    verdict: str  # "consistent", "contradiction" or "undecided"
    lines: list[str]  # for people
    numbers: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """For a file: numbers that are not finite are null."""
        numbers = {key: value if np.isfinite(value) else None for key, value in self.numbers.items()}
        return {key: value for key, value in vars(self).items() if key != "numbers"} | numbers


def check_source(source: SceneSource, *, scenes: int = 3, decode: int = 3) -> list[SceneReport]:
    """Reports of some scenes, evenly spread over the source; a damaged one is reported, not raised."""
    reports = []
    for index in evenly_spaced(len(source), scenes):
        try:
            reports.append(check_scene(source[index], decode=decode))
        except InputError as error:
            name = source.names[index]
            reports.append(SceneReport(name=name, verdict="contradiction", lines=[str(error)]))
    return reports


def check_scene(scene: Scene, *, decode: int = 3) -> SceneReport:
    """Decode ``decode`` frames and test the scene's conventions.

    Raises:
        InputError: a file is missing or damaged.
    """
    lines = [_describe(scene, decode), *_suspicious_intrinsics(scene)]
    with_depth = [i for i, frame in enumerate(scene.frames) if frame.depth is not None]
    if not scene.posed:
        lines.append("no cameras for some frames: nothing to compare")
        return SceneReport(name=scene.name, frames=len(scene), verdict="undecided", lines=lines)
    check_scale(scene)
    if len(with_depth) >= 2:
        verdict, numbers, found = _with_depth(scene.select(with_depth))
    else:
        verdict, numbers, found = _without_depth(scene)
    lines += found
    return SceneReport(name=scene.name, frames=len(scene), verdict=verdict, lines=lines, numbers=numbers)


def _with_depth(scene: Scene) -> tuple[str, dict[str, float], list[str]]:
    found = check_depth(scene)
    numbers = {"agreement": found.agreement, "difference": found.difference, "samples": found.samples}
    lines = _metre_line(scene)
    share = f"{found.agreement:.0%} of the pixels seen in two views agree on depth"
    rivals = [" and ".join(reading.changes) for reading in found.rivals[:3]]
    if found.verdict == "consistent":
        lines.append(f"{share} (median difference {found.difference:.2%}): poses, intrinsics and depth fit")
        lines += [f"indistinguishable here: {rival}" for rival in rivals]
    elif found.verdict == "undecided":
        lines.append("too few pixels are seen in two of the views compared: nothing decided")
    elif found.better is None:
        lines.append(f"only {share}, and no change of convention corrects it")
    else:
        lines.append(f"only {share}; they would agree with {' and '.join(found.better.changes)}")
        lines += [f"or with {rival}" for rival in rivals]
    return found.verdict, numbers, lines


def _without_depth(scene: Scene) -> tuple[str, dict[str, float], list[str]]:
    found = check_cameras(scene)
    support = found.support.get("given", 0.0)
    share = f"{support:.0%} of the {_EVIDENCE.get(found.evidence, 'nothing')} agree with the poses"
    line = f"no depth; {share}"
    if found.verdict == "undecided":
        line = "no depth, and too little else to compare: nothing decided"
    elif found.verdict == "contradiction":
        mend = "no change of convention corrects it"
        if found.better:
            ways = ", or ".join(HYPOTHESES[name] for name in found.better)
            mend = f"they would agree ({found.support[found.better[0]]:.0%}) {ways}"
        line = f"no depth; only {share}; {mend}"
    return found.verdict, {"support": support}, [line]


def _describe(scene: Scene, decode: int) -> str:
    sizes = {frame.image_size for frame in scene.frames}
    H, W = scene.frames[0].image_size
    parts = [f"{len(scene)} frames", f"{H} x {W}" if len(sizes) == 1 else f"{len(sizes)} different sizes"]
    frames = [scene.frames[i] for i in evenly_spaced(len(scene), decode)]
    for frame in frames:
        frame.load()
    known = [depth for depth in (frame.load_depth() for frame in frames) if depth is not None]
    if known:
        share = np.mean([(depth > 0).mean() for depth in known])
        parts.append(f"depth on {share:.0%} of the pixels, {known[0].shape[0]} x {known[0].shape[1]}")
    if scene.points is not None:
        parts.append(f"{len(scene.points)} sparse points")
    parts.append("in metres" if scene.metric else "of arbitrary scale")
    return ", ".join(parts)


def _suspicious_intrinsics(scene: Scene) -> list[str]:
    (H, W), K, lines = scene.frames[0].image_size, scene.frames[0].intrinsics, []
    if K is None:
        return []
    if not (0.25 < K[0, 2] / W < 0.75 and 0.25 < K[1, 2] / H < 0.75):
        lines.append(
            f"suspicious: principal point ({K[0, 2]:.0f}, {K[1, 2]:.0f}) of {W} x {H} pixels (W x H): "
            f"do the intrinsics belong to another resolution?"
        )
    fov = 2 * np.degrees(np.arctan(0.5 * W / K[0, 0]))
    if not _FOV_DEG[0] < fov < _FOV_DEG[1]:
        lines.append(f"suspicious: horizontal field of view of {fov:.0f} degrees")
    return lines


def _metre_line(scene: Scene) -> list[str]:
    depth = scene.frames[len(scene) // 2].load_depth()
    median = float(np.median(depth[depth > 0])) if (depth > 0).any() else 1.0
    if not scene.metric or _METRES[0] < median < _METRES[1]:
        return []
    return [f"suspicious: median depth {median:.3g} in a set that is in metres"]
