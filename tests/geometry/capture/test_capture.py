"""What is said when a capture is opened."""

import json

import pytest
import torch
from scenes import ARC_SIZE, make_arc, save_grey, write_capture

from geometry.capture import open_capture
from geometry.options import PhotoOptions


def test_masks_that_are_not_used(tmp_path):
    write_capture(tmp_path, make_arc(3))
    content = json.loads((tmp_path / "transforms.json").read_text())
    save_grey(tmp_path / "mask.png", size=ARC_SIZE)
    content["frames"][0]["mask_path"] = "mask.png"
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="1 photo of 3 have masks, which only training uses"):
        open_capture(tmp_path, PhotoOptions(), torch.device("cpu"))
