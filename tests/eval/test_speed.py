"""The speed protocol: its JSON, its table, and the search for the most views."""

import pytest
import torch

from eval.__main__ import main
from eval.run_folder import Store
from eval.speed import most_views
from eval.tables.rows import make_tables
from geometry.formats.text import read_object


@pytest.mark.extended
def test_json_and_table(tmp_path, capsys):
    words = [
        "protocol=speed",
        "model=untrained:tiny",
        "speed.views=2",
        "speed.image_size=[28,42]",
        "device=cpu",
    ]
    assert main(["run", f"out={tmp_path}", *words, "speed.rounds=1"]) == 0
    found = read_object(Store(tmp_path, "speed").summary, "a run")
    assert found["means"]["images_per_s"] == pytest.approx(2 / found["seconds"][0], rel=1e-2)
    assert found["means"]["peak_gb"] > 0.05
    assert found["means"]["max_views"] is None
    assert main(["table", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert "A100" not in table  # of another size
    assert "most views" not in table
    as_printed = found | {"image_size": [336, 504], "views": 32}
    (compared,) = make_tables([as_printed])
    rows = {row.method: row for row in compared.rows}
    assert rows["DA3-Large, A100"].values == {"images_per_s": 78.4, "max_views": 1500}
    assert "A100-80GB, another machine than ours" in " ".join(compared.notes)


@pytest.mark.parametrize(("room", "first"), [(1000, 32), (33, 32), (32, 32), (20, 32), (97, 1)])
def test_most_views_are_found_to_a_twentieth(room, first):
    def call(views):
        if views > room:
            raise torch.OutOfMemoryError("no room")

    found = most_views(call, first)
    assert found == 0 if room < first else 0 <= room - found <= max(1, 0.05 * room)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("speed.image_size=[30,42]", "multiples of 14"),
        ("speed.views=0", "views and rounds"),
        ("method=warp", "expected one of model"),
    ],
)
def test_mistakes(tmp_path, capsys, wrong, message):
    assert main(["run", "protocol=speed", f"out={tmp_path}", "speed.image_size=[28,42]", wrong]) == 2
    assert message in capsys.readouterr().err
