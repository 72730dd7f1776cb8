"""Tanks and Temples trajectories, by hand and on a real file."""

import numpy as np
import pytest

from geometry.datasets.tanks_log import read_log
from geometry.errors import InputError

ENTRY = "0 0 0\n1 0 0 5\n0 1 0 6\n0 0 1 7\n0 0 0 1\n"
MISSING = "1 -1 0\n1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n"


def test_camera_to_world_becomes_world_to_camera(tmp_path):
    (tmp_path / "a.log").write_text(ENTRY + MISSING)
    trajectory = read_log(tmp_path / "a.log")
    np.testing.assert_allclose(trajectory.extrinsics[0, :3, 3], [-5, -6, -7])
    assert trajectory.registered.tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "5 lines per photo"),
        (ENTRY[:-8], "5 lines per photo"),
        (ENTRY.replace("0 0 0\n1", "0 0\n1", 1), "line 1: expected three integers"),
        (ENTRY.replace("0 1 0 6", "0 1 0"), "line 2: expected 4 rows"),
        (ENTRY.replace("6", "six"), "line 3: expected numbers"),
        (ENTRY.replace("0 1 0 6", "0 -1 0 6"), "mirrored"),
    ],
)
def test_malformed_files_are_named(tmp_path, text, message):
    (tmp_path / "a.log").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_log(tmp_path / "a.log")
    assert "a.log" in str(error.value)


def test_real_files(captures_dir):
    trajectory = read_log(captures_dir / "tnt_barn_mini/Barn_COLMAP_SfM.log")
    assert len(trajectory.extrinsics) == 410
