"""Tables: what may stand together, the published numbers, and the three formats."""

import csv
import io
import json

import pytest

from eval.__main__ import main
from eval.tables.formats import comma_separated, latex, markdown
from eval.tables.published import _TABLE5 as PUBLISHED
from eval.tables.rows import make_tables
from geometry.errors import InputError


def run_of(method="ours", psnr=(20.0, 22.0), **changes):
    scenes = [
        {"scene": f"s{i}", "means": {"psnr": value, "ssim": value / 40, "lpips_vgg": None}}
        for i, value in enumerate(psnr)
    ]
    return {
        "benchmark": "dl3dv",
        "method": method,
        "weights": "our_weights.safetensors",
        "licence": "Apache-2.0",
        "trained": True,
        "poses": "gt",
        "context_poses": "given",
        "fit": "crop",
        "undistort": True,
        "sizes": [[270, 480]],
        "split": "abcdef0123456789",
        "rule": {"context": 12},
        "context_views": [12],
        "expected_scenes": 140,
        "commits": ["1234567"],
        "photometric": None,
        "means": {"psnr": sum(psnr) / len(psnr), "ssim": sum(psnr) / len(psnr) / 40, "lpips_vgg": None},
        "reasons": {"lpips_vgg": "vgg16-397923af.pth is missing"},
        "scenes": scenes,
    } | changes


def test_published_numbers_stand_beside_runs_of_their_protocol():
    (table,) = make_tables([run_of()])
    assert [row.method for row in table.rows][-3:] == ["VGGT + GS-DPT", "DA3", "ours"]
    assert table.rows[-2].values == {"psnr": 21.33, "ssim": 0.711, "lpips_vgg": 0.241}
    assert "split not published" in table.rows[-2].protocol
    assert table.rows[-1].scenes == "2 of 140"
    assert len(make_tables([run_of()], published=False)[0].rows) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"poses": "umeyama", "context_poses": "none"},
        {"sizes": [[252, 448]]},
        {"rule": {"context": 24}},
    ],
)
def test_published_numbers_of_another_protocol_are_left_out(changes):
    (table,) = make_tables([run_of(**changes)])
    assert len(table.rows) == 1
    assert "Published numbers are left out: they are of another protocol." in table.notes


def test_the_papers_numbers():
    ours = {benchmark: methods["DA3"] for benchmark, methods in PUBLISHED.items()}
    assert ours == {
        "dl3dv": (21.33, 0.711, 0.241),
        "tanks": (18.10, 0.578, 0.311),
        "megadepth": (17.89, 0.561, 0.351),
    }
    assert [len(methods) for methods in PUBLISHED.values()] == [7, 7, 7]


@pytest.mark.parametrize(
    "changes",
    [
        {"poses": "photometric", "context_poses": "none", "photometric": {"steps": 9, "learning_rate": 0.01}},
        {"poses": "umeyama"},
        {"context_poses": "none"},
        {"split": "0123456789abcdef"},
        {"fit": "stretch"},
        {"undistort": False},
        {"sizes": [[135, 240]]},
        {"benchmark": "tanks", "split": "ff"},
    ],
)
def test_protocols_are_never_mixed(changes):
    tables = make_tables([run_of("one"), run_of("two", **changes)], published=False)
    assert len(tables) == 2
    assert all(len(table.rows) == 1 and table.baseline is None for table in tables)


def test_differences_are_paired_over_scenes():
    runs = [run_of("one", (20.0, 22.0, 10.0, 9.0, 8.0)), run_of("two", (21.0, 23.5, 12.0, 10.5, 9.5))]
    (table,) = make_tables(runs, published=False)
    first, second = table.rows
    assert first.differences == {}
    difference = second.differences["psnr"]
    assert difference.mean == pytest.approx(1.5)
    assert 1.0 <= difference.low < 1.5 < difference.high <= 2.0
    assert "lpips_vgg" not in second.differences
    (other,) = make_tables(runs, baseline="two", published=False)
    assert other.rows[0].differences["psnr"].mean == pytest.approx(-1.5)
    with pytest.raises(InputError, match="expected one of one, two"):
        make_tables(runs, baseline="three")
    with pytest.raises(InputError, match="'one' names two runs"):
        make_tables([runs[0], runs[0]])


def test_checkpoints_of_one_size_are_named_by_their_files():
    files = ("bundled", "runs/a/model.safetensors", "runs/b/model.safetensors", "runs/b/best.safetensors")
    runs = [run_of("tiny", weights=file) for file in files] + [run_of("base", weights="base.safetensors")]
    wanted = ["bundled", "a/model.safetensors", "b/model.safetensors", "best.safetensors"]
    (table,) = make_tables(runs, published=False)
    assert [row.method for row in table.rows] == [*(f"tiny ({name})" for name in wanted), "base"]
    (table,) = make_tables(runs, published=False, baseline="tiny (best.safetensors)")
    assert table.rows[0].differences


def test_what_a_reader_must_know_is_noted():
    (table,) = make_tables([run_of(trained=False, weights="random", benchmark="megadepth")])
    text = " ".join(table.notes)
    assert "missing: lpips_vgg: vgg16-397923af.pth is missing" in text
    assert "say nothing about the method" in text
    assert "Tanks and Temples" in text


def test_formats_state_the_same_rows():
    tables = make_tables([run_of("a_b"), run_of("50 % | more", (21.0, 23.5))])
    text = markdown(tables)
    assert "| DA3† | 21.33 | 0.711 | 0.241 |" in text
    assert "| 50 % \\| more | 22.25 | 0.556 | missing | +1.25 |" in text
    assert "No interval of differences: it takes 5 scenes or more." in text
    assert "12 views, 270x480, crop, split abcdef01" in text
    lines = list(csv.DictReader(io.StringIO(comma_separated(tables))))
    assert [line["method"] for line in lines][-2:] == ["a_b", "50 % | more"]
    assert float(lines[-1]["psnr_difference"]) == 1.25
    assert lines[-1]["lpips_vgg"] == ""
    assert (lines[-1]["commit"], lines[-1]["licence"]) == ("1234567", "Apache-2.0")


def test_latex_fits_a_paper():
    tables = make_tables([run_of("a_b"), run_of("50 % | more", (21.0, 23.5))])
    tex = latex(tables)
    assert r"method & PSNR $\uparrow$ & SSIM $\uparrow$ \\" in tex
    assert r"a\_b & 21.00 & 0.525 \\" in tex
    assert r"50 \% | more & \textbf{22.25} & 0.556 \\" in tex
    assert r"DA3$^\dagger$ & 21.33 & \textbf{0.711} \\" in tex
    assert "poses gt, context given, 12 views, 270x480, crop, split abcdef01" in tex
    assert tex.count(r"\begin{tabular}{lrr}") == tex.count(r"\end{tabular}") == 1
    assert "1234567" not in tex  # no commit
    every = latex(tables, ("psnr", "lpips_vgg", "difference", "commit"))
    assert r"LPIPS (VGG) $\downarrow$ & PSNR - a\_b & commit \\" in every
    assert r"\textbf{0.241}" in every
    assert r"missing & +1.25 & 1234567" in every


def test_equal_values_are_all_best_and_one_alone_is_not():
    alone = latex(make_tables([run_of()], published=False))
    assert "textbf" not in alone
    same = latex(make_tables([run_of("one"), run_of("two")], published=False))
    assert same.count(r"\textbf{21.00}") == 2


def test_scenes_have_a_table_of_their_own():
    tables = make_tables([run_of("one", (20.0, 22.0)), run_of("two", (19.0, 23.5))], published=False)
    text = markdown(tables, per_scene=True)
    assert "PSNR per scene" in text
    assert "| scene | one | two |" in text
    assert "| s1 | 22.00 | 23.50 |" in text
    assert "SSIM per scene" in text
    assert text.count("missing:") == 1
    assert "SSIM" not in markdown(tables, ("psnr",), per_scene=True)
    tex = latex(tables, ("psnr",), per_scene=True)
    assert r"s0 & \textbf{20.00} & 19.00 \\" in tex
    lines = list(csv.DictReader(io.StringIO(comma_separated(tables, per_scene=True))))
    assert [(line["scene"], line["method"], float(line["psnr"])) for line in lines] == [
        ("s0", "one", 20.0),
        ("s0", "two", 19.0),
        ("s1", "one", 22.0),
        ("s1", "two", 23.5),
    ]


def test_what_is_missing_is_said_once():
    tables = make_tables([run_of("one"), run_of("two", split="ff")], published=False)
    assert len(tables) == 2
    text = markdown(tables)
    assert text.count("vgg16-397923af.pth") == 1
    assert "LPIPS (VGG)" not in text  # a column without a number
    assert "vgg16-397923af.pth" not in markdown(tables, ("psnr",))  # nobody asked for it


def test_command(tmp_path, capsys):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scores.json").write_text(json.dumps(run_of(name)))
    assert main(["table", str(tmp_path / "one"), str(tmp_path / "two"), "--baseline", "two"]) == 0
    assert "PSNR - two |" in capsys.readouterr().out
    assert main(["table", str(tmp_path / "one"), "--columns", "psnr,foo"]) == 2
    assert "got foo" in capsys.readouterr().err
    assert main(["table", str(tmp_path / "one"), "columns=psnr", "--no-published"]) == 0
    assert "| method | PSNR |\n" in capsys.readouterr().out
    out = tmp_path / "tables/t.csv"
    assert main(["table", str(tmp_path / "one"), "--format", "csv", "--out", str(out)]) == 0
    assert out.read_text().startswith("benchmark,method,psnr")
    assert main(["table", str(tmp_path / "absent")]) == 2
    assert "expected JSON, a run's scores, found no such file" in capsys.readouterr().err
