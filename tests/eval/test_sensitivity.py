"""Sensitivity: every unstated choice is varied alone, and the base stays the run as configured."""

import re

import pytest

from eval.__main__ import main
from eval.run_folder import Store
from eval.sensitivity import CHOICES
from geometry.formats.text import read_object

pytestmark = pytest.mark.extended  # whole runs, seconds each


def test_every_choice_has_its_line(tmp_path, capture, capsys):
    arguments = [
        f"out={tmp_path / 's'}",
        f"benchmark.root={capture}",
        "metrics=[psnr,ssim,lpips_vgg,lpips_alex]",
    ]
    arguments += ["device=cpu", "method=nearest", "benchmark.rule.context=4", "benchmark.size=[32,40]"]
    assert main(["sensitivity", *arguments]) == 0
    text = capsys.readouterr().out
    assert (tmp_path / "s/sensitivity.md").read_text() == text
    base = read_object(Store(tmp_path / "s/base").summary, "a run")
    for choice in CHOICES:
        line = next(line for line in text.splitlines() if line.startswith(f"| {choice.text} |"))
        kept, psnr, change = [cell.strip() for cell in line.split("|")][2:5]
        summary = read_object(Store(tmp_path / "s" / choice.folder).summary, "a run")
        assert re.fullmatch(r"\d of 4", kept)
        assert f"{summary['means']['psnr']:.2f}" == psnr
        assert float(change) == round(summary["means"]["psnr"] - base["means"]["psnr"], 2)
    assert "| photos stretched, not cropped | 4 of 4 |" in text
    assert "| SSIM, 7 x 7 uniform window, mirrored borders |" in text
    assert "| LPIPS on AlexNet instead of VGG | missing |" in text
    assert "lpips_vgg is missing: LPIPS (vgg): " in text

    assert main(["sensitivity", *arguments, "split=x.json"]) == 2
    assert "makes its own splits" in capsys.readouterr().err
