"""Networks as ONNX files: onnxruntime gives what the network gives, at any number of views."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from geometry.commands import export_onnx as command
from geometry.errors import InputError
from geometry.export import OUTPUTS, Exported, export_onnx
from geometry.models.zoo import VARIANTS, build
from geometry.weights.checkpoint import find_checkpoint, load_network
from tests.golden.weights import filled_network

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = [pytest.mark.usefixtures("unchecked"), pytest.mark.filterwarnings("ignore")]
SIZE = (56, 84)


def photos(views, seed):
    """Smooth pictures, different in each view: their reference view is chosen clearly."""
    coarse = torch.rand(views, 3, 5, 7, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, SIZE, mode="bicubic").clamp(0, 1)[None]


@torch.no_grad()
def largest_difference(path, network, inputs, names):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(names, {name: value.numpy() for name, value in inputs.items()})
    expected = [e.numpy() for e in Exported(network)(**inputs)]
    assert [f.shape for f in found] == [e.shape for e in expected]
    return max(np.abs(f - e).max() / max(1, np.abs(e).max()) for f, e in zip(found, expected))


@pytest.fixture(scope="module")
def tiny():
    return load_network(find_checkpoint("tiny"))


@pytest.mark.extended
def test_the_graph_leaves_the_number_of_views_open(monkeypatch):
    sizes = {"width": 48, "depth": 4, "output_blocks": (0, 1, 2, 3), "alternate_from": 1, "features": 8}
    micro = replace(VARIANTS["tiny"], channels=(8, 8, 8, 8), camera_encoder_depth=1, **sizes)
    monkeypatch.setitem(VARIANTS, "micro", micro)
    torch.manual_seed(0)
    network = Exported(build("micro").eval())
    four, six = (photos(views, views)[..., :28, :42] for views in (4, 6))
    with torch.no_grad():
        network(four)  # tables that depend on the size alone become constants
        views = torch.export.Dim("views", min=3, max=64)
        graph = torch.export.export(network, (four,), dynamic_shapes={"images": {1: views}}).module()
        for ours, expected in zip(graph(six), network(six)):
            torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_the_bundled_network_takes_any_number_of_photos_from_three_on(tiny, tmp_path):
    path = tmp_path / "tiny.onnx"
    assert export_onnx(tiny, path, SIZE) < 1e-4
    for views in (3, 5, 10):
        assert largest_difference(path, tiny, {"images": photos(views, views)}, OUTPUTS) < 1e-4


@pytest.mark.slow
def test_a_fixed_number_may_be_one(tiny, tmp_path):
    path = tmp_path / "one.onnx"
    assert export_onnx(tiny, path, SIZE, views=1) < 1e-4
    assert largest_difference(path, tiny, {"images": photos(1, 0)}, OUTPUTS) < 1e-4


@pytest.mark.slow  # 34 M parameters
@pytest.mark.parametrize("views", [None, 2])
def test_small_filled_by_the_golden_rule(views, tmp_path):
    network, path = filled_network("small"), tmp_path / "small.onnx"
    assert export_onnx(network, path, SIZE, views=views) < 1e-4
    assert largest_difference(path, network, {"images": photos(views or 5, 1)}, OUTPUTS) < 1e-4


@pytest.mark.parametrize(
    ("network", "size", "name", "message"),
    [
        ("tiny", (56, 80), "a.onnx", "multiples of 14, got 56 x 80"),
        ("tiny", (56, 84), "a.pt", "a name that ends in .onnx"),
        ("mono-tiny", (56, 84), "a.onnx", "expected an any-view network, got MonocularDepth"),
    ],
)
def test_what_cannot_be_exported_is_told_in_a_line(network, size, name, message, tmp_path):
    with pytest.raises(InputError, match=message):
        export_onnx(build(network), tmp_path / name, size)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_command(tmp_path, capsys):
    words = ["--out", tmp_path / "tiny.onnx", "--size", 56, 84, "--views", 3]
    assert command.main([str(word) for word in words]) == 0
    assert "opset 18; largest difference to the network" in capsys.readouterr().out
    assert (tmp_path / "tiny.onnx").stat().st_size > 30e6
