"""What is said of a rendering that went wrong, and that nothing is said of a good one."""

from dataclasses import replace

import pytest
import torch

from geometry.capture import Capture
from geometry.console import listening
from geometry.scenes.scene import Frame, Scene
from geometry.verdict import UNTRUSTED, Verdict
from geometry.views import Cameras, Views
from nvs.gaussians import Gaussians
from nvs.scene import SplatScene
from nvs.verdict import Circumstances, judge, judge_finetuning, trust_in_words

WEAK = Circumstances(asked=4, cameras="auto", sfm_installed=True, model="tiny", knows_depth=False)


def scene(kind: str, *, trusted: float | None = None, photos: int = 4) -> SplatScene:
    nothing = {"means": (3,), "quats": (4,), "scales": (3,), "opacities": (), "sh": (1, 3)}
    cameras = Cameras(
        extrinsics=torch.eye(4).expand(1, photos, 4, 4), intrinsics=torch.eye(3).expand(1, photos, 3, 3)
    )
    return SplatScene(
        gaussians=Gaussians(**{name: torch.zeros(1, 1, *shape) for name, shape in nothing.items()}),
        views=Views(images=torch.zeros(1, photos, 3, 4, 4), cameras=cameras),
        seeds=tuple(range(photos)),
        seed_depth=torch.ones(1, photos, 4, 4),
        depth_kind=kind,
        background=torch.zeros(3),
        trusted=trusted,
    )


def capture(*, posed: bool, estimated: bool = False, photos: int = 4) -> Capture:
    frame = Frame(name="a", image=lambda: None, image_size=(4, 4))
    if posed:
        frame = replace(frame, extrinsics=torch.eye(4).numpy(), intrinsics=torch.eye(3).numpy())
    opened = Scene(name="s", frames=(frame,) * photos, estimated=estimated)
    return Capture(opened, list(range(photos)), [])


@pytest.mark.parametrize("share", [0.4, 0.5, 0.76])
def test_a_good_or_fair_capture_has_no_problem(share):
    verdict = judge(scene("sweep", trusted=share), capture(posed=True), WEAK)
    assert verdict == Verdict()
    assert (verdict.ok, verdict.status, verdict.title) == (True, 0, None)


def test_a_strong_network_may_place_the_photos():
    facts = replace(WEAK, model="large", knows_depth=True)
    assert judge(scene("network"), capture(posed=False), facts).ok


@pytest.mark.parametrize(
    ("made", "taken", "facts", "said"),
    [
        (scene("network"), capture(posed=False), WEAK, "structure from motion could not place enough"),
        (scene("network"), capture(posed=False), replace(WEAK, sfm_installed=False), "pip install pycolmap"),
        (scene("network"), capture(posed=False), replace(WEAK, cameras="network"), "leave out --unposed"),
        (scene("network"), capture(posed=True), WEAK, "leave out --depth network"),
        (scene("network", photos=1), capture(posed=False, photos=1), WEAK, "add photos from other places"),
        (scene("network"), capture(posed=False), replace(WEAK, trained=False), "UNTRAINED WEIGHTS"),
        (scene("sweep", trusted=0.1), capture(posed=True), WEAK, "agree on 10% of the depth"),
    ],
)
def test_every_failure_says_what_to_do_and_has_a_status(made, taken, facts, said):
    verdict = judge(made, taken, facts)
    assert verdict.status == UNTRUSTED == 3
    (problem,) = verdict.problems
    assert said in problem
    assert "--model small" in problem
    assert problem in verdict.title
    assert verdict.as_json()["trustworthy"] is False


def test_given_cameras_may_be_what_is_wrong_but_found_ones_are_of_these_photos():
    given, found = (
        judge(scene("sweep", trusted=0.2), capture(posed=True, estimated=e), WEAK) for e in (False, True)
    )
    assert "check the given cameras" in given.problems[0]
    assert "check the given cameras" not in found.problems[0]


def test_photos_left_out_are_a_note():
    facts = replace(WEAK, asked=6)
    verdict = judge(scene("sweep", trusted=0.6), capture(posed=True, estimated=True), facts)
    assert verdict.ok
    assert verdict.notes[0].startswith("2 of 6 photos could not be placed")


def test_it_is_told_to_who_listens_and_warned_of_where_nobody_does():
    verdict, heard = Verdict(problems=("All is lost.",), notes=("A thing.",)), []
    with listening(heard.append):
        verdict.tell()
    assert heard == ["note: A thing.", "DO NOT TRUST THESE PICTURES", "All is lost."]
    with listening(None), pytest.warns(UserWarning, match="All is lost"):
        verdict.tell()


def test_a_share_of_trusted_depth_comes_with_its_meaning():
    assert trust_in_words(0.57) == "57% of it trusted (good)"
    assert trust_in_words(0.498) == "49% of it trusted (fair: 50% and more is good)"
    assert trust_in_words(0.45) == "45% of it trusted (fair: 50% and more is good)"
    assert trust_in_words(0.1) == "10% of it trusted (poor: below 40%)"


def test_a_head_fine_tuned_on_guessed_cameras_or_without_gain_says_so():
    ok = judge_finetuning([], WEAK, {0: 20.0, 40: 21.0})
    assert ok == Verdict(subject=ok.subject)
    guessed = judge_finetuning(["garden"], WEAK, {0: 20.0, 40: 21.0})
    assert guessed.status == UNTRUSTED
    assert guessed.problems[0].startswith("garden: The cameras are a guess of 'tiny'")
    assert judge_finetuning(["garden"], replace(WEAK, knows_depth=True), {0: 20.0, 40: 21.0}).ok
    (note,) = judge_finetuning([], WEAK, {0: 20.0, 40: 19.5}).notes
    assert note.startswith("No step did better than the start (20.00 dB")
