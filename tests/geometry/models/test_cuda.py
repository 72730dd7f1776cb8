"""The network on CUDA: devices and precisions on pretended tensors anywhere, numbers where there is a GPU."""

from collections import Counter

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from geometry.layers import uv_embed
from geometry.models.zoo import build
from geometry.views import Cameras, Views

pytestmark = pytest.mark.extended  # whole runs, seconds each

SIZE = (70, 98)


def photos(views: int, device: str, *, posed: bool = False) -> Views:
    images = torch.rand(1, views, 3, *SIZE).to(device)
    if not posed:
        return Views(images=images)
    extrinsics = torch.eye(4, device=device).expand(1, views, 4, 4)
    intrinsics = torch.tensor([[80.0, 0, 49], [0, 80, 35], [0, 0, 1]], device=device)
    return Views(
        images=images, cameras=Cameras(extrinsics=extrinsics, intrinsics=intrinsics.expand(1, views, 3, 3))
    )


class Products(TorchDispatchMode):
    """Counts matrix products and convolutions by name and dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[tuple[str, torch.dtype]] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in ("addmm", "convolution"):
            self.seen[name, args[0].dtype] += 1
        return function(*args, **(kwargs or {}))


@pytest.fixture
def pretended_cuda(monkeypatch):
    """Tensors without numbers that claim to be on a GPU: mixing devices or dtypes fails as it would there."""
    monkeypatch.setattr(torch.nn.init, "trunc_normal_", lambda tensor, **_: tensor)  # it looks at the numbers
    uv_embed._waves.cache_clear()
    with FakeTensorMode():
        yield
    uv_embed._waves.cache_clear()
    torch.set_autocast_enabled("cuda", False)


@pytest.mark.parametrize("posed", [False, True])
@pytest.mark.parametrize("recorded", [False, True])
def test_backbone_in_bfloat16_heads_in_float32(pretended_cuda, posed, recorded):
    with torch.device("cuda"):
        network = build("tiny").eval()
    views = photos(3, "cuda", posed=posed)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.set_autocast_enabled("cuda", True)  # `torch.autocast` would decline without a GPU
    with torch.set_grad_enabled(recorded), Products() as products:
        geometry = network(views, reference="first")
    for t in (geometry.depth, geometry.rays, geometry.pose_encoding, geometry.cameras.extrinsics):
        assert t.device.type == "cuda"
        assert t.dtype == torch.float32
    blocks = len(network.backbone.blocks)
    assert products.seen["addmm", torch.bfloat16] >= 4 * blocks
    assert products.seen["convolution", torch.bfloat16] == 0
    assert products.seen["convolution", torch.float32] > 0


@pytest.mark.gpu
@pytest.mark.parametrize("posed", [False, True])
def test_cuda_gives_the_cpus_numbers(posed, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)
    network, views = build("tiny").eval(), photos(3, "cpu", posed=posed)
    with torch.inference_mode():
        wanted = network(views, reference="first")
        came = network.to("cuda")(views.to("cuda"), reference="first")
    for name in ("depth", "depth_conf", "rays", "pose_encoding"):
        assert_close(getattr(came, name).cpu(), getattr(wanted, name), atol=2e-3, rtol=2e-3)


@pytest.mark.gpu
def test_bfloat16_uses_the_fused_attention_and_stays_near():
    torch.manual_seed(0)
    network, views = build("tiny").to("cuda").eval(), photos(3, "cpu").to("cuda")
    with torch.inference_mode():
        wanted = network(views, reference="first").features.patches[-1]
        with torch.autocast("cuda", dtype=torch.bfloat16), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            # Fails where the fused kernel could not be used; poses would bring in the float32 encoder.
            came = network(views, reference="first").features.patches[-1]
    assert (came.float() - wanted).norm() < 0.05 * wanted.norm()
