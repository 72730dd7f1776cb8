"""Photos in chunks through a stand-in network that knows the truth, in a world of its own for each chunk."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from geometry.chunks import reconstruct
from geometry.chunks.passes import Passes
from geometry.console import listening
from geometry.models.da3 import DepthAnything3
from geometry.ops import se3
from geometry.ops.align import Similarity, umeyama
from geometry.prediction import Geometry
from geometry.views import Cameras, Views
from geometry.worlds.generate import procedural_world
from geometry.worlds.rendering import render
from nvs.cameras.orbit import look_at

pytestmark = pytest.mark.extended  # whole runs, seconds each

SIZE, PHOTOS, CHUNK = (98, 126), 64, 12


@pytest.fixture(scope="module")
def walk():
    """A walk around a room, looking outward, whose last photos show what the first ones do."""
    world = procedural_world(3, "room", texture_size=64)
    angle = torch.linspace(0, 2.3 * math.pi, PHOTOS)
    middle = world.stand.mean(dim=0)
    out = torch.stack((angle.cos(), angle.sin(), 0.1 * (3 * angle).sin()), dim=-1)
    poses = torch.cat(
        [look_at((middle + 0.6 * o)[None], middle + 3 * o, torch.tensor([0.0, 0, 1])) for o in out]
    )
    K = torch.tensor([[90.0, 0, 63], [0, 90, 49], [0, 0, 1]]).expand(1, PHOTOS, 3, 3)
    cameras = Cameras(extrinsics=se3.invert(poses)[None], intrinsics=K)
    shown = render(world, cameras, SIZE)
    return Views(images=shown.rgb, cameras=cameras), shown.depth


class StandIn(DepthAnything3):
    """True depth and cameras in another similarity for each chunk, with noise and outliers.

    Args:
        drift: turns, shifts and log scales that each photo adds.
        broken: the first photo of the chunk that is noise, however often it is asked for.
    """

    def __init__(self, walk, *, noise=0.01, outliers=0.1, drift=0.0, broken=None):
        torch.nn.Module.__init__(self)
        (self.views, self.depth), self.calls = walk, []
        self.noise, self.outliers, self.drift, self.broken = noise, outliers, drift, broken
        self.number = {image.numpy().tobytes(): i for i, image in enumerate(self.views.images[0])}

    def __call__(self, views, *, reference, chunk, rays):
        photos = [self.number[image.numpy().tobytes()] for image in views.images[0]]
        self.calls.append((photos, views))
        rng = np.random.default_rng(sum(photos) + len(photos))
        world = similarity(rng)
        steps = [bent(self.drift * row) for row in range(len(photos))]  # an error that grows with every photo
        truth = self.views.cameras.extrinsics[0, photos].double()
        poses = torch.cat([step.extrinsics(E[None]) for step, E in zip(steps, truth)])
        depth = self.depth[:, photos].double() * torch.stack([s.scale for s in steps])[:, None, None]
        depth = depth * torch.from_numpy(rng.lognormal(0, self.noise, depth.shape))
        wild = torch.from_numpy(rng.random(depth.shape) < self.outliers)
        depth = torch.where(wild, depth * torch.from_numpy(rng.uniform(0.3, 3, depth.shape)), depth)
        extrinsics = world.extrinsics(poses)
        if self.broken == photos[0]:
            shuffled = rng.permutation(len(photos))
            extrinsics, depth = extrinsics[shuffled], depth.flip(-1).flip(1) ** 2
        return Geometry(
            depth=(depth * world.scale).float(),
            depth_conf=torch.where(wild, 1.0, 5.0).float(),
            cameras=Cameras(
                extrinsics=extrinsics[None].float(), intrinsics=self.views.cameras.intrinsics[:, photos]
            ),
        )


def bent(by):
    """A small similarity: turned (radians), moved and grown."""
    return Similarity(
        scale=torch.tensor(math.exp(by)).double(),
        rotation=torch.from_numpy(Rotation.from_rotvec(by * np.array([0.5, 0.3, 0.8])).as_matrix()),
        translation=by * torch.tensor([1.0, -0.5, 0.3]).double(),
    )


def similarity(rng):
    return Similarity(
        scale=torch.tensor(rng.uniform(0.3, 3)).double(),
        rotation=torch.from_numpy(Rotation.random(random_state=rng).as_matrix()),
        translation=torch.from_numpy(rng.normal(0, 2, 3)),
    )


def run(network, tmp_path, *, views=None, **more):
    views = replace(network.views, cameras=None) if views is None else views
    options = {"reference": "first", "chunk": 8}
    passes = Passes(
        network=network, views=views, device=torch.device("cpu"), folder=tmp_path, key="a", options=options
    )
    return reconstruct(passes, CHUNK, **more)


def errors(found, truth):
    """Of cameras after the best similarity: root mean square distance over the spread, and degrees."""
    ours, theirs = (c.extrinsics[0].double() for c in (found, truth))
    world = umeyama(se3.centres(ours), se3.centres(theirs))
    carried = world.extrinsics(ours)
    centres = se3.centres(theirs)
    off = (se3.centres(carried) - centres).square().sum(-1).mean().sqrt()
    spread = (centres - centres.mean(0)).square().sum(-1).mean().sqrt()
    turns = Rotation.from_matrix((carried[:, :3, :3] @ theirs[:, :3, :3].mT).numpy()).magnitude()
    return float(off / spread), math.degrees(turns.max()), world


def test_chunks_become_one_world(walk, tmp_path):
    network = StandIn(walk)
    found = run(network, tmp_path)
    off, degrees, world = errors(found.geometry.cameras, network.views.cameras)
    assert off < 0.005
    assert degrees < 0.3
    depth = found.geometry.depth * world.scale
    seen = network.depth > 0
    ratio = (depth / network.depth)[seen].log().abs()
    assert ratio.median() < 0.012  # the noise's own is 0.0075
    assert not found.problems
    torch.testing.assert_close(found.geometry.cameras.extrinsics[0, 0], torch.eye(4), atol=1e-5, rtol=0)
    assert max(len(photos) for photos, _ in network.calls) == CHUNK
    # From the second one on each chunk is told the half that is known.
    assert [int(v.known.sum()) for _, v in network.calls[1:4]] == [6, 6, 7]


def test_photos_in_disorder_come_to_the_same_world(walk, tmp_path):
    network = StandIn(walk)
    mixed = np.random.default_rng(0).permutation(PHOTOS)
    said = []
    with listening(said.append):
        found = run(network, tmp_path, views=Views(images=network.views.images[:, mixed]))
    off, degrees, _ = errors(found.geometry.cameras, network.views.cameras[:, mixed])
    assert off < 0.005
    assert degrees < 0.3
    assert any("not alike" in line for line in said)
    assert any("left" in line for line in said)


def test_places_met_again_take_the_drift_away(walk, tmp_path, monkeypatch):
    drifting = StandIn(walk, drift=0.005)
    closed = run(drifting, tmp_path)
    monkeypatch.setattr("geometry.chunks.whole.candidates", lambda *_: [])
    opened = run(drifting, tmp_path)  # the same chunks, from disk
    assert closed.loops > 0
    (off, _, _), (off_open, _, _) = (
        errors(r.geometry.cameras, drifting.views.cameras) for r in (closed, opened)
    )
    assert off < 0.4 * off_open


def test_a_broken_chunk_is_bridged(walk, tmp_path):
    network = StandIn(walk, broken=23)
    found = run(network, tmp_path)
    off, degrees, _ = errors(found.geometry.cameras, network.views.cameras)
    assert off < 0.005
    assert degrees < 0.3
