"""What is said when a capture is opened."""

import json

import numpy as np
import pytest
import torch
from scenes import ARC_SIZE, make_arc, save, write_capture

from geometry.capture import load_views, open_capture
from geometry.console import listening
from geometry.options import PhotoOptions


def test_what_masks_hide_is_said(tmp_path):
    write_capture(tmp_path, make_arc(4))
    content = json.loads((tmp_path / "transforms.json").read_text())
    mask = np.full((*ARC_SIZE, 3), 255, np.uint8)
    mask[:, : ARC_SIZE[1] // 2] = 0
    save(tmp_path / "mask.png", mask)
    content["frames"][0]["mask_path"] = "mask.png"
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    said, cpu, options = [], torch.device("cpu"), PhotoOptions(process_res=56)
    with listening(said.append):
        capture = open_capture(tmp_path, options, cpu)
        views, _ = load_views(capture, capture.context, options, cpu)
    assert "masks: 1 of 4 photos have one" in said
    assert "masks hide 12.5% of 4 photos" in said
    assert views.mask.sum() == views.mask.numel() * 7 // 8


def test_a_damaged_photo_is_left_out_of_a_capture(tmp_path):
    write_capture(tmp_path, make_arc(4))
    damaged = tmp_path / "images/frame_2.png"
    damaged.write_bytes(damaged.read_bytes()[:-300])
    with pytest.warns(UserWarning, match=r"1 of 4 photos cannot be read and are left out: .*frame_2\.png"):
        capture = open_capture(tmp_path, PhotoOptions(), torch.device("cpu"))
    assert [name[-5] for name in capture.names] == ["1", "3", "4"]
