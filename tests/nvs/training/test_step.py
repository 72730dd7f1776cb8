"""The training step: what is frozen, where targets are rendered, what is kept, what is refused."""

from dataclasses import replace

import head_runs
import pytest
import torch
from head_runs import SIZE, example, make_step
from torch.testing import assert_close

from geometry.engine import ValidationRun
from geometry.engine.checkpoint import saved_tensors
from geometry.engine.samplers import SampleRequest
from geometry.errors import InputError
from geometry.ops import se3
from geometry.ops.align import Similarity
from geometry.views import Cameras, Views
from geometry.weights.files import fingerprint
from nvs.losses import GaussianObjective
from nvs.rasterizer import rasterize
from nvs.training.samples import FixedSamples, RecurringExample
from nvs.training.step import GaussianHeadStep, gaussian_depth, into_predicted_world


def test_the_frozen_backbone_keeps_every_bit_and_gets_no_gradient_and_no_optimizer_state(tmp_path):
    step = make_step()
    before, head = fingerprint(step.model.network.state_dict()), fingerprint(step.model.head.state_dict())
    made = []

    def optimizer(groups):
        made.append(torch.optim.AdamW(groups, lr=1e-3))
        return made[0]

    from geometry.engine import DataStream, FixedBatchSampler, fit

    data = DataStream(head_runs.Scenes(), FixedBatchSampler(batch_size=1))
    result = fit(step, data, optimizer, steps=2, out=tmp_path, tensorboard=False, device="cpu", ema_decay=0.9)
    assert fingerprint(step.model.network.state_dict()) == before
    assert fingerprint(step.model.head.state_dict()) != head
    assert all(p.grad is None and not p.requires_grad for p in step.model.network.parameters())
    trained = {id(p) for p in step.model.head.parameters()}
    assert {id(p) for p in made[0].state} == trained
    saved = saved_tensors(result.checkpoint)
    assert all(name.partition(".")[2].startswith("head.") for name in saved)
    assert not any(m.training for m in step.model.network.modules())
    assert step.model.head.training


@pytest.mark.extended
def test_unfreezing_trains_the_backbone_at_its_own_rate(tmp_path):
    step = make_step(factors={"head": 1.0, "network": 0.1, "network.camera_decoder": 0.0})
    before = {n: p.detach().clone() for n, p in step.model.named_parameters()}
    head_runs.train(tmp_path, step=step, steps=1, batch_size=1, clip_norm=None)
    moved = {n: (p - before[n]).abs().max().item() for n, p in step.model.named_parameters()}
    # AdamW's first step moves a parameter by the learning rate, whatever its gradient.
    assert max(v for n, v in moved.items() if n.startswith("head.")) == pytest.approx(1e-3, rel=0.1)
    backbone = [v for n, v in moved.items() if n.startswith("network.backbone.blocks")]
    assert max(backbone) == pytest.approx(1e-4, rel=0.1)
    assert all(v == 0 for n, v in moved.items() if n.startswith("network.camera_decoder"))
    assert step.model.network.backbone.training
    assert not step.model.network.camera_decoder.training


def test_posed_targets_are_rendered_where_they_are_given():
    step, batch = make_step(), example(1)
    loss, terms = step.training_loss(batch, torch.Generator())
    splats = step.model(batch.context.views)
    background = batch.context.views.images.mean((0, 1, 3, 4))
    view = rasterize(splats.gaussians, batch.target.truth.cameras, SIZE, background=background)
    mse = (view.rgb - batch.target.views.images).square().mean()
    assert_close(terms["mse"], mse)
    assert_close(loss, terms["mse"] + 0.1 * terms["depth"])
    per_view = (view.rgb - batch.target.views.images).square().mean((2, 3, 4))
    assert_close(terms["psnr"], (-10 * per_view.log10()).mean())


def test_unposed_targets_go_where_the_network_put_the_context():
    """If the network found the given world up to a similarity, the targets must land in it exactly."""
    cameras = head_runs.arc_cameras(5)
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])[None]
    moved = Similarity(scale=torch.tensor([2.5]), rotation=quarter, translation=torch.tensor([[1.0, -2, 3]]))
    there = Cameras(extrinsics=moved.extrinsics(cameras.extrinsics), intrinsics=cameras.intrinsics)
    carried = into_predicted_world(cameras[:, 3:], cameras[:, :3], there[:, :3])
    assert_close(carried.extrinsics, there[:, 3:].extrinsics, rtol=1e-5, atol=1e-5)
    # One context view fixes no scale: it alone carries the targets.
    alone = into_predicted_world(cameras[:, 1:], cameras[:, :1], there[:, :1])
    assert_close(
        se3.relative(alone.extrinsics, there.extrinsics[:, 0]),
        se3.relative(cameras.extrinsics[:, 1:], cameras.extrinsics[:, 0]),
        rtol=1e-5,
        atol=1e-5,
    )


def test_unposed_steps_hide_the_cameras_and_are_drawn_by_share():
    step = make_step(posed=0.25)
    drawn = []
    for index in range(400):
        step.begin_step(index, 400)
        drawn.append(step.posed_now)
    assert 0.18 < sum(drawn) / 400 < 0.32
    step.begin_step(7, 400)
    assert step.posed_now == drawn[7]  # the same step is of the same kind after a resume
    step.begin_step(drawn.index(False), 400)
    seen = []
    encode = step.encode
    step.encode = lambda views, keys: seen.append(views.cameras) or encode(views, keys)
    loss, _ = step.training_loss(example(2), torch.Generator())
    assert seen == [None]
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in step.model.head.parameters() if p.grad is not None)


@pytest.mark.parametrize("posed", [True, False])
def test_gaussian_depth_is_the_predicted_depth_where_the_head_moves_nothing(posed):
    step, batch = make_step(), example(3)
    torch.nn.init.zeros_(step.model.head.out[2].weight)
    views = batch.context.views if posed else Views(images=batch.context.views.images)
    with torch.no_grad():
        splats = step.model(views)
    assert_close(gaussian_depth(splats), splats.geometry.depth, rtol=1e-4, atol=1e-5)


def test_cached_features_give_the_same_loss_and_run_the_backbone_once():
    batch = example(4)
    keyed = RecurringExample(context=batch.context, target=batch.target, keys=("a",))
    plain, cached = make_step(), make_step(cache_gb=1.0)
    calls = []
    cached.model.network.backbone.register_forward_hook(lambda *_: calls.append(1))
    expected = plain.training_loss(batch, torch.Generator())[0]
    for _ in range(3):
        assert torch.equal(cached.training_loss(keyed, torch.Generator())[0], expected)
    assert len(calls) == 1
    cached.posed_now = False  # without cameras the same views have other features
    cached.training_loss(keyed, torch.Generator())
    assert len(calls) == 2
    cached.training_loss(batch, torch.Generator())  # a sample without a key is never taken for another
    assert len(calls) == 3


def test_a_cache_that_is_full_drops_the_longest_unused():
    step = make_step(cache_gb=1.0)
    views = example(5).context.views
    one = step.encode(views, ("a",))
    step.cache.limit = 2.5 * step.cache.bytes
    step.encode(views, ("b",))
    assert step.encode(views, ("a",)) is one
    step.encode(views, ("c",))
    names = [key[0][0] for key in step.cache.entries]
    assert names == ["a", "c"]
    assert step.cache.bytes <= step.cache.limit


@pytest.mark.extended
def test_several_processes_score_each_case_once():
    step = make_step(cases=3)
    step.model.eval()

    def validate(rank, world_size):
        run = ValidationRun(
            step=0,
            generator=torch.Generator(),
            device=torch.device("cpu"),
            rank=rank,
            world_size=world_size,
        )
        return step.validate(run)

    alone, shares = validate(0, 1), [validate(rank, 2) for rank in range(2)]
    assert [s.weight for s in shares] == [4, 2]
    mean = sum(s.weight * s.metrics["psnr"] for s in shares) / 6
    assert mean == pytest.approx(alone.metrics["psnr"], rel=1e-6)
    assert set(alone.images) == {"case 0", "case 1", "case 2"}
    sheet = alone.images["case 0"]
    assert sheet.shape[0] == 3
    assert sheet.min() >= 0
    assert sheet.max() <= 1


@pytest.mark.extended
def test_cases_of_one_name_are_scored_on_their_own_features_and_leave_a_sheet_each():
    def validated(*names):
        step = make_step(cases=3, cache_gb=1.0, depth=0.0)
        step = GaussianHeadStep(
            step.model,
            step.objective,
            cache_gb=1.0,
            validation=[replace(case, name=name) for case, name in zip(step.cases, names)],
        )
        step.model.eval()
        return step.validate(ValidationRun(step=0, generator=torch.Generator(), device=torch.device("cpu")))

    same, different = validated("images", "images", "images_2"), validated("a", "b", "c")
    assert same.metrics == different.metrics
    assert list(same.images) == ["images", "images_2", "images_2_2"]
    assert all(torch.equal(x, y) for x, y in zip(same.images.values(), different.images.values()))


def test_fixed_samples_of_two_datasets_are_not_taken_for_each_other():
    request = SampleRequest(index=0, number=0, step=0, seed=0)
    one, other = (FixedSamples(head_runs.Scenes(), 1)[request] for _ in range(2))
    assert one.keys != other.keys


def test_lpips_without_its_weights_stops_and_names_the_file(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    model = make_step().model
    with pytest.raises(InputError, match=r"vgg16-397923af\.pth is missing"):
        GaussianHeadStep(model, GaussianObjective(lpips=0.05))


def test_a_depth_term_that_could_train_nothing_is_refused():
    with pytest.raises(InputError, match="depth term trains nothing"):
        make_step(flavour="rgb")
    make_step(flavour="rgb", depth=0.0)
    make_step(flavour="rgb", factors={"head": 1.0, "network": 0.1})


def test_chunks_of_views_do_not_change_the_loss():
    batch = example(6, context=5)
    whole, parts = make_step(chunk=8), make_step(chunk=2)
    assert_close(
        whole.training_loss(batch, torch.Generator())[0],
        parts.training_loss(batch, torch.Generator())[0],
        rtol=1e-5,
        atol=0,
    )


def test_a_backend_that_cannot_serve_the_device_is_refused_before_any_step():
    with pytest.raises(InputError, match="needs tensors on cuda"):
        make_step(backend="cuda").to(torch.device("cpu"))
