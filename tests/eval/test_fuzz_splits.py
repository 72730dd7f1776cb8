"""Splits of any content: read, or refused in one line; none leads a run to write outside its folder."""

import json

import pytest
from fuzzing import CHANGES, EDITS, EXAMPLES, edited, hold, replaced

from eval.protocols import splits
from eval.protocols.selection import Rule
from geometry.errors import InputError


def written(path):
    cameras = {"extrinsics": [1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], "intrinsics": [1.0, 1, 0.5, 0.5]}
    scene = splits.SceneSplit(
        name="a/b",
        frames=("0.png", "1.png", "2.png"),
        context=("0.png", "2.png"),
        targets=("1.png",),
        renders=("1.png",),
        cameras=dict.fromkeys(("0.png", "1.png", "2.png"), cameras),
        files=dict.fromkeys(("0.png", "1.png", "2.png"), "ab"),
    )
    split = splits.Split(benchmark="x", rule=Rule(), scenes=(scene,))
    splits.write_split(path, split)
    assert splits.read_split(path) == split
    return json.loads(path.read_text())


def signed(content):
    content.pop("checksum", None)
    return content | {"checksum": splits._digest(content)}


@pytest.mark.extended
@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("strategy", [EDITS, CHANGES], ids=["bytes", "values"])
def test_any_content(tmp_path, examples, strategy):
    path = tmp_path / "split.json"
    content = written(path)

    def read(changes):
        if strategy is EDITS:
            path.write_bytes(edited(json.dumps(content).encode(), changes))
        else:
            new = json.loads(replaced(content, changes))
            try:
                path.write_text(json.dumps(signed(new)))
            except (ValueError, TypeError, AttributeError):  # NaN, of which no sum is made; no object at all
                path.write_text(json.dumps(new))
        splits.read_split(path)

    hold(read, strategy, examples)


ELSEWHERE = ["../x.png", "/x.png", "..\\x.png", "C:\\x.png", "a/../../x.png", "a/x.png", "", ".."]


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize("where", ["render", "scene"])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name, where):
    path = tmp_path / "split.json"
    content = written(path)
    if where == "render":
        content["scenes"][0]["targets"][0]["render"] = name
    else:
        content["scenes"][0]["name"] = name
    path.write_text(json.dumps(signed(content)))
    if (where, name) == ("scene", "a/x.png"):
        splits.read_split(path)
        return
    with pytest.raises(InputError, match="stay in their folder"):
        splits.read_split(path)
