"""What must not change the backbone's numbers."""

import pytest
import torch
from torch.testing import assert_close

from geometry.models.vit import VisionTransformer


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    model = VisionTransformer(
        48, 6, 3, output_blocks=(2, 3, 4, 5), alternate_from=2, concat_local=True, stored_grid=5
    )
    with torch.no_grad():  # initial weights are so small that attention barely matters
        for value in model.parameters():
            value.add_(0.1 * torch.randn_like(value))
    return model.eval()


@pytest.fixture
def images(generator):
    return torch.randn(2, 3, 3, 42, 56, generator=generator)


@pytest.fixture(params=[False, True], ids=["inference", "recorded"])
def grad(request):
    """Inference takes tokens in pieces by other products; what autograd records takes the plain way."""
    with torch.set_grad_enabled(request.param):
        yield request.param


def run(vit, images, **how):
    features = vit(images, **how)
    return torch.cat([p.flatten(2) for p in features.patches] + features.camera_tokens, dim=-1), features


def test_inference_gives_the_numbers_of_training(vit, images):
    recorded, _ = run(vit, images)
    with torch.inference_mode():
        inferred, _ = run(vit, images)
    assert_close(inferred, recorded.detach(), atol=1e-5, rtol=1e-5)


def test_scenes_do_not_see_each_other(vit, images, grad):
    together, features = run(vit, images)
    for b in range(2):
        alone, one = run(vit, images[b : b + 1])
        assert one.reference[0] == features.reference[b]
        assert_close(alone[0], together[b], atol=1e-5, rtol=1e-5)


def test_view_order_is_immaterial_when_the_reference_goes_along(vit, images, grad):
    order = torch.tensor([2, 0, 1])
    straight, _ = run(vit, images, reference=torch.tensor([0, 1]))
    # In `order`, view 0 is at place 1 and view 1 at place 2.
    mixed, _ = run(vit, images[:, order], reference=torch.tensor([1, 2]))
    assert_close(mixed, straight[:, order], atol=1e-5, rtol=1e-5)


def test_the_reference_matters(vit, images):
    first, _ = run(vit, images, reference=torch.tensor([0, 0]))
    second, _ = run(vit, images, reference=torch.tensor([1, 1]))
    assert (first - second).abs().max() > 1e-3


def test_a_given_index_is_as_good_as_the_choice(vit, images, grad):
    chosen, features = run(vit, images)
    given, _ = run(vit, images, reference=features.reference)
    assert_close(given, chosen)


def test_conditioned_scenes_get_given_tokens_and_the_others_learned_ones(vit, images, generator, grad):
    tokens = torch.randn(2, 3, 48, generator=generator)
    posed, _ = run(vit, images, camera_tokens=tokens)
    unposed, _ = run(vit, images, reference=torch.tensor([0, 0]))
    mixed, _ = run(vit, images, camera_tokens=tokens, conditioned=torch.tensor([[True] * 3, [False] * 3]))
    assert_close(mixed[0], posed[0], atol=1e-5, rtol=1e-5)
    assert_close(mixed[1], unposed[1], atol=1e-5, rtol=1e-5)


def test_checkpointing_gives_equal_gradients(vit, images):
    def gradients():
        vit.zero_grad()
        out, _ = run(vit, images)
        out.square().mean().backward()
        return [p.grad.clone() for p in vit.parameters() if p.grad is not None]

    plain = gradients()
    vit.activation_checkpointing = True
    try:
        again = gradients()
    finally:
        vit.activation_checkpointing = False
    assert len(plain) == len(again) > 0
    for a, b in zip(plain, again):
        assert_close(a, b)


def test_odd_sides_are_refused(vit):
    with pytest.raises(ValueError, match="multiples of 14"):
        vit(torch.zeros(1, 1, 3, 43, 56))
