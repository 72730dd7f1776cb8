"""Whether a rendering is to be trusted, and what to do where it is not: a judgement in plain words."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from geometry.capture import Capture
from geometry.capture.place import networks_world
from geometry.scenes.panorama import SOURCE as PANORAMA
from geometry.verdict import LARGER, Verdict, not_placed
from nvs.scene import SplatScene

# Shares of swept depth that photos agree on. Measured: captures that render well have 53 to 76 %, the same
# from 4 to 6 photos far apart 22 to 38 %, tourists' photos of one facade 35 %, noise up to 31 %.
GOOD, POOR = 0.5, 0.4

_CLOSER = (
    "take photos closer together, so that each shows at least half of what its neighbour shows, sharp and of "
    "things that stand still"
)


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What the photos and options were, as far as a verdict needs it."""

    asked: int  # photos of which cameras were wanted
    cameras: str  # `PhotoOptions.camera_source`
    sfm_installed: bool  # structure from motion could be tried
    model: str  # the network's size
    knows_depth: bool  # its depth and cameras are worth more than those of classical matching
    trained: bool = True  # False for random weights


def judge(scene: SplatScene, capture: Capture, facts: Circumstances) -> Verdict:
    """What speaks against trusting a scene made of a capture whose cameras were looked for."""
    problems = []
    guessed = scene.depth_kind == "network" and not facts.knows_depth
    if guessed and not facts.trained:
        problems.append(f"UNTRAINED WEIGHTS: these pictures mean nothing; {LARGER}.")
    elif guessed:
        photos = 1 if capture.scene.source == PANORAMA else scene.views.images.shape[1]
        posed = capture.scene.posed and not networks_world(capture)
        problems.append(_guess(photos, posed, facts))
    if scene.trusted is not None and scene.trusted < POOR:
        wrong_cameras = "" if capture.scene.estimated else ", or check the given cameras"
        problems.append(
            f"The photos agree on {scene.trusted:.0%} of the depth (poor: below {POOR:.0%}), the rest is "
            f"guessed: {_CLOSER}, or {LARGER}{wrong_cameras}."
        )
    notes = not_placed(facts.asked, len(capture.scene)) if capture.scene.estimated else ()
    return Verdict(problems=tuple(problems), notes=notes)


def trust_in_words(share: float) -> str:
    """A share of trusted depth, and what it means."""
    if share >= GOOD:
        meaning = "good"
    elif share >= POOR:
        meaning = f"fair: {GOOD:.0%} and more is good"
    else:
        meaning = f"poor: below {POOR:.0%}"
    return f"{math.floor(100 * share + 1e-9)}% of it trusted ({meaning})"


def judge_finetuning(unplaced: Sequence[str], facts: Circumstances, psnr: Mapping[int, float]) -> Verdict:
    """What speaks against a head that was fine-tuned on captures.

    Args:
        unplaced: the captures whose cameras are the network's.
        psnr: of held-out photos, dB, by step.
    """
    problems = [] if facts.knows_depth else [f"{name}: {_guess(2, False, facts)}" for name in unplaced]
    start, best = psnr[min(psnr)], max(psnr.values())
    stayed = (
        f"No step did better than the start ({start:.2f} dB on held-out photos), which best.safetensors "
        "therefore is: more photos, more steps or a lower --lr may help.",
    )
    return Verdict(
        problems=tuple(problems), notes=() if best > start else stayed, subject="what this head learned"
    )


def _guess(photos: int, posed: bool, facts: Circumstances) -> str:
    """Why a weak network had to place photos or surfaces, and what helps."""
    weak = f"{facts.model!r}, too small to know"
    if photos == 1:
        return f"The depth of one photo is a guess of {weak} it: add photos from other places, or {LARGER}."
    if posed:
        return f"The depth is a guess of {weak} it: leave out --depth network, or {LARGER}."
    cameras = f"The cameras are a guess of {weak} them"
    if facts.cameras in ("network", "given"):
        return f"{cameras}: leave out --unposed and --cameras, or {LARGER}."
    if not facts.sfm_installed:
        return (
            f"{cameras}, because pycolmap, which would find them, is not installed: pip install pycolmap, "
            f"or {LARGER}."
        )
    return (
        f"{cameras}, because structure from motion could not place enough of the photos: {_CLOSER}, add "
        f"photos between those, remove photos of other places, or {LARGER}."
    )
