"""The adapter that docs/benchmark.md shows, run as it stands there on a stand-in of VGGT's interface."""

import re
import shlex
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scenes import make_arc, views_of

from eval.commands.config import compose
from eval.methods.external import Function
from geometry.ops import se3
from geometry.ops.align import umeyama

PAGE = Path(__file__).parents[2] / "docs/benchmark.md"


class StandIn(torch.nn.Module):
    """VGGT's public interface: it knows the room, in a world of its own scale."""

    scale = 0.5

    def __init__(self, rendered):
        super().__init__()
        self.rendered = rendered
        self.patch_embed = torch.nn.Conv2d(3, 2048, 14, 14)

    @classmethod
    def from_pretrained(cls, name):
        assert name == "facebook/VGGT-1B"
        return cls(make_arc(4, size=(28, 42)))

    def aggregator(self, images):
        B, V = images.shape[:2]
        patches = self.patch_embed(images.flatten(0, 1)).flatten(2).mT.unflatten(0, (B, V))
        special = patches.new_zeros(B, V, 5, 2048)  # camera and register tokens come first
        return [torch.cat((special, patches), dim=2)] * 24, 5

    def depth_head(self, tokens, *, images, patch_start_idx):
        depth = torch.stack([torch.tensor(v.depth) for v in self.rendered])[None].float() * self.scale
        return depth[..., None], torch.ones_like(depth)

    def camera_head(self, tokens):
        return [None, "the last encoding"]


@pytest.fixture
def my_vggt(monkeypatch, tmp_path):
    """The page's code as a module, its imports of vggt answered by the stand-in."""
    rendered = make_arc(4, size=(28, 42))
    extrinsics = torch.stack([torch.tensor(v.extrinsics) for v in rendered])[None, :, :3].float()
    extrinsics[..., 3] *= StandIn.scale
    intrinsics = torch.stack([torch.tensor(v.intrinsics) for v in rendered])[None].float()
    made = {name: types.ModuleType(name) for name in ("vggt", "vggt.models", "vggt.utils")}
    made["vggt.models.vggt"] = types.SimpleNamespace(VGGT=StandIn)
    made["vggt.utils.pose_enc"] = types.SimpleNamespace(
        pose_encoding_to_extri_intri=lambda encoding, size: (extrinsics, intrinsics)
    )
    for name, module in made.items():
        monkeypatch.setitem(sys.modules, name, module)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "my_vggt.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_vggt", raising=False)
    return views_of(rendered)


@torch.no_grad()
def test_adapter_with_and_without_given_cameras(my_vggt):
    method = Function("my_vggt:splat")
    assert method.about.weights.startswith("facebook/VGGT-1B")
    function = method._function
    gaussians, cameras = function(my_vggt)
    torch.testing.assert_close(cameras.extrinsics, my_vggt.cameras.extrinsics)
    first = gaussians.means[0, 28 * 21 + 10]  # of the first view, on a wall of the room
    inside = (first.abs() < torch.tensor([3.1, 2.1, 3.6])).all()
    assert inside
    unposed, cameras = function(replace(my_vggt, cameras=None))
    fit = umeyama(se3.centres(cameras.extrinsics), se3.centres(my_vggt.cameras.extrinsics))
    assert float(fit.scale[0]) == pytest.approx(1 / StandIn.scale, rel=1e-3)
    torch.testing.assert_close(fit.points(unposed.means), gaussians.means, atol=0.02, rtol=0.02)


def test_settings_in_the_pages_commands_exist():
    lines = re.findall(
        r"^    nvs-eval (?:split|run|sensitivity) +(.*=.*)$", PAGE.read_text(encoding="utf-8"), re.M
    )
    assert len(lines) >= 4
    for line in lines:
        compose(shlex.split(line))
