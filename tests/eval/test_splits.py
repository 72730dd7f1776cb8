"""Splits: the rule on cases solved by hand, one order whatever the disk says, and refusals."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scenes import make_arc, names_of, write_capture

from eval.benchmarks.folder import Captures
from eval.protocols.selection import Rule, divide
from eval.protocols.selection import _varied_sampling as varied_sampling
from eval.protocols.splits import fit_scene, make_split, read_split, write_split
from geometry.datasets.sources import SceneSource
from geometry.errors import InputError
from geometry.scenes.scene import Frame, Scene
from geometry.scenes.view_selection import farthest_point_sampling


def pose(x=0.0, turn_deg=0.0):
    """A camera at (x, 0, 0), turned about y."""
    angle = np.deg2rad(turn_deg)
    E = np.eye(4)
    E[:3, :3] = [[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]]
    E[:3, 3] = -E[:3, :3] @ [x, 0, 0]
    return E


def test_targets_are_every_eighth_and_context_comes_from_the_rest():
    context, targets = divide(np.stack([pose(x) for x in range(20)]), Rule())
    assert targets == [0, 8, 16]
    assert len(context) == 12
    assert not set(context) & set(targets)
    assert context == sorted(context)
    assert divide(np.stack([pose(x) for x in range(20)]), Rule(offset=3))[1] == [3, 11, 19]


def test_sampling_on_a_line():
    # Candidates 1..7: the mean is 4; from there 1 and 7 are equally far, the lower index goes first.
    context, targets = divide(np.stack([pose(x) for x in range(8)]), Rule(context=3))
    assert (context, targets) == ([1, 4, 7], [0])
    assert divide(np.stack([pose(x) for x in range(8)]), Rule(context=1))[0] == [4]


def test_rotation_counts_as_well_as_translation():
    # Centres 1, 2, 3 with the middle one first chosen; a half turn in place counts as much as the whole way.
    poses = np.stack([pose(0), pose(1), pose(2), pose(2, 180), pose(3)])
    assert divide(poses, Rule(context=2))[0] == [2, 3]
    assert divide(poses, Rule(context=2, rotation=0.0))[0] == [1, 2]


def test_other_starts_and_weights():
    poses = np.stack([pose(x, 5 * x) for x in range(8)])
    assert divide(poses, Rule(context=1, start="first"))[0] == [1]
    assert divide(poses, Rule(context=1, start="last"))[0] == [7]
    rng = np.random.default_rng(0)
    poses = np.stack([pose(x, turn) for x, turn in rng.uniform(-60, 60, (30, 2))])
    candidates = [i for i in range(30) if i % 8]
    usual = farthest_point_sampling(poses, 12, candidates)
    assert varied_sampling(poses, Rule(), candidates) == usual
    assert varied_sampling(poses, Rule(translation=2.0, rotation=2.0), candidates) == usual
    assert varied_sampling(poses, Rule(rotation=0.0), candidates) != usual


def test_small_scenes_give_all_they_have():
    assert divide(np.stack([pose(x) for x in range(5)]), Rule()) == ([1, 2, 3, 4], [0])
    with pytest.raises(InputError, match="a target and a context view, got 1"):
        divide(np.stack([pose()]), Rule())


class Shuffled(SceneSource):
    """Readers may list scenes and photos in any order."""

    def __init__(self, order):
        self.order, self.names = order, ("room 10", "room 2")[:: 1 if order[0] else -1]

    def read(self, name):
        frames = [
            Frame(
                name=f"img{i}.jpg",
                image=lambda i=i: np.full((4, 6, 3), i, np.uint8),
                image_size=(4, 6),
                extrinsics=pose(i, 3 * i),
                intrinsics=np.diag([5.0, 5.0, 1.0]),
            )
            for i in range(12)
        ]
        return Scene(name=name, frames=tuple(frames[i] for i in self.order), source="test")


def test_order_is_natural_whatever_the_reader_says(tmp_path):
    orders = [range(12), [*range(11, -1, -1)], np.random.default_rng(0).permutation(12)]
    for i, order in enumerate(orders):
        write_split(tmp_path / f"{i}.json", make_split(Shuffled(list(order)), "folder", Rule(context=3)))
    first = (tmp_path / "0.json").read_bytes()
    assert first == (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()
    content = json.loads(first)
    assert [scene["name"] for scene in content["scenes"]] == ["room 2", "room 10"]
    assert content["scenes"][0]["frames"] == [f"img{i}.jpg" for i in range(12)]
    assert [t["name"] for t in content["scenes"][0]["targets"]] == ["img0.jpg", "img8.jpg"]
    assert content["rule"]["every"] == 8


def test_round_trip(tmp_path, capture):
    split = make_split(Captures(capture), "folder", Rule(context=4))
    write_split(tmp_path / "s.json", split)
    back = read_split(tmp_path / "s.json")
    assert back == split
    divided = fit_scene(back.scenes[0], Captures(capture).read("room"))
    assert [f.name for f in divided.targets] == [f"images/{n}" for n in (names_of(10)[0], names_of(10)[8])]


def test_a_changed_split_is_refused(tmp_path, capture):
    path = tmp_path / "s.json"
    write_split(path, make_split(Captures(capture), "folder", Rule(context=4)))
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"version": 99}))
    with pytest.raises(InputError, match="version 99"):
        read_split(path)
    content["scenes"][0]["context"][0] = content["scenes"][0]["targets"][0]["name"]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="checksum does not fit"):
        read_split(path)
    path.write_text('{"a": 1}')
    with pytest.raises(InputError, match="other JSON"):
        read_split(path)
    with pytest.raises(InputError, match="found no such file"):
        read_split(tmp_path / "absent.json")


def test_a_split_of_other_data_is_refused(tmp_path):
    views = make_arc()
    folder = write_capture(tmp_path / "room", views)
    scene_split = make_split(Captures(folder), "folder", Rule(context=4)).scenes[0]
    photo = folder / "images" / names_of(10)[8]
    good = photo.read_bytes()
    photo.write_bytes((folder / "images" / names_of(10)[1]).read_bytes())
    with pytest.raises(InputError, match=r"frame_9\.png is another file"):
        fit_scene(scene_split, Captures(folder).read("room"))
    fit_scene(scene_split, Captures(folder).read("room"), verify="cameras")
    photo.write_bytes(good)

    moved = views[8].extrinsics.copy()
    moved[0, 3] += 0.01
    write_capture(folder, [*views[:8], replace(views[8], extrinsics=moved), views[9]])
    with pytest.raises(InputError, match=r"frame_9\.png has another camera"):
        fit_scene(scene_split, Captures(folder).read("room"))
    with pytest.raises(InputError, match=r"expected 10 photos, got 9; images/frame_10\.png is missing"):
        fit_scene(scene_split, Captures(write_capture(tmp_path / "less/room", views[:9])).read("room"))
    with pytest.raises(InputError, match=r"images/frame_11\.png is not in the split"):
        fit_scene(scene_split, Captures(write_capture(tmp_path / "more/room", make_arc(11))).read("room"))


def test_the_same_photos_at_another_resolution(tmp_path):
    small = make_split(Captures(write_capture(tmp_path / "a/room", make_arc())), "folder", Rule()).scenes[0]
    large = Captures(write_capture(tmp_path / "b/room", make_arc(size=(72, 128)))).read("room")
    with pytest.raises(InputError, match="verify=cameras"):
        fit_scene(small, large)
    fit_scene(small, large, verify="cameras")


def test_captures_need_poses(tmp_path, capture):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes((capture / "images" / names_of(1)[0]).read_bytes())
    with pytest.raises(InputError, match="expected photos with poses"):
        make_split(Captures(tmp_path / "photos"), "folder", Rule())
    (tmp_path / "empty/inner").mkdir(parents=True)
    with pytest.raises(InputError, match="nor is any folder in it a capture"):
        Captures(tmp_path / "empty")
