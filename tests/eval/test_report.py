"""The report: one file, the right targets at either end, pictures inside it."""

import base64
import re
import shutil

import cv2
import numpy as np
import pytest

from eval.__main__ import main
from eval.run_folder import Store
from eval.tables.html import page, panel, table
from geometry.formats.text import read_object

pytestmark = pytest.mark.extended  # whole runs, seconds each


@pytest.fixture
def finished(tmp_path, captures):
    out = tmp_path / "run"
    arguments = [f"out={out}", f"benchmark.root={captures}", "metrics=[psnr,ssim]", "device=cpu"]
    small = ["benchmark.rule.context=4", "benchmark.long_side=64"]
    assert main(["run", *arguments, *small, "method=nearest"]) == 0
    return out


def test_page_has_worst_and_best_and_needs_no_other_file(finished, capsys):
    capsys.readouterr()
    assert main(["report", str(finished), "--count", "2"]) == 0
    path = capsys.readouterr().out.strip()
    text = (finished / "report.html").read_text()
    assert path == str(finished / "report.html")
    assert not re.search(r'(src|href)="(?!data:)', text)
    pictures = re.findall(r"data:image/jpeg;base64,([^\"]+)", text)
    assert len(pictures) == 4 * 3  # nearest has no depth
    assert text.count('<div class="missing">none</div>') == 4
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(pictures[0]), np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == (36, 64, 3)

    scenes = read_object(Store(finished).summary, "a run")["scenes"]
    ranked = sorted((t["psnr"], s["scene"], t["name"]) for s in scenes for t in s["targets"])
    shown = re.findall(r"<h3>(\S+) / (\S+): psnr", text)
    assert shown == [item[1:] for item in (*ranked[:2], *ranked[:-3:-1])]


def test_mistakes(finished, captures, capsys, tmp_path):
    assert main(["report", str(finished), "--metric", "lpips_vgg"]) == 2
    assert "--metric lpips_vgg: missing" in capsys.readouterr().err
    moved = shutil.move(captures, tmp_path / "elsewhere")
    assert main(["report", str(finished)]) == 2
    assert "captures" in capsys.readouterr().err
    assert main(["report", str(finished), "--root", str(moved), "--count", "9"]) == 0
    assert main(["report", str(tmp_path / "absent")]) == 2


def test_methods_stand_side_by_side(finished, captures, tmp_path, capsys):
    """Of fewer targets than the page has room for, some are the worst and some the best."""
    arguments = [
        f"benchmark.root={captures}",
        "metrics=[psnr,ssim]",
        "device=cpu",
        "benchmark.rule.context=4",
    ]
    other = tmp_path / "mean colour"
    words = [*arguments, "benchmark.long_side=64", "method=mean_colour"]
    assert main(["run", f"out={other}", *words]) == 0
    capsys.readouterr()
    assert main(["report", str(finished), str(other)]) == 2
    assert "expected --out FILE" in capsys.readouterr().err
    out = tmp_path / "both.html"
    assert main(["report", str(finished), str(other), f"out={out}", "--count", "9"]) == 0
    text = out.read_text()
    worst, best = (
        text.index("Worst targets by psnr of nearest"),
        text.index("Best targets by psnr of nearest"),
    )
    shown = [match.start() for match in re.finditer("<h3>", text)]
    assert [sum(worst < at < best for at in shown), sum(at > best for at in shown)] == [3, 3]
    assert text.count('style="--columns:3"') == 6
    assert (
        '<th>scene</th><th class="number">nearest context view</th><th class="number">mean colour</th>'
        in text
    )
    scenes = [read_object(Store(folder).summary, "a run")["scenes"] for folder in (finished, other)]
    for mine, theirs in zip(*scenes):
        cells = "".join(f'<td class="number">{s["means"]["psnr"]:.2f}</td>' for s in (mine, theirs))
        assert f"<td>{mine['scene']}</td>{cells}" in text
    assert (
        main(["run", f"out={tmp_path / 'larger'}", *arguments, "benchmark.long_side=48", "method=nearest"])
        == 0
    )
    assert main(["report", str(finished), str(tmp_path / "larger"), f"out={out}"]) == 2
    assert "expected runs of one protocol" in capsys.readouterr().err


def test_a_file_that_is_no_report_is_not_replaced(finished, capsys):
    for _ in range(2):
        assert main(["report", str(finished), "--count", "1"]) == 0
    (finished / "report.html").write_text("<!doctype html>mine")
    capsys.readouterr()
    assert main(["report", str(finished)]) == 2
    assert "report.html: expected no file or an earlier report" in capsys.readouterr().err
    assert (finished / "report.html").read_text() == "<!doctype html>mine"


def test_text_is_escaped():
    text = page("<b>", [table(["a<"], [["&"]]), panel("x<y", {"c>": None})])
    assert "<b>" not in text.replace("<body>", "")
    assert "x&lt;y" in text
    assert "c&gt;" in text
