"""Is a downloaded data set complete and read correctly? What `geometry data check` does.

Opens some scenes with the reader whose layout the folder has, decodes some frames, and asks whether depth,
poses and intrinsics fit each other (`geometry.scenes.checks.depth`), or, without depth, whether points and
photos fit the poses (`geometry.scenes.checks.cameras`). It names what is inconsistent, and the
change that would correct it.
"""

from dataclasses import dataclass, field

import numpy as np

from geometry.datasets.sources import SceneSource
from geometry.errors import InputError
from geometry.scenes.checks.cameras import HYPOTHESES, check_cameras, check_scale
from geometry.scenes.checks.depth import Reading, check_depth
from geometry.scenes.scene import Scene
from geometry.scenes.view_selection import evenly_spaced

_FOV_DEG = (5.0, 140.0)  # outside, a focal length is suspicious
_METRES = (0.05, 2000.0)  # median depth outside is not in metres


@dataclass(frozen=True, kw_only=True)
class SceneReport:
    """What was found in one scene."""

    name: str
    frames: int
    verdict: str  # "consistent", "contradiction" or "undecided"
    lines: list[str]  # for people
    numbers: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """For a file: numbers that are not finite are null."""
        numbers = {key: value if np.isfinite(value) else None for key, value in self.numbers.items()}
        return {
            "name": self.name,
            "frames": self.frames,
            "verdict": self.verdict,
            "lines": self.lines,
            **numbers,
        }


def check_scene(scene: Scene, *, decode: int = 3) -> SceneReport:
    """Decode ``decode`` frames and test the scene's conventions.

    Raises:
        InputError: a file is missing or damaged.
    """
    lines, numbers, verdict = [], {}, "undecided"
    lines.append(_describe(scene, decode))
    lines += _suspicious_intrinsics(scene)
    if not scene.posed:
        lines.append("no cameras for some frames: nothing to compare")
        return SceneReport(name=scene.name, frames=len(scene), verdict=verdict, lines=lines)
    check_scale(scene)
    if sum(frame.depth is not None for frame in scene.frames) >= 2:
        with_depth = scene.select(i for i, frame in enumerate(scene.frames) if frame.depth is not None)
        found = check_depth(with_depth)
        verdict = found.verdict
        numbers = {"agreement": found.agreement, "difference": found.difference, "samples": found.samples}
        lines += _metre_line(with_depth)
        share = f"{found.agreement:.0%} of the pixels seen in two views agree on depth"
        if verdict == "consistent":
            lines.append(
                f"{share} (median difference {found.difference:.2%}): poses, intrinsics and depth fit"
            )
            lines += [f"indistinguishable here: {_words(r)}" for r in found.rivals[:3]]
        elif verdict == "contradiction" and found.better is not None:
            lines.append(f"only {share}; they would agree with {_words(found.better)}")
            lines += [f"or with {_words(r)}" for r in found.rivals[:3]]
        elif verdict == "contradiction":
            lines.append(f"only {share}, and no change of convention corrects it")
        else:
            lines.append("too few pixels are seen in two of the views compared: nothing decided")
    else:
        cameras = check_cameras(scene)
        verdict, support = cameras.verdict, cameras.support.get("given", 0.0)
        numbers = {"support": support}
        what = {"points": "sparse points", "photos": "features matched between photos", "frusta": "frusta"}
        evidence = what.get(cameras.evidence, "nothing")
        if verdict == "consistent":
            lines.append(f"no depth; {support:.0%} of the {evidence} agree with the poses")
        elif verdict == "contradiction":
            mend = "no change of convention corrects it"
            if cameras.better:
                ways = ", or ".join(HYPOTHESES[name] for name in cameras.better)
                mend = f"they would agree ({cameras.support[cameras.better[0]]:.0%}) {ways}"
            lines.append(f"no depth; only {support:.0%} of the {evidence} agree with the poses; {mend}")
        else:
            lines.append("no depth, and too little else to compare: nothing decided")
    return SceneReport(name=scene.name, frames=len(scene), verdict=verdict, lines=lines, numbers=numbers)


def check_source(source: SceneSource, *, scenes: int = 3, decode: int = 3) -> list[SceneReport]:
    """Reports of some scenes, evenly spread over the source; a damaged one is reported, not raised."""
    reports = []
    for index in evenly_spaced(len(source), scenes):
        try:
            reports.append(check_scene(source[index], decode=decode))
        except InputError as error:
            name = source.names[index]
            reports.append(SceneReport(name=name, frames=0, verdict="contradiction", lines=[str(error)]))
    return reports


def _describe(scene: Scene, decode: int) -> str:
    sizes = {frame.image_size for frame in scene.frames}
    H, W = scene.frames[0].image_size
    shape = f"{H} x {W}" if len(sizes) == 1 else f"{len(sizes)} different sizes"
    for index in evenly_spaced(len(scene), decode):
        scene.frames[index].load()
    parts = [f"{len(scene)} frames, {shape}"]
    depths = [scene.frames[i].load_depth() for i in evenly_spaced(len(scene), decode)]
    known = [depth for depth in depths if depth is not None]
    if known:
        share = np.mean([(depth > 0).mean() for depth in known])
        parts.append(f"depth on {share:.0%} of the pixels, {known[0].shape[0]} x {known[0].shape[1]}")
    if scene.points is not None:
        parts.append(f"{len(scene.points)} sparse points")
    parts.append("in metres" if scene.metric else "of arbitrary scale")
    return ", ".join(parts)


def _suspicious_intrinsics(scene: Scene) -> list[str]:
    lines = []
    for frame in scene.frames[:1]:
        if frame.intrinsics is None:
            continue
        (H, W), K = frame.image_size, frame.intrinsics
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
    known = depth[depth > 0]
    if not scene.metric or len(known) == 0:
        return []
    median = float(np.median(known))
    if _METRES[0] < median < _METRES[1]:
        return []
    return [f"suspicious: median depth {median:.3g} in a set that is in metres"]


def _words(reading: Reading) -> str:
    return " and ".join(reading.changes)
