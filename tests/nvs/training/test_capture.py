"""A person's photos as samples: what is kept out stays out; contexts come again, targets do not."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from geometry.engine.samplers import SampleRequest
from geometry.options import NetworkOptions, PhotoOptions
from geometry.scenes import structure_from_motion as sfm
from geometry.scenes import transforms_json
from geometry.scenes.photos import open_photos
from nvs.training.capture import CaptureSamples, read_capture
from nvs.training.model import build_model

PHOTOS, SIZE = 11, (42, 56)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Each photo has one grey value, which tells it from the others."""
    folder = tmp_path_factory.mktemp("capture") / "garden"
    folder.mkdir()
    names = [f"{i:02d}.png" for i in range(PHOTOS)]
    poses = np.tile(np.eye(4), (PHOTOS, 1, 1))
    poses[:, 0, 3] = -0.2 * np.arange(PHOTOS)
    poses[:, 1, 3] = 0.05 * (np.arange(PHOTOS) % 2)
    for i, name in enumerate(names):
        Image.fromarray(np.full((*SIZE, 3), 20 * i, np.uint8)).save(folder / name)
    K = np.array([[50.0, 0, 28], [0, 50, 21], [0, 0, 1]])
    transforms_json.write_scene(
        folder / "transforms.json", names, poses, np.stack([K] * PHOTOS), [SIZE] * PHOTOS
    )
    return folder


@pytest.fixture(scope="module")
def network():
    return build_model("untrained:tiny").network


def capture(folder, network, *, trust_network=True, **options):
    photos = PhotoOptions(holdout=5, context=4, process_res=56, pose_check=False, **options)
    device = torch.device("cpu")
    return read_capture(
        str(folder),
        photos,
        network,
        NetworkOptions(),
        device,
        context_sets=6,
        targets=2,
        seed=0,
        trust_network=trust_network,
    )


def which(images):
    """Numbers of photos from their grey."""
    return [round(v.item() * 255 / 20) for v in images.mean((-1, -2, -3)).flatten()]


@pytest.mark.parametrize("options", [{}, {"unposed": True}])
def test_photos_kept_out_are_never_trained_on(folder, network, options):
    found = capture(folder, network, **options)
    assert found.case.name == "garden"
    assert which(found.case.targets.images) == [0, 5, 10]
    assert found.case.target_names == ["00.png", "05.png", "10.png"]
    rest = [1, 2, 3, 4, 6, 7, 8, 9]
    assert which(found.photos.float() / 255) == rest
    assert set(which(found.case.context.images)) <= set(rest)
    assert found.posed == (not options)
    assert (found.case.context.cameras is None) == (found.case.targets.cameras is None) == bool(options)
    assert len({tuple(s) for s in found.context_sets}) == len(found.context_sets) > 1
    assert all(len(s) == 4 for s in found.context_sets)


def test_samples_name_their_context_and_draw_their_targets(folder, network):
    samples = CaptureSamples([capture(folder, network)], targets=2)
    seen = set()
    for seed in range(8):
        sample = samples[SampleRequest(index=1, number=1, step=seed, seed=seed)]
        context, targets = which(sample.context.views.images), which(sample.target.views.images)
        assert sample.keys == ("capture 0 set 1",)
        assert context == which(
            samples[SampleRequest(index=1, number=1, step=0, seed=0)].context.views.images
        )
        assert not set(context) & set(targets)
        # Poses belong to their photos: camera i stands at 0.2 i, seen from wherever the world has its origin.
        places = -sample.target.truth.cameras.extrinsics[0, :, 0, 3] / 0.2
        first = -sample.context.truth.cameras.extrinsics[0, 0, 0, 3] / 0.2
        assert (places - first).tolist() == pytest.approx([t - context[0] for t in targets], abs=1e-3)
        seen.update(targets)
        assert not sample.context.truth.valid.any()  # photos bring no depth
    assert len(seen) > 2


def test_captures_of_one_name_are_not_taken_for_each_other(folder, network):
    found = capture(folder, network)
    samples = CaptureSamples([found, found], targets=1)
    requests = [SampleRequest(index=i, number=i, step=0, seed=0) for i in range(len(samples))]
    assert len({samples[request].keys for request in requests}) == len(samples)


def test_masks_travel_with_photos(folder, network, tmp_path):
    shutil.copytree(folder, tmp_path / "masked")
    keep = np.full(SIZE, 255, np.uint8)
    keep[:, : SIZE[1] // 2] = 0
    for i in (3, 5):
        (tmp_path / "masked/masks").mkdir(exist_ok=True)
        Image.fromarray(keep).save(tmp_path / f"masked/masks/{i:02d}.png")
    found = capture(tmp_path / "masked", network)
    given, wanted = found.example([2, 3], [4, 2])  # photos 1 to 4, 6 to 9 are those that are trained on
    assert given.views.mask.float().mean((-1, -2)).tolist() == [[0.5, 1.0]]
    assert wanted.views.mask.float().mean((-1, -2)).tolist() == [[1.0, 0.5]]
    (shares,) = found.case.photos.mask.float().mean((-1, -2)).tolist()
    assert shares == pytest.approx([1.0, 0.5, 1.0], abs=0.02)
    assert capture(folder, network).mask is None


def test_unposed_context_hides_what_the_network_found(folder, network):
    samples = CaptureSamples([capture(folder, network, unposed=True)], targets=1)
    sample = samples[SampleRequest(index=0, number=0, step=0, seed=0)]
    assert sample.context.views.cameras is None
    assert sample.context.truth.cameras.extrinsics.shape == (1, 4, 4, 4)


def test_without_poses_no_more_photos_than_the_network_takes(folder, network):
    assert len(capture(folder, network, unposed=True, max_views=5).photos) == 5
    assert len(capture(folder, network, max_views=5).photos) == 8


def test_photos_without_poses_get_the_cameras_of_structure_from_motion(
    folder, network, monkeypatch, tmp_path
):
    """All that are trained on get some, whatever the number given in a step."""
    posed = open_photos(folder, check=False)
    for path in folder.glob("*.png"):
        shutil.copy(path, tmp_path)
    tried = []

    def place_photos(scene, photos, *, seed):
        tried.append(sorted(photos))
        return sfm.Placed(scene=replace(posed, estimated=True), indices=list(photos), missing=[])

    monkeypatch.setattr(sfm, "available", lambda: True)
    monkeypatch.setattr(sfm, "place_photos", place_photos)
    found = capture(tmp_path, network, trust_network=False)
    assert tried == [list(range(PHOTOS))]
    assert found.posed
    assert len(found.photos) == PHOTOS - 3
    assert found.case.context.images.shape[1] == 4
    assert not capture(tmp_path, network, trust_network=True).posed
