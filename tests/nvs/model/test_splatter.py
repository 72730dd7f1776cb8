"""Photos to Gaussians and back to the photos."""

import pytest
import torch
from scenes import cameras_at, smooth_images
from torch.testing import assert_close

from geometry.errors import InputError
from geometry.models.zoo import VARIANTS, Variant
from geometry.ops import se3
from geometry.views import Cameras, Views
from geometry.weights.checkpoint import find_checkpoint, read_checkpoint, untrained
from nvs.metrics import psnr
from nvs.model.parametrisation import GaussianAdapter
from nvs.model.splatter import Splatter, load_splatter, new_gaussian_head, save_splatter
from nvs.rasterizer import rasterize

SIZE = (56, 84)


def row_of_cameras(views):
    return cameras_at([(0.3 * v, 0, 0) for v in range(views)], (80.0, 80.0), (40.0, 29.0))


@pytest.fixture(scope="module")
def splatter():
    return load_splatter(untrained("tiny"))


@torch.inference_mode()
def test_one_photo_is_seen_again_from_its_own_place(splatter, generator):
    """With an untrained head every pixel is its own Gaussian: rendering must give the photo back."""
    images = smooth_images(1, SIZE, generator)
    for cameras in (None, row_of_cameras(1)):
        splats = splatter(Views(images=images, cameras=cameras))
        view = rasterize(splats.gaussians, splats.geometry.cameras, SIZE, backend="torch")
        inner = (..., slice(4, -4), slice(4, -4))
        assert psnr(view.rgb[0][inner] / view.alpha[0, :, None][inner], images[0][inner]) > 30
        assert_close(view.depth[inner], splats.geometry.depth[inner], rtol=0.1, atol=0)


@torch.inference_mode()
def test_given_world_does_not_change_the_picture(splatter, generator):
    """Gaussians predicted with cameras in another world are the same scene in that world."""
    images, cameras = smooth_images(3, SIZE, generator), row_of_cameras(3)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator))[0]
    turn = turn * turn.det()
    moved = se3.from_rotation_translation(turn, torch.tensor([0.5, -1.0, 2.0]))
    elsewhere = cameras.extrinsics @ se3.invert(moved)
    elsewhere[..., :3, 3] *= 3.0  # the same cameras in a turned world three times as large
    given = Cameras(extrinsics=elsewhere, intrinsics=cameras.intrinsics)
    first, second = (
        splatter(Views(images=images, cameras=cameras)),
        splatter(Views(images=images, cameras=given)),
    )
    assert_close(second.geometry.depth, 3 * first.geometry.depth, rtol=1e-3, atol=1e-3)
    pictures = [
        rasterize(s.gaussians, c, SIZE, backend="torch").rgb for s, c in ((first, cameras), (second, given))
    ]
    assert (pictures[0] - pictures[1]).abs().mean() < 1e-3


@torch.inference_mode()
def test_chunks_do_not_change_the_gaussians(splatter, generator):
    views = Views(images=smooth_images(5, SIZE, generator))
    whole, parts = splatter(views, chunk=8).gaussians, splatter(views, chunk=1).gaussians
    assert_close(whole.means, parts.means, rtol=1e-4, atol=1e-5)
    assert_close(whole.opacities, parts.opacities, rtol=1e-4, atol=1e-5)


@pytest.mark.extended
@pytest.mark.parametrize("adapter", [GaussianAdapter("sh", sh_degree=1), GaussianAdapter("rgb")])
def test_saved_and_loaded_it_is_the_same(adapter, tmp_path, generator):
    checkpoint = untrained("tiny")
    network = load_splatter(checkpoint).network
    head = new_gaussian_head("tiny", adapter)
    torch.nn.init.normal_(head.out[2].weight, std=0.1, generator=generator)
    before = Splatter(network, head, adapter).eval()
    path = tmp_path / "model.safetensors"
    save_splatter(path, before, variant="tiny", released=False, licence="Apache-2.0")
    after = load_splatter(find_checkpoint(str(path)))
    assert after.head is not None
    views = Views(images=smooth_images(2, SIZE, generator))
    with torch.inference_mode():
        one, other = before(views).gaussians, after(views).gaussians
    for field in ("means", "quats", "scales", "opacities", "sh"):
        assert torch.equal(getattr(one, field), getattr(other, field))


def test_a_head_of_another_kind_is_refused(tmp_path):
    adapter = GaussianAdapter("sh")
    network = load_splatter(untrained("tiny")).network
    path = tmp_path / "model.safetensors"
    wrong = Splatter(network, new_gaussian_head("tiny", GaussianAdapter("rgb")), adapter)
    save_splatter(path, wrong, variant="tiny", released=False, licence="Apache-2.0")
    with pytest.raises(InputError, match=r"Gaussian head of 'tiny'.*other shapes: out\.2\.bias"):
        load_splatter(read_checkpoint(path))


def test_monocular_models_cannot_splat(monkeypatch):
    small = Variant(
        kind="monocular",
        width=64,
        depth=4,
        heads=1,
        output_blocks=(0, 1, 2, 3),
        features=32,
        channels=(8, 8, 8, 8),
    )
    monkeypatch.setitem(VARIANTS, "test-mono", small)
    with pytest.raises(InputError, match="places no cameras"):
        load_splatter(untrained("test-mono"))
