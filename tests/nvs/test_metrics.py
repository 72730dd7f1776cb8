import json
import math

import lpips as lpips_package
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch.testing import assert_close

from geometry.errors import InputError
from nvs import metrics
from nvs.metrics import MissingWeights, Scores, colour_aligned, load_lpips, lpips, psnr, ssim


def score(pred, target, names=metrics.METRICS):
    scores = Scores(names)
    scores.add(pred, target)
    return scores.as_json()


def noisy_pair(generator: torch.Generator, n: int = 2, h: int = 40, w: int = 56) -> tuple:
    smooth = torch.nn.functional.interpolate(
        torch.rand(n, 3, 5, 7, generator=generator), size=(h, w), mode="bicubic"
    ).clamp(0, 1)
    other = (smooth + 0.1 * torch.randn(n, 3, h, w, generator=generator)).clamp(0, 1)
    return other, smooth


def check_against_skimage(pred: torch.Tensor, target: torch.Tensor) -> None:
    for p, t, ours_psnr, ours_ssim in zip(pred, target, psnr(pred, target), ssim(pred, target)):
        p, t = (x.movedim(0, -1).double().numpy() for x in (p, t))
        assert float(ours_psnr) == pytest.approx(peak_signal_noise_ratio(t, p, data_range=1), abs=1e-4)
        theirs = structural_similarity(
            t, p, data_range=1, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert float(ours_ssim) == pytest.approx(theirs, abs=1e-5)


def test_colour_alignment_undoes_an_affine_map_where_the_mask_allows(generator):
    _, photo = noisy_pair(generator)
    matrix = torch.eye(3) + 0.2 * torch.randn(3, 3, generator=generator)
    pred = torch.einsum("ij,njhw->nihw", matrix, photo) + 0.1
    assert psnr(colour_aligned(pred, photo), photo).min() > 80
    mask = torch.ones(2, 40, 56, dtype=torch.bool)
    mask[:, :, :20] = False
    pred[..., :20] = 0
    assert psnr(colour_aligned(pred, photo, mask), photo, mask).min() > 80
    grey = torch.full_like(photo, 0.5)
    assert_close(colour_aligned(grey, grey), grey)


def test_psnr_and_ssim_equal_scikit_image(generator):
    check_against_skimage(*noisy_pair(generator))


def test_psnr_of_a_known_error():
    target = torch.full((1, 3, 4, 4), 0.5)
    assert_close(psnr(target + 0.1, target), torch.tensor([20.0]))
    assert math.isinf(float(psnr(target, target)))


def random_trunk(net: str, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """A torchvision state dict of the right names and shapes, of random numbers."""
    from torchvision import models

    with torch.device("meta"):
        shapes = getattr(models, {"vgg": "vgg16", "alex": "alexnet"}[net])().features.state_dict()
    return {
        f"features.{k}": torch.randn(v.shape, generator=generator) * v[0].numel() ** -0.5
        for k, v in shapes.items()
    }


@pytest.mark.parametrize("net", ["vgg", "alex"])
def test_lpips_equals_the_package_on_the_same_trunk(net, generator, monkeypatch):
    trunk = random_trunk(net, generator)
    pred, target = noisy_pair(generator, h=64, w=72)

    # The package as its authors build it, with torchvision's loader handing out our trunk.
    from torchvision import models

    name = {"vgg": "vgg16", "alex": "alexnet"}[net]
    build = getattr(models, name)

    class Pretrained:
        def __init__(self, pretrained: bool) -> None:
            with torch.device("meta"):
                network = build()
            self.features = network.features
            self.features.load_state_dict(
                {k.removeprefix("features."): v for k, v in trunk.items()}, assign=True
            )

    monkeypatch.setattr(lpips_package.pretrained_networks.tv, name, Pretrained)
    theirs = lpips_package.LPIPS(net=net, verbose=False)
    monkeypatch.undo()

    ours = lpips(pred, target, load_lpips(net, trunk))
    assert_close(ours, theirs(2 * pred - 1, 2 * target - 1).flatten())
    assert (ours > 0).all()
    assert_close(lpips(target, target, load_lpips(net, trunk)), torch.zeros(2))


def test_lpips_is_differentiable_in_the_image_and_frozen(generator):
    model = load_lpips("alex", random_trunk("alex", generator))
    pred, target = noisy_pair(generator, n=1, h=64, w=64)
    pred.requires_grad_()
    lpips(pred, target, model).sum().backward()
    assert pred.grad.abs().max() > 0
    assert not any(p.requires_grad for p in model.parameters())


@pytest.fixture
def no_trunks(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    metrics._cached_lpips.cache_clear()
    yield tmp_path / "checkpoints"
    metrics._cached_lpips.cache_clear()


def test_a_missing_trunk_is_named_with_its_place(no_trunks):
    with pytest.raises(MissingWeights) as caught:
        load_lpips("vgg")
    message = str(caught.value)
    assert str(no_trunks / "vgg16-397923af.pth") in message
    assert "https://download.pytorch.org/models/vgg16-397923af.pth" in message
    assert "\n" not in message


def test_a_damaged_trunk_is_refused(no_trunks):
    no_trunks.mkdir()
    (no_trunks / "alexnet-owt-7be5be79.pth").write_bytes(b"half a download")
    with pytest.raises(MissingWeights, match=r"damaged.*7be5be79"):
        load_lpips("alex")


def test_scores_are_means_and_nulls_have_reasons(no_trunks, generator):
    pred, target = noisy_pair(generator)
    result = json.loads(json.dumps(score(pred, target), allow_nan=False))
    assert result["psnr"] == pytest.approx(float(psnr(pred, target).mean()), abs=1e-4)
    assert result["ssim"] == pytest.approx(float(ssim(pred, target).mean()), abs=1e-5)
    assert result["images"] == 2
    assert result["lpips_vgg"] is None
    assert set(result["reasons"]) == {"lpips_vgg", "lpips_alex"}
    assert "vgg16-397923af.pth" in result["reasons"]["lpips_vgg"]


def test_scores_of_all_views_are_those_of_single_views(generator):
    pred, target = noisy_pair(generator, n=3)
    scores = Scores(("psnr", "ssim"))
    for p, t in zip(pred.split(1), target.split(1)):
        scores.add(p, t)
    together = score(pred, target, ("psnr", "ssim"))
    assert scores.as_json() == together
    assert len(scores.per_image["psnr"]) == 3


def test_tiny_and_equal_images_are_null_not_a_crash():
    tiny = torch.zeros(1, 3, 1, 1)
    result = json.loads(json.dumps(score(tiny, tiny), allow_nan=False))
    assert [result[m] for m in metrics.METRICS] == [None] * 4
    assert "equals" in result["reasons"]["psnr"]
    assert "11 x 11" in result["reasons"]["ssim"]


def test_what_lies_outside_0_to_1_is_clamped_as_when_stored():
    target = torch.ones(1, 3, 12, 12)
    target[..., :6] = 0.5
    assert score(target * 1.5 - 0.25, target, ("psnr",))["psnr"] is None  # 1.25 and 0.5: equal when stored


def test_unknown_metrics_are_refused():
    with pytest.raises(InputError, match="lpips_vgg"):
        Scores(("psnr", "fid"))
