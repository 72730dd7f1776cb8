"""Whose cameras `nvs render --cameras` takes; structure from motion itself is stood in for."""

from dataclasses import replace

import numpy as np
import pytest

from geometry.capture import Capture, check_choice, find_cameras
from geometry.console import listening
from geometry.errors import InputError
from geometry.scenes import structure_from_motion as sfm
from geometry.scenes.scene import Frame, Scene


def a_capture(count=12, context=None, targets=()):
    frames = tuple(Frame(name=f"{i}.jpg", image=lambda: None, image_size=(20, 20)) for i in range(count))
    kept_out = set(targets)
    context = [i for i in range(count) if i not in kept_out] if context is None else context
    return Capture(Scene(name="photos", frames=frames), context, list(targets))


@pytest.fixture
def place(monkeypatch):
    """Lets a test say which photos have a place; returns the lists of photos that were tried."""
    tried = []

    def stand_in(placeable):
        def place_photos(scene, photos, *, seed):
            tried.append(sorted(photos))
            found = [i for i in sorted(photos) if placeable(i, len(photos))]
            pose, K = np.eye(4), np.eye(3)
            frames = []
            for i in found:
                pose = pose.copy()
                pose[0, 3] = i
                frames.append(replace(scene.frames[i], extrinsics=pose, intrinsics=K))
            scene = replace(scene, frames=tuple(frames), source=sfm.SOURCE)
            return sfm.Placed(
                scene=scene, indices=found, missing=[i for i in sorted(photos) if i not in found]
            )

        monkeypatch.setattr(sfm, "available", lambda: True)
        monkeypatch.setattr(sfm, "place_photos", place_photos)
        return tried

    return stand_in


def choose(capture, wanted="auto", trust_network=False):
    with listening():
        return find_cameras(capture, wanted, trust_network=trust_network, seed=0)


def test_photos_without_a_place_are_named_and_left_out(place, capsys):
    place(lambda i, n: i not in (3, 8))
    chosen = choose(a_capture(targets=[0, 8]))
    assert chosen.scene.posed
    assert chosen.names == ["1.jpg", "2.jpg", "4.jpg", "5.jpg", "6.jpg", "7.jpg", "9.jpg", "10.jpg", "11.jpg"]
    assert chosen.target_names == ["0.jpg"]
    assert "placed 10 of 12 photos; left out: 3.jpg, 8.jpg" in capsys.readouterr().err


def test_photos_between_help_and_the_number_of_inputs_stays(place, capsys):
    tried = place(lambda i, n: n > 4)
    chosen = choose(a_capture(context=[0, 4, 8, 11]))
    assert [len(photos) for photos in tried] == [4, 12]
    assert len(chosen.context) == 4
    assert "trying again" in capsys.readouterr().err


def test_too_few_end_in_the_network_or_in_an_error(place, capsys):
    place(lambda i, n: i < 7)
    capture = a_capture()
    assert choose(capture) is capture
    assert "7.jpg, 8.jpg" in capsys.readouterr().err
    with pytest.raises(InputError, match="got 7 of 12"):
        choose(capture, "sfm")


def test_a_trust_network_keeps_its_cameras_unless_told(place):
    tried = place(lambda i, n: True)
    assert not choose(a_capture(), trust_network=True).scene.posed
    assert not choose(a_capture(), "network").scene.posed
    assert not choose(a_capture(count=1)).scene.posed
    assert tried == []
    assert choose(a_capture(), "sfm", trust_network=True).scene.posed


def test_given_cameras_are_kept_and_asked_for(place):
    place(lambda i, n: True)
    posed = choose(a_capture())
    assert choose(posed) is posed
    assert choose(posed, "given") is posed
    with pytest.raises(InputError, match="--cameras given"):
        choose(a_capture(), "given")


def test_without_the_package_auto_says_what_would_help(monkeypatch, capsys):
    monkeypatch.setattr(sfm, "available", lambda: False)
    assert not choose(a_capture()).scene.posed
    assert "pip install pycolmap" in capsys.readouterr().err
    with pytest.raises(InputError, match="pip install pycolmap"):
        check_choice("sfm")
