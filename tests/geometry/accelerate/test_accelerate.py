"""A fast network is the same network: numbers, names, copies, gradients; and plain again when asked."""

import copy
import pickle

import pytest
import torch
from torch.testing import assert_close

from geometry.accelerate import Plan, accelerate, plain
from geometry.accelerate import forms as forms_module
from geometry.accelerate import plan as plan_module
from geometry.accelerate.forms import FastAttention, Form
from geometry.accelerate.products import formats
from geometry.layers.block import Block
from geometry.layers.rope import across_views, within_view
from geometry.models.zoo import build
from geometry.threads import evenly, share
from geometry.training.architecture import any_view_network
from geometry.views import Views

EVERYTHING = Plan(products=True, attention=True, long=4, rows=20, head_bytes=1)


@pytest.fixture(autouse=True)
def few_tokens_are_enough(monkeypatch):
    monkeypatch.setattr(forms_module, "FEWEST_ROWS", 1)


@pytest.fixture
def no_measuring(monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(plan_module, "_measured", refuse)


@pytest.fixture(params=["mlp", "swiglu"])
def block(request):
    torch.manual_seed(0)
    return Block(32, 2, feed_forward=request.param, qk_norm_eps=1e-6, layer_scale=0.5).eval()


@pytest.fixture
def x(generator):
    return torch.randn(5, 9, 32, generator=generator)


@pytest.mark.parametrize("size", ["tiny", "mono-tiny"])
def test_numbers_and_names_stay(size, generator):
    torch.manual_seed(0)
    network = build(size).eval()
    views = Views(images=torch.rand(1, 3, 3, 42, 56, generator=generator))
    names, kinds = list(network.state_dict()), [type(m) for m in network.modules()]
    with torch.inference_mode():
        wanted = network(views)
        assert accelerate(network, EVERYTHING) is network
        fast = network(views)
    assert list(network.state_dict()) == names
    assert any(isinstance(m, Form) for m in network.modules())
    assert_close(fast.depth, wanted.depth, atol=1e-5, rtol=1e-5)
    if wanted.rays is not None:
        assert_close(fast.rays, wanted.rays, atol=1e-5, rtol=1e-5)
        assert_close(fast.pose_encoding, wanted.pose_encoding, atol=1e-5, rtol=1e-5)
    plain(network)
    assert [type(m) for m in network.modules()] == kinds
    with torch.inference_mode():
        assert_close(network(views).depth, wanted.depth, atol=0, rtol=0)


@pytest.mark.parametrize("rows", [1, 10, 20, 2048, None])
@pytest.mark.parametrize("products", [False, True])
def test_pieces_are_the_block(block, x, rows, products):
    kept, rotary = x.clone(), within_view((2, 4), 16)
    with torch.inference_mode():
        wanted = block(x, rotary)
        accelerate(block, Plan(products=products, attention=products, long=4, rows=rows))
        assert_close(block(x, rotary), wanted, atol=1e-5, rtol=1e-5)
    assert_close(x, kept, atol=0, rtol=0)  # the input is the caller's


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])  # shared out by sequences, or by tokens and heads
@pytest.mark.parametrize("across", [False, True])
def test_threads_share_out_the_block(monkeypatch, block, generator, threads, n, across):
    handed_out = []
    monkeypatch.setattr(forms_module, "share", lambda f, parts: handed_out.append(1) or share(f, parts))
    x = torch.randn(n, 27 if across else 9, 32, generator=generator)
    rotary = across_views((2, 4), 16) if across else within_view((2, 4), 16)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            wanted = block(x, rotary)
            accelerate(block, Plan(rows=10))
            assert_close(block(x, rotary), wanted, atol=1e-5, rtol=1e-5)
            assert len(handed_out) == (0 if threads == 1 else 1 if evenly(n) else 3)
    finally:
        torch.set_num_threads(before)


def test_bfloat16_stays_near(block, x):
    with torch.inference_mode():
        wanted = block(x)
        accelerate(block, EVERYTHING)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            fast = block(x)
    assert fast.dtype == torch.float32  # the residual stream keeps its precision
    assert_close(fast, wanted, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_changed_weights_are_noticed(block, x, mode):
    accelerate(block, EVERYTHING)
    with mode():
        before = block(x)
    with torch.no_grad():
        block.attn.qkv.weight.mul_(2.0)
        block.mlp.get_parameter("w3.bias" if hasattr(block.mlp, "w3") else "fc2.bias").add_(1.0)
    with mode():
        after = block(x)
        assert (after - before).abs().max() > 0.1
        assert_close(after, plain(block)(x), atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(not formats(), reason="no oneDNN products here")
def test_weights_stay_laid_out_where_nobody_trains_and_memory_allows(block, x):
    def kept() -> bool:
        return block.attn.qkv.laid_out.weights is not None

    accelerate(block, EVERYTHING)
    with torch.no_grad():
        block(x)
        assert not kept()
    with torch.inference_mode():
        block(x)
        assert kept()
        accelerate(block, Plan(products=True, kept_bytes=100))(x)
        assert not kept()


def test_copies_are_networks_of_their_own(block, x):
    accelerate(block, EVERYTHING)
    with torch.inference_mode():
        wanted = block(x)
        for other in (copy.deepcopy(block), pickle.loads(pickle.dumps(block))):
            assert_close(other(x), wanted)
            other.attn.qkv.weight.zero_()
        assert_close(block(x), wanted)


@pytest.mark.extended
def test_gradients_and_compiled_graphs_take_the_plain_way(block, x, no_measuring, unchecked):
    wanted = torch.autograd.grad(block(x).sum(), block.attn.qkv.weight)
    accelerate(block)
    got = torch.autograd.grad(block(x).sum(), block.attn.qkv.weight)
    assert_close(got, wanted, atol=1e-4, rtol=1e-4)  # short attention goes by products
    compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        assert_close(compiled(x), plain(block)(x), atol=1e-5, rtol=1e-5)


def test_training_on_short_sequences_goes_by_products(monkeypatch, x):
    calls = []
    real = forms_module.attention_by_products
    monkeypatch.setattr(forms_module, "attention_by_products", lambda *qkv: calls.append(1) or real(*qkv))
    network = any_view_network("tiny")  # as training builds it
    views = Views(images=torch.rand(1, 2, 3, 28, 28))
    network(views)
    assert len(calls) == sum(isinstance(m, FastAttention) for m in network.backbone.modules())
    with torch.no_grad():
        network(views)
    assert len(calls) == sum(isinstance(m, FastAttention) for m in network.backbone.modules())


@pytest.mark.parametrize("capability", ["AVX2", "AVX512"])
def test_the_machines_plan_is_measured_once_where_there_is_something_to_gain(capability, monkeypatch):
    measured = []
    monkeypatch.setattr(plan_module, "_gains", lambda fast, plain: measured.append(fast()) or True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    plan_module._measured.cache_clear()
    try:
        first = Plan.for_machine()
        assert first is Plan.for_machine()
    finally:
        plan_module._measured.cache_clear()
    gains = bool(formats()) and capability == "AVX512"
    assert len(measured) == (2 if gains else 0)
    assert first == Plan(products=gains, attention=gains)


def test_a_gain_below_the_margin_leaves_plain_pytorch(monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr(plan_module.time, "process_time", lambda: float(next(clock)))
    assert not plan_module._gains(lambda: None, lambda: None)  # equally quick
    assert plan_module._gains(lambda: None, lambda: [next(clock) for _ in range(3)])


def test_without_onednn_products_are_pytorchs(block, x, monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a product by oneDNN")

    monkeypatch.setattr(forms_module, "formats", lambda: ())
    monkeypatch.setattr(forms_module, "multiply", refuse)
    monkeypatch.setattr(forms_module, "attention_by_rows", refuse)
    with torch.inference_mode():
        wanted = block(x)
        assert_close(accelerate(block, EVERYTHING)(x), wanted, atol=1e-6, rtol=1e-6)
