"""Equality with the released networks and utilities, through the code of scripts/check_golden.py."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from programs import Program

from tests.golden.check import check_file, check_folder
from tests.golden.compare import NETWORK, UTILITY, Report, measure
from tests.golden.weights import rule_image, rule_tensor

QUICK = [
    "bench_metrics.npz",
    "geometry_utils.npz",
    "preprocess.npz",
    "preprocess_table.json",
    "raypose.npz",
    "small_1view_84x112.npz",
    "small_1view_518x518.npz",
    "small_2view_112x84.npz",
    "small_3view_140x196.npz",
    "small_5view_84x112_refview.npz",
    "small_batch2_3view_70x84.npz",
    "small_gs_3view_56x70.npz",
    "small_posed_3view_140x196.npz",
    "trajectories.npz",
]
LARGE = [  # gigabytes of weights; .ci/run checks them with the script
    "giant_2view_56x70.npz",
    "mono_large_1view_140x196.npz",
    "mono_large_2view_70x98.npz",
    "nested_2view_56x70.npz",
]


def test_every_golden_file_is_tested(golden_dir):
    assert {p.name for p in golden_dir.iterdir() if p.suffix != ".md"} == {*QUICK, *LARGE}


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in LARGE)])
def test_golden_file(name, golden_dir):
    report = Report()
    check_file(golden_dir / name, report)
    assert [row for row in report.rows if not row.passed] == []
    assert report.uncompared == []
    assert report.compared == report.total > 0


def test_weight_rule_against_its_published_values():
    cls = rule_tensor("backbone.pretrained.cls_token", (1, 1, 384)).flatten().double()
    np.testing.assert_allclose(cls[:3], [0.2363859, -0.2776552, 0.1112837], atol=1e-7)
    np.testing.assert_allclose(cls.sum(), 2.961474, atol=1e-5)
    bias = rule_tensor("cam_dec.fc_fov.0.bias", (2,))
    np.testing.assert_allclose(bias, [1.029341, 1.030973], atol=1e-6)
    image = rule_image(101, 3, 140, 196).double()
    np.testing.assert_allclose(image.flatten()[:3], [-0.38912857, -0.76277596, -0.9196937], atol=1e-7)
    np.testing.assert_allclose(image.sum(), 68769.231078, atol=1e-3)


def test_errors_are_seen():
    reference = np.array([1.0, -2.0])
    assert measure(reference, reference, NETWORK)[1]
    assert not measure(reference + np.array([0, 5e-3]), reference, NETWORK)[1]  # above the largest
    assert not measure(reference * (1 + 1.5e-3), reference, NETWORK)[1]  # above the mean alone
    assert not measure(reference[:1], reference, UTILITY)[1]
    assert not measure(reference * np.nan, reference, UTILITY)[1]


def test_an_array_that_nobody_compares_is_a_failure(golden_dir, tmp_path):
    arrays = dict(np.load(golden_dir / "trajectories.npz"))
    np.savez(tmp_path / "trajectories.npz", unheard_of=np.zeros(3), **arrays)
    report = check_folder(tmp_path)
    assert report.uncompared == [("trajectories.npz", "unheard_of")]
    assert not report.passed
    assert report.compared == report.total - 1


@pytest.mark.parametrize(("spoil", "status"), [(False, 0), (True, 1)])
def test_the_command(spoil, status, golden_dir, tmp_path):
    shutil.copy(golden_dir / "bench_metrics.npz", tmp_path)
    if spoil:
        arrays = dict(np.load(golden_dir / "bench_metrics.npz"))
        np.savez(tmp_path / "bench_metrics.npz", **arrays | {"auc05": arrays["auc05"] + 0.01})
    script = Path(__file__).resolve().parents[2] / "scripts" / "check_golden.py"
    done = Program([script, tmp_path], tmp_path.with_suffix(".txt"))
    assert done.wait() == status, done.said
    assert done.said.splitlines()[-1] == "compared 10 of 10 arrays"
