"""The dataset: samples are functions of their seed, mixtures keep their weights, bad files are named."""

import warnings
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from scenes import make_room, scene_of

from geometry.datasets.colmap_folder import ColmapFolders
from geometry.datasets.sources import SceneSource
from geometry.engine import DataStream, FixedBatchSampler, TokenBudgetSampler
from geometry.engine.notes import noting
from geometry.engine.samplers import SampleRequest
from geometry.errors import InputError
from geometry.ops import pinhole
from geometry.ops.scale import normalise_truth
from geometry.sampling.augment import GeometricAugmentation, PhotometricAugmentation
from geometry.sampling.dataset import SamplingDataset
from geometry.sampling.mixture import DatasetMixture, Mixture, Part
from geometry.views import Cameras

SIZE = (28, 42)


class Rooms(SceneSource):
    """Scenes in memory."""

    def __init__(self, counts, seed=0, broken=()):
        self.names = tuple(f"room{i}" for i in range(len(counts)))
        self.counts, self.seed, self.broken, self.reads = counts, seed, broken, 0

    def read(self, name):
        i = self.names.index(name)
        self.reads += 1
        if i in self.broken:
            raise InputError(f"{name}/transforms.json: expected JSON")
        return scene_of(make_room(self.counts[i], seed=self.seed + i), name=name, metric=True)


def dataset(source=None, **options):
    source = source or Rooms([5, 6, 7])
    return SamplingDataset(Mixture({"rooms": Part(source=source)}), image_size=SIZE, views=3, **options)


def request(seed, **fields):
    return SampleRequest(index=0, number=0, step=0, seed=seed, **fields)


def same(a, b):
    return torch.equal(a.views.images, b.views.images) and torch.equal(a.truth.depth, b.truth.depth)


def test_a_sample_depends_on_its_seed_alone():
    rich = {
        "geometric": GeometricAugmentation(zoom=(1.0, 1.3), shift=0.5, flip=0.5),
        "photometric": PhotometricAugmentation(),
    }
    first, second = dataset(**rich), dataset(**rich)
    expected = [first[request(s)] for s in range(4)]
    torch.manual_seed(123)
    np.random.seed(7)  # noqa: NPY002 - must not matter
    for s in (3, 1, 0, 2):
        assert same(second[request(s)], expected[s])
    assert not same(expected[0], expected[1])
    assert same(first[5], second[5])
    plain = dataset()  # without colours to differ, the scene and the views must
    assert not same(plain[5], plain[6])
    assert len({float(plain[i].views.images.sum()) for i in range(6)}) > 4


def test_the_request_decides_size_and_views():
    example = dataset()[request(0, image_size=(14, 56), views=2)]
    assert example.views.images.shape == (1, 2, 3, 14, 56)
    assert example.truth.cameras.intrinsics.shape == (1, 2, 3, 3)
    with pytest.raises(InputError, match="expected an image size"):
        SamplingDataset(Mixture({"rooms": Part(source=Rooms([3]))}))[request(0)]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_through_the_engine(workers):
    sampler = TokenBudgetSampler(tokens=48, image_sizes=[(28, 42), (28, 28)], views=(2, 4), batch_multiple=2)
    stream = DataStream(dataset(), sampler, workers=workers)
    steps = stream.steps(3, 5, seed=0, rank=0, world_size=1, accumulate=1, device=torch.device("cpu"))
    for step, parts in enumerate(steps, start=3):
        size, views, batch = sampler.shape(step, seed=0)
        ((count, example, _),) = parts
        assert count == batch
        assert example.views.images.shape == (batch, views, 3, *size)
        assert example.truth.metric.shape == (batch,)


def test_mixture_weights():
    mixture = Mixture(
        {
            "a": Part(source=Rooms([3]), weight=3.0),
            "b": Part(source=Rooms([3, 3]), weight=1.0),
            "off": Part(source=Rooms([3]), weight=0.0),
        }
    )
    rng = np.random.default_rng(0)
    counts = Counter(mixture.draw(rng, request(0))[0] for _ in range(2000))
    assert counts["a"] / 2000 == pytest.approx(0.75, abs=0.03)
    assert set(counts) == {"a", "b"}
    by_size = Mixture({"a": Part(source=Rooms([3])), "b": Part(source=Rooms([3, 3, 3]))})
    np.testing.assert_allclose(by_size.chance, [0.25, 0.75])
    with pytest.raises(InputError, match="expected parts with weights"):
        Mixture({"a": Part(source=Rooms([3]), weight=-1.0)})


def test_scenes_are_remembered_up_to_a_limit():
    source = Rooms([3, 3, 3])
    mixture = Mixture({"a": Part(source=source)}, cache=2)
    for i in (0, 1, 0, 1):
        mixture.read("a", f"room{i}")
    assert source.reads == 2
    mixture.read("a", "room2")
    mixture.read("a", "room0")
    assert source.reads == 4


def test_small_scenes_are_passed_over():
    samples = dataset(Rooms([1, 2, 5]))
    assert samples[request(0)].views.images.shape[1] == 3
    with pytest.raises(InputError, match="at least 3 posed views, 20 drawn from rooms have fewer"):
        dataset(Rooms([1, 2]))[request(0)]


def test_broken_scenes_stop_or_are_passed_over():
    source = Rooms([5, 5], broken=(0,))
    seeds = range(6)
    with pytest.raises(InputError, match=r"room0/transforms\.json"):
        [dataset(source, skip_broken=False)[request(s)] for s in seeds]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for s in seeds:
            dataset(source)[request(s)]
    assert any("passed over" in str(w.message) for w in caught)


class OneRoom(SceneSource):
    """A scene of some photos, changed by hand."""

    names = ("room",)

    def __init__(self, change, views=4):
        room = scene_of(make_room(views))
        self.scene = replace(room, frames=tuple(map(change, range(views), room.frames)))

    def read(self, name):
        return self.scene


def cut_short():
    raise InputError("01.jpg: expected a photo, could not read it (truncated)")


@pytest.mark.parametrize("field", ["image", "depth"])
def test_a_broken_photo_is_left_out_of_its_scene_and_counted(field):
    source = OneRoom(lambda i, frame: replace(frame, **{field: cut_short}) if i == 1 else frame)
    seeds = range(12)
    with pytest.warns(UserWarning, match=r"rooms: left out 1 photo: 01\.jpg.*truncated"), noting() as notes:
        samples = [dataset(source)[request(s)] for s in seeds]
    assert all(sample.views.images.shape[1] == 3 for sample in samples)
    counts = notes.counts["rooms"]
    assert counts["samples"] == 12
    assert 0 < counts["photos_left_out"] <= 12  # some samples did not ask for it
    assert counts["passed_over"] == 0
    names = [sorted(o.removeprefix("rooms/room: ").split(", ")) for o in notes.origins]
    assert names == [["00", "02", "03"]] * 12
    assert same(dataset(source)[request(5)], samples[5])
    none_left = OneRoom(lambda i, frame: replace(frame, **{field: cut_short}) if i in (1, 2) else frame)
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(InputError, match=r"last damaged one: 01\.jpg"),
    ):
        dataset(none_left)[request(0)]
    with (
        pytest.warns(UserWarning, match="passed over"),
        pytest.raises(InputError, match=r"last damaged one: room\d/transforms"),
    ):
        dataset(Rooms([5, 5], broken=(0, 1)))[request(0)]


@pytest.mark.parametrize("sentinel", [1e10, 3e38, 65504.0])
def test_a_sky_sentinel_changes_nothing_and_is_told(sentinel):
    def with_corner(value):
        def change(i, frame):
            depth = frame.depth()
            depth[:20, :20] = value
            return replace(frame, depth=lambda: depth)

        return dataset(OneRoom(change, views=3))

    told = r"rooms/room: \d+ of \d+ depths are over 1000 times"
    with pytest.warns(UserWarning, match=told), noting() as notes:
        found = with_corner(sentinel)[request(0)]
    assert notes.counts["rooms"]["far_depth"] == 1
    expected = with_corner(0)[request(0)]
    assert same(found, expected)
    reference = torch.tensor([0])
    (ours, scale), (theirs, other) = (normalise_truth(s.truth, reference) for s in (found, expected))
    assert torch.equal(scale, other)
    assert torch.equal(ours.depth, theirs.depth)
    assert 0.3 < float(ours.depth[ours.valid].mean()) < 3


def test_labels_can_change_with_the_step():
    def flat_after_ten(scene, step):
        if step < 10:
            return scene
        return replace(
            scene, frames=tuple(replace(f, depth=lambda: np.full((48, 64), 2.0)) for f in scene.frames)
        )

    samples = dataset(relabel=flat_after_ten)
    early, late = (samples[SampleRequest(index=0, number=0, step=s, seed=1)] for s in (9, 10))
    assert not (early.truth.depth == 2).all()
    assert (late.truth.depth == 2).all()
    assert torch.equal(early.views.images, late.views.images)


def test_indoor_sets_have_no_sky():
    mixture = Mixture({"rooms": Part(source=Rooms([4]), without_sky=True)})
    example = SamplingDataset(mixture, image_size=SIZE, views=2, labels=("sky",))[0]
    assert not example.truth.sky.any()
    with pytest.raises(InputError, match="labels: expected some of"):
        dataset(labels=("clouds",))


def test_mixture_of_datasets():
    a, b = dataset(), dataset(Rooms([4], seed=50))
    mixed = DatasetMixture({"a": a, "b": b}, {"a": 1.0, "b": 1.0})
    hits = Counter()
    for s in range(12):
        example = mixed[request(s)]
        hits["a" if same(example, a[request(s)]) else "b"] += 1
    assert set(hits) == {"a", "b"}
    stream = DataStream(mixed, FixedBatchSampler(batch_size=2, image_size=SIZE, views=2))
    steps = stream.steps(0, 1, seed=0, rank=0, world_size=1, accumulate=1, device=torch.device("cpu"))
    assert next(iter(steps))[0][1].views.images.shape == (2, 2, 3, *SIZE)
    with pytest.raises(InputError, match="expected a weight"):
        DatasetMixture({"a": a}, {"b": 1.0})


def test_real_photos_with_sparse_depth(captures_dir):
    """COLMAP's own points, as depth of a sample, project onto each other in its views."""
    source = ColmapFolders(captures_dir / "sceaux_castle")
    samples = SamplingDataset(
        Mixture({"castle": Part(source=source)}),
        image_size=(252, 336),
        views=3,
        geometric=GeometricAugmentation(zoom=(1.1, 1.1), flip=1.0, shift=0.5),
    )
    truth = samples[0].truth
    assert truth.valid.sum(dim=(0, 2, 3)).min() > 100
    world = pinhole.unproject(truth.depth, truth.cameras)[:, 0][truth.valid[:, 0]]
    other = Cameras(extrinsics=truth.cameras.extrinsics[:, 1:2], intrinsics=truth.cameras.intrinsics[:, 1:2])
    pixels, z = pinhole.project(world[None, None], other)
    x, y = pixels[0, 0].floor().long().unbind(-1)
    inside = (x >= 0) & (x < 336) & (y >= 0) & (y < 252) & (z[0, 0] > 0)
    there = truth.depth[0, 1][y[inside], x[inside]]
    both = there > 0  # seen from both, at the very pixel
    assert both.sum() > 30
    assert ((there[both] / z[0, 0][inside][both]) - 1).abs().median() < 0.01
