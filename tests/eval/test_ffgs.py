"""The adapter of ffgs on a stand-in with the package's own types and calls; no weights are here."""

import sys
import types
from dataclasses import replace

import pytest
import torch
from scenes import make_arc, task_of

from eval.methods.ffgs import Ffgs
from eval.methods.references import surface_gaussians
from eval.protocols.placement import starting_cameras
from geometry.errors import InputError
from geometry.ops import se3

CPU = torch.device("cpu")


class StandIn:
    """`ffgs.GSPipeline` as its README describes it: colours in RGB, cameras as c2w and normalised K."""

    processor = types.SimpleNamespace(camera_input="optional")

    def __init__(self, room):
        self.depth = torch.stack([torch.tensor(v.depth) for v in room])[None].float()
        self.views = task_of(room, room, posed=True).context

    @classmethod
    def from_pretrained(cls, name, *, device):
        if name != "anysplat/default":
            raise ValueError(f"{name} is no model")
        return cls(make_arc(4))

    def __call__(self, views):
        made = surface_gaussians(self.views, self.depth)
        rgb = 0.5 + 0.28209479177387814 * made.sh[..., 0, :]
        gaussians = types.SimpleNamespace(
            means=made.means, quats=made.quats, scales=made.scales, opacities=made.opacities, colors=rgb
        )
        gaussians.sh = lambda: ((rgb - 0.5) / 0.28209479177387814)[..., None, :]
        cameras = types.SimpleNamespace(
            c2w=se3.invert(self.views.cameras.extrinsics), pixel_k=self.views.cameras.intrinsics
        )
        output = types.SimpleNamespace(gaussians=gaussians, cameras=cameras)
        if views.c2w is not None:
            torch.testing.assert_close(se3.invert(views.c2w), self.views.cameras.extrinsics)
            output.to_world = lambda: output
        return output


@pytest.fixture
def ffgs(monkeypatch):
    module = types.ModuleType("ffgs")
    module.GSPipeline = StandIn
    module.Views = lambda images, intrinsics=None, c2w=None: types.SimpleNamespace(images=images, c2w=c2w)
    module.zoo = types.SimpleNamespace(get_entry=lambda name: types.SimpleNamespace(license="theirs"))
    monkeypatch.setitem(sys.modules, "ffgs", module)


def test_gaussians_arrive_with_and_without_given_cameras(ffgs):
    method = Ffgs("anysplat/default", CPU)
    assert (method.about.name, method.about.licence) == ("ffgs anysplat/default", "theirs")
    room = make_arc(4)
    posed = task_of(room, room[:1], posed=True)
    given = method.predict(posed)
    assert given.cameras is None
    truth = surface_gaussians(posed.context, torch.stack([torch.tensor(v.depth) for v in room])[None].float())
    torch.testing.assert_close(given.gaussians.sh, truth.sh)
    free = replace(posed, context=replace(posed.context, cameras=None))
    found = method.predict(free)
    torch.testing.assert_close(
        starting_cameras("umeyama", found, free).extrinsics, posed.targets.extrinsics, atol=1e-4, rtol=1e-4
    )


def test_colours_of_a_degree_that_nothing_draws_are_cut(ffgs, monkeypatch, capsys):
    """AnySplat's have 25 terms."""
    method = Ffgs("anysplat/default", CPU)
    call = StandIn.__call__

    def with_more(self, views):
        output = call(self, views)
        few = output.gaussians.sh()
        output.gaussians.sh = lambda: torch.cat((few, torch.ones(*few.shape[:2], 24, 3)), dim=2)
        return output

    monkeypatch.setattr(StandIn, "__call__", with_more)
    room = make_arc(4)
    posed = task_of(room, room[:1], posed=True)
    assert method.predict(posed).gaussians.sh.shape[2:] == (16, 3)


def test_what_cannot_be_loaded_is_one_line(ffgs, monkeypatch):
    with pytest.raises(InputError, match=r"nothing: cannot be loaded by ffgs \(nothing is no model"):
        Ffgs("nothing", CPU)
    monkeypatch.setitem(sys.modules, "ffgs", None)
    with pytest.raises(InputError, match="pip install ffgs"):
        Ffgs("anysplat/default", CPU)
