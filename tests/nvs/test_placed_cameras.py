"""Photos placed among given cameras, from end to end: refinement moves them, and never the given ones."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from scenes import make_arc, scene_of, write_capture

import nvs
from geometry.scenes import structure_from_motion as sfm
from geometry.scenes.photos import open_photos


@pytest.mark.slow
def test_placed_cameras_are_refined_and_given_ones_stay(tmp_path, monkeypatch):
    arc = make_arc(8, (54, 96))
    truth, wrong = scene_of(arc), np.eye(4)
    wrong[:3, :3] = cv2.Rodrigues(np.array([0.012, -0.012, 0.0]))[0]
    folder = write_capture(tmp_path / "capture", arc)
    path = folder / "transforms.json"
    content = json.loads(path.read_text())
    content["frames"] = [f for f in content["frames"] if f["file_path"][-5] not in "36"]
    path.write_text(json.dumps(content))

    def place_photos(scene, photos, *, seed):
        poses = [wrong @ E if i in (2, 5) else E for i, E in enumerate(truth.extrinsics)]
        frames = [replace(scene.frames[i], extrinsics=poses[i]) for i in sorted(photos)]
        return sfm.Placed(scene=replace(scene, frames=tuple(frames)), indices=sorted(photos), missing=[])

    monkeypatch.setattr(sfm, "available", lambda: True)
    monkeypatch.setattr(sfm, "place_photos", place_photos)
    small = {"process_res": 98, "frames": 2, "size": (54, 96)}
    nvs.render(folder, tmp_path / "out", refine=60, **small)
    off = []
    for frame, view in zip(open_photos(tmp_path / "out/transforms.json").frames, arc):
        turn = frame.extrinsics[:3, :3] @ view.extrinsics[:3, :3].T
        off.append(np.linalg.norm(cv2.Rodrigues(turn)[0]))
    given, placed = np.delete(off, [2, 5]), np.array(off)[[2, 5]]
    assert given.max() < 1e-4
    assert placed.max() < 0.9 * np.hypot(0.012, 0.012)  # on the way back
